#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RTLD_NEXT */
#endif

#include "spool_fixture.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

#include <openssl/crypto.h>

/* Publishing, withdrawing and listing, as clients do it. */

typedef enum { PUBLISH, WITHDRAW, WITHDRAW_OTHER, WITHDRAW_ANY } change_e;

static change_e change; /* which is made; what is published is OTHER_VALUE */

static struct {
    acme_error_e reason;
    int error; /* errno */
} * result;    /* shared with the child that acts as nobody */

static void make_change(void)
{
    acme_digest_t digest;

    umask(077);
    if (change == PUBLISH) {
        result->reason =
            acme_spool_publish(here.pool, here.directory, &here.identifier, OTHER_VALUE);
    } else {
        memcpy(digest.bytes, change == WITHDRAW ? SPOOL_DIGEST : OTHER_DIGEST,
               sizeof(digest.bytes));
        result->reason = acme_spool_withdraw(here.directory, &here.identifier,
                                             change == WITHDRAW_ANY ? NULL : &digest);
    }
    result->error = errno;
}

typedef struct {
    const char *name;
    const char *before; /* what is done to a good spool and entry, by the shell */
    change_e change;
    acme_error_e reason;
    const char *after; /* what has to be true then, to the shell */
} change_row_t;

/* All names in the spool, dot-files too: what an interrupted change would leave. */
#define NONE      "test -z \"$(ls -A spool)\""
#define ONE       "test \"$(ls -A spool)\" = example.com"
#define UNCHANGED ONE "; test \"$(cat $E)\" = $V"
#define CHANGED   ONE "; test $(stat -c %a $E) = 644; printf '%s\\n' $O | cmp - $E"

static const change_row_t changes[] = {
    {"publish", "rm $E", PUBLISH, ACME_OK, CHANGED},
    {"publish in place of another", ":", PUBLISH, ACME_OK, CHANGED},
    {"publish in place of a symlink", "mv $E target; ln -s ../target $E", PUBLISH, ACME_OK,
     CHANGED "; test ! -L $E; test \"$(cat target)\" = $V"},
    {"publish where a directory is", "rm $E; mkdir $E", PUBLISH, ACME_SYSTEM_ERROR, ONE},
    {"withdraw", ":", WITHDRAW, ACME_OK, NONE},
    {"withdraw what is not there", "rm $E", WITHDRAW, ACME_NO_ENTRY, NONE},
    {"withdraw another's", ":", WITHDRAW_OTHER, ACME_ENTRY_OTHER_VALUE, UNCHANGED},
    {"withdraw what is no value", "echo words >$E", WITHDRAW, ACME_ENTRY_OTHER_VALUE, ONE},
    {"withdraw what has expired", "touch -d @0 $E", WITHDRAW, ACME_OK, NONE},
    {"withdraw a symlink", "mv $E target; ln -s ../target $E", WITHDRAW, ACME_ENTRY_SYMLINK,
     ONE},
    {"withdraw a directory", "rm $E; mkdir $E", WITHDRAW, ACME_ENTRY_NOT_REGULAR, ONE},
    {"withdraw any", ":", WITHDRAW_ANY, ACME_OK, NONE},
    {"withdraw any where none is", "rm $E", WITHDRAW_ANY, ACME_NO_ENTRY, NONE},
    {"withdraw any, no value", "echo words >$E", WITHDRAW_ANY, ACME_OK, NONE},
    {"withdraw any, a symlink", "mv $E target; ln -s ../target $E", WITHDRAW_ANY, ACME_OK,
     NONE "; test -f target"},
    {"withdraw any, a directory", "rm $E; mkdir $E", WITHDRAW_ANY, ACME_ENTRY_NOT_REGULAR, ONE},

    {"publish where others can write", "chmod 777 spool", PUBLISH, ACME_SPOOL_WRITABLE,
     UNCHANGED},
    {"withdraw where others can write", "chmod 777 spool", WITHDRAW, ACME_SPOOL_WRITABLE,
     UNCHANGED},
    {"publish without a spool", "mv spool moved", PUBLISH, ACME_SPOOL_MISSING,
     "test ! -e spool"},
    {"withdraw without a spool", "mv spool moved", WITHDRAW, ACME_SPOOL_MISSING,
     "test ! -e spool"},

    /* Another client publishes in the middle; and a third before that is put back. */
    {"withdraw, rival", ":", WITHDRAW, ACME_ENTRY_OTHER_VALUE, CHANGED},
    {"withdraw, rival, no linkat", ":", WITHDRAW, ACME_ENTRY_OTHER_VALUE, CHANGED},
    {"withdraw, rival, third", ":", WITHDRAW, ACME_ENTRY_OTHER_VALUE, UNCHANGED},
    {"withdraw any, rival", ":", WITHDRAW_ANY, ACME_OK, NONE},

    /* without root's rights */
    {"nobody, publish in root's spool", "root", PUBLISH, ACME_SPOOL_NOT_OURS, UNCHANGED},
    {"nobody, withdraw in root's spool", "root", WITHDRAW, ACME_SPOOL_NOT_OURS, UNCHANGED},
    {"nobody, publish in one's own spool", "root; chown -R 65534:65534 spool", PUBLISH, ACME_OK,
     CHANGED},
    {"nobody, withdraw in one's own spool", "root; chown -R 65534:65534 spool", WITHDRAW,
     ACME_OK, NONE},
};

static const char *current = ""; /* the name of the row */

/* Called just before the entry goes, or comes back. */
static void let_client_publish(const char *when, const char *name, const char *value)
{
    if (strstr(current, when) && strcmp(name, SPOOL_NAME) == 0) {
        assert_reason(acme_spool_publish(here.pool, here.directory, &here.identifier, value),
                      ACME_OK);
    }
}

/* These stand before the C library's; publishing calls none of them. */
#define STAND_BEFORE(function, parameters, arguments, when, name, value)                       \
    int function parameters                                                                    \
    {                                                                                          \
        int(*next) parameters;                                                                 \
                                                                                               \
        *(void **)&next = dlsym(RTLD_NEXT, #function);                                         \
        let_client_publish(when, name, value);                                                 \
        errno = EPERM;                                                                         \
        return strstr(current, "no " #function) ? -1 : next arguments;                         \
    }

STAND_BEFORE(renameat, (int from_fd, const char *from, int to_fd, const char *to),
             (from_fd, from, to_fd, to), "rival", from, OTHER_VALUE)
STAND_BEFORE(linkat, (int from_fd, const char *from, int to_fd, const char *to, int flags),
             (from_fd, from, to_fd, to, flags), "third", to, SPOOL_VALUE)
STAND_BEFORE(unlinkat, (int fd, const char *name, int flags), (fd, name, flags), "rival", name,
             OTHER_VALUE)

static void test_change(void **state)
{
    const change_row_t *row = *state;

    shell(row->before);
    change = row->change;
    current = row->name;
    if (strncmp(row->name, "nobody, ", 8) == 0) {
        in_child(make_change, 1);
    } else {
        make_change();
    }
    assert_reason(result->reason, row->reason);
    if (row->reason == ACME_SYSTEM_ERROR) {
        assert_int_equal(result->error, EISDIR);
    }
    shell(row->after);
}

static void test_publish_longest_name(void **state)
{
    (void)state;
    use_longest_name();
    change = PUBLISH;
    make_change();
    assert_reason(result->reason, ACME_OK);
}

static void test_publish_without_room(void **state)
{
    struct rlimit limit, none;

    (void)state;
    assert_return_code(getrlimit(RLIMIT_FSIZE, &limit), errno);
    none = limit;
    none.rlim_cur = 10;
    signal(SIGXFSZ, SIG_IGN);
    assert_return_code(setrlimit(RLIMIT_FSIZE, &none), errno);
    change = PUBLISH;
    make_change();
    assert_return_code(setrlimit(RLIMIT_FSIZE, &limit), errno);
    assert_reason(result->reason, ACME_SYSTEM_ERROR);
    assert_int_equal(result->error, EFBIG);
    shell(UNCHANGED);
}

static const char fill_spool[] =
    "cd spool; for name in .acme-alpn-leftover 2001:DB8::2 2001:db8::1 Example.com "
    "example.com. old.example 'read me'; do echo $V >\"$name\"; done; "
    "touch -d @1000000000 old.example; echo words >words.example; "
    "ln -s example.com link.example; mkfifo fifo.example";

/* In the order of the names, which is that of the list, with or without the entry. */
#define LISTED(entry)                                                                          \
    "2001:DB8::2 name-invalid, 2001:db8::1 ok, Example.com name-invalid, " entry               \
    "example.com. name-invalid, fifo.example entry-not-regular, link.example entry-symlink, "  \
    "old.example entry-too-old, read me name-invalid, words.example value-malformed, "

static void assert_list(const apr_array_header_t *entries, const char *expected)
{
    const char *listed = "";
    int i;

    for (i = 0; i < entries->nelts; i++) {
        const acme_spool_entry_t *entry = &APR_ARRAY_IDX(entries, i, acme_spool_entry_t);

        listed = apr_pstrcat(here.pool, listed, entry->name, " ", acme_error_slug(entry->state),
                             ", ", NULL);
        if (entry->state == ACME_OK) {
            assert_string_equal(entry->account, strchr(SPOOL_VALUE, '.') + 1);
        }
        if (entry->state == ACME_ENTRY_TOO_OLD) {
            assert_int_equal(entry->written, apr_time_from_sec(1000000000));
        }
    }
    assert_string_equal(listed, expected);
}

/* Stands before the C library's: when asked to, takes the entry away once its name is read. */
static int entry_vanishes;

typedef struct dirent *readdir_t(DIR *stream);

struct dirent *readdir(DIR *stream)
{
    struct dirent *file;
    readdir_t *next;

    *(void **)&next = dlsym(RTLD_NEXT, "readdir64");
    if (!next) { /* where off_t always has 64 bits */
        *(void **)&next = dlsym(RTLD_NEXT, "readdir");
    }
    file = next(stream);
    if (file && entry_vanishes && strcmp(file->d_name, SPOOL_NAME) == 0) {
        assert_return_code(unlink(here.entry), errno);
    }
    return file;
}

static acme_error_e list(apr_array_header_t **entries)
{
    apr_size_t total = 0;
    acme_error_e error =
        acme_spool_list(here.pool, entries, &total, &here.spool, APR_SIZE_MAX, here.now);

    assert_true(error != ACME_OK || total == (apr_size_t)(*entries)->nelts);
    return error;
}

static void test_list(void **state)
{
    apr_array_header_t *entries;

    (void)state;
    shell(fill_spool);
    assert_reason(list(&entries), ACME_OK);
    assert_list(entries, LISTED(SPOOL_NAME " ok, "));

    entry_vanishes = 1;
    assert_reason(list(&entries), ACME_OK);
    entry_vanishes = 0;
    assert_list(entries, LISTED(""));
}

static void list_after_cleanup(void)
{
    apr_array_header_t *entries;

    OPENSSL_cleanup();
    result->reason = list(&entries);
    if (result->reason == ACME_OK) {
        result->reason = APR_ARRAY_IDX(entries, 0, acme_spool_entry_t).state;
    }
}

/* The watch judges entries in a thread that still runs while a child of httpd exits. */
static void test_list_without_libcrypto(void **state)
{
    (void)state;
    in_child(list_after_cleanup, 0);
    assert_reason(result->reason, ACME_OK);
    here.spool.accounts = "LPsIwTo7o8BoG0-vjCyGQGBWSVIPxI-i_X336eUOQZo";
    in_child(list_after_cleanup, 0);
    assert_reason(result->reason, ACME_ACCOUNT_OTHER);
}

/* Where the file system keeps such a time, microseconds since 1970 cannot say it. */
static void test_list_of_an_entry_of_any_time(void **state)
{
    const int is_long = sizeof(time_t) > 4;
    const int64_t times[] = {is_long ? INT64_MAX : INT32_MAX, is_long ? INT64_MIN : INT32_MIN,
                             is_long ? INT64_MIN / APR_USEC_PER_SEC - 1000000000000 : -1};
    apr_array_header_t *entries;
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(times); i++) {
        const acme_spool_entry_t *entry;

        set_mtime(here.entry, (time_t)times[i]);
        assert_reason(list(&entries), ACME_OK);
        assert_int_equal(entries->nelts, 1);
        entry = &APR_ARRAY_IDX(entries, 0, acme_spool_entry_t);
        assert_reason(entry->state, times[i] > 0 ? ACME_ENTRY_FUTURE : ACME_ENTRY_TOO_OLD);
        assert_int_equal(entry->written > here.now, times[i] > 0);
    }
}

static void test_no_list_of_a_bad_spool(void **state)
{
    apr_array_header_t *entries;

    (void)state;
    shell("rm $E");
    assert_reason(list(&entries), ACME_OK);
    assert_int_equal(entries->nelts, 0);
    shell("chmod 777 spool");
    assert_reason(list(&entries), ACME_SPOOL_WRITABLE);
}

int main(void)
{
    result = shared(sizeof(*result));
    unit_setup = fixture_setup;
    unit_teardown = fixture_teardown;
    UNIT_ADD_ROWS(test_change, changes);
    UNIT_ADD(test_publish_longest_name);
    UNIT_ADD(test_publish_without_room);
    UNIT_ADD(test_list);
    UNIT_ADD(test_list_without_libcrypto);
    UNIT_ADD(test_no_list_of_a_bad_spool);
    unit_setup = fixture_setup_on_tmpfs;
    UNIT_ADD(test_list_of_an_entry_of_any_time);
    return cmocka_run_group_tests_name("spool change", unit_tests, NULL, NULL);
}
