#include "spool_fixture.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a look-up and a check of the directory have to say. */
static struct {
    acme_error_e reason;
    int error; /* errno */
    acme_digest_t digest;
} * outcome; /* shared with the child that looks as nobody */

typedef struct {
    const char *name;
    const char *change; /* what is done to a good spool and entry, by the shell */
    acme_error_e reason;
} rule_row_t;

#define GIVE "root; chown 65534:65534 "

static const rule_row_t rules[] = {
    {"good entry", ":", ACME_OK},
    {"no entry", "rm $E", ACME_NO_ENTRY},
    {"entry is a hard link", "ln $E spool/.other", ACME_OK},
    {"entry is a symlink to a good one", "mv $E spool/.target; ln -s .target $E",
     ACME_ENTRY_SYMLINK},
    {"entry is a symlink to a good one elsewhere", "mv $E target; ln -s $PWD/target $E",
     ACME_ENTRY_SYMLINK},
    {"entry is a dangling symlink", "ln -sf nowhere $E", ACME_ENTRY_SYMLINK},
    {"entry is a FIFO", "rm $E; mkfifo $E", ACME_ENTRY_NOT_REGULAR},
    {"entry is a device", "root; rm $E; mknod $E c 1 3 || exit 77; cat $E || exit 77",
     ACME_ENTRY_NOT_REGULAR},
    {"entry is a directory", "rm $E; mkdir $E", ACME_ENTRY_NOT_REGULAR},
    {"entry is a socket", "mv socket $E", ACME_ENTRY_NOT_REGULAR},

    {"entry of another user", GIVE "$E", ACME_ENTRY_OWNER},
    {"entry and spool of another user", GIVE "spool $E", ACME_OK},
    {"entry of root in another user's spool", GIVE "spool", ACME_OK},
    {"entry of a third user in another's spool", GIVE "spool; chown 65533 $E",
     ACME_ENTRY_OWNER},
    {"entry that the world can write", "chmod 646 $E", ACME_ENTRY_WRITABLE},
    {"entry that a group can write", "root; chgrp 65534 $E; chmod 664 $E", ACME_ENTRY_WRITABLE},
    {"entry that root's group can write", "root; chgrp 0 $E; chmod 664 $E",
     ACME_ENTRY_WRITABLE},

    {"entry is empty", ": >$E", ACME_VALUE_EMPTY},
    {"entry ends with CRLF", "printf '%s\\r\\n' $V >$E", ACME_OK},
    {"entry of two lines", "printf '%s\\n%s\\n' $V $V >$E", ACME_VALUE_LINES},
    {"entry of 1024 bytes", "printf %01024d 0 >$E", ACME_VALUE_MALFORMED},
    {"entry of 1025 bytes", "printf %01025d 0 >$E", ACME_ENTRY_TOO_LARGE},
    {"entry of a terabyte, sparse", "truncate -s 1T $E", ACME_ENTRY_TOO_LARGE},

    {"spool is missing", "mv spool moved", ACME_SPOOL_MISSING},
    {"spool is a file", "mv spool moved; echo $V >spool", ACME_SPOOL_NOT_DIRECTORY},
    {"spool is a FIFO", "mv spool moved; mkfifo spool", ACME_SPOOL_NOT_DIRECTORY},
    {"spool is a symlink to a good one", "mv spool moved; ln -s moved spool", ACME_OK},
    {"spool is a symlink to one that the world can write",
     "mv spool moved; chmod 777 moved; ln -s moved spool", ACME_SPOOL_WRITABLE},
    {"spool is a symlink to a file", "mv spool moved; ln -s moved/example.com spool",
     ACME_SPOOL_NOT_DIRECTORY},
    {"spool is a dangling symlink", "mv spool moved; ln -s nowhere spool", ACME_SPOOL_MISSING},
    {"spool is a symlink loop", "mv spool moved; ln -s spool spool", ACME_SYSTEM_ERROR},
    {"spool that the world can write", "chmod 757 spool", ACME_SPOOL_WRITABLE},
    {"spool of mode 1777", "chmod 1777 spool", ACME_SPOOL_WRITABLE},
    {"spool that a group can write", "root; chgrp 65534 spool; chmod 775 spool",
     ACME_SPOOL_WRITABLE},
    {"spool that root's group can write", "root; chgrp 0 spool; chmod 775 spool",
     ACME_SPOOL_WRITABLE},

    /* looked at without root's rights */
    {"nobody, good entry", ":", ACME_OK},
    {"nobody, entry of mode 0000", "chmod 0 $E", ACME_ENTRY_UNREADABLE},
    {"nobody, entry of mode 0600, as mkstemp leaves it", "root; chmod 600 $E",
     ACME_ENTRY_UNREADABLE},
    {"nobody, spool of mode 0000", "chmod 0 spool", ACME_SPOOL_UNREADABLE},
    {"nobody, spool of mode 0700", "root; chmod 700 spool", ACME_SPOOL_UNREADABLE},
    {"nobody, spool's parent of mode 0000", "chmod 0 .", ACME_SPOOL_UNREADABLE},
};

static void look(void)
{
    memset(outcome, 0, sizeof(*outcome));
    memcpy(outcome->digest.bytes, UNTOUCHED_DIGEST, ACME_DIGEST_SIZE);
    errno = 0;
    outcome->reason =
        acme_spool_find(&outcome->digest, &here.spool, &here.identifier, here.now);
    outcome->error = errno;
}

static void assert_outcome(acme_error_e reason, const char *digest)
{
    assert_reason(outcome->reason, reason);
    assert_memory_equal(outcome->digest.bytes, digest, ACME_DIGEST_SIZE);
}

static void assert_look(acme_error_e reason, const char *digest)
{
    look();
    assert_outcome(reason, digest);
}

static void test_rule(void **state)
{
    const rule_row_t *row = *state;

    shell(row->change);
    if (strncmp(row->name, "nobody, ", 8) == 0) {
        in_child(look, 1);
    } else {
        look();
    }
    assert_outcome(row->reason, row->reason == ACME_OK ? SPOOL_DIGEST : UNTOUCHED_DIGEST);
}

static void test_accounts(void **state)
{
    (void)state;
    here.spool.accounts = "LPsIwTo7o8BoG0-vjCyGQGBWSVIPxI-i_X336eUOQZo";
    assert_look(ACME_ACCOUNT_OTHER, SPOOL_DIGEST);
    assert_string_equal(outcome->digest.account, "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI");
    shell("echo LPsIwTo7o8BoG0-vjCyGQGBWSVIPxI-i_X336eUOQZo >$E");
    here.spool.accounts = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";
    assert_look(ACME_ACCOUNT_UNKNOWN, SPOOL_DIGEST);
    assert_string_equal(outcome->digest.account, "");
    shell("echo $V >$E");
    assert_look(ACME_OK, SPOOL_DIGEST);
    here.spool.max_age = 0;
    set_mtime(here.entry, 1000000000);
    assert_look(ACME_ENTRY_TOO_OLD, UNTOUCHED_DIGEST);
}

static void test_path_of_the_spool(void **state)
{
    static char too_long[PATH_MAX + 2];

    (void)state;
    here.spool.directory = "";
    assert_look(ACME_SPOOL_MISSING, UNTOUCHED_DIGEST);
    here.spool.directory = path_of("nowhere/spool");
    assert_look(ACME_SPOOL_MISSING, UNTOUCHED_DIGEST);
    here.spool.directory = path_of("spool/" SPOOL_NAME "/spool");
    assert_look(ACME_SPOOL_NOT_DIRECTORY, UNTOUCHED_DIGEST);
    memset(too_long, '/', sizeof(too_long) - 1);
    here.spool.directory = too_long;
    assert_look(ACME_SYSTEM_ERROR, UNTOUCHED_DIGEST);
    assert_int_equal(outcome->error, ENAMETOOLONG);
}

/* /proc shows 0 as the size of a file with pages of text. */
static void test_entry_longer_than_its_size(void **state)
{
    (void)state;
    shell("test -e /proc/self/maps || exit 77");
    here.spool.directory = "/proc/self";
    assert_reason(acme_identifier_from_sni(&here.identifier, BYTES("maps")), ACME_OK);
    assert_look(ACME_ENTRY_TOO_LARGE, UNTOUCHED_DIGEST);
}

#define DAY    (24 * 60 * 60)
#define AHEAD  (5 * 60)
#define ANY    INT64_MAX
#define FUTURE ACME_ENTRY_FUTURE
#define OLD    ACME_ENTRY_TOO_OLD

/* On tmpfs, which keeps the most and the least times as they are. */
static void test_age(void **state)
{
    const time_t now = (time_t)apr_time_sec(here.now);
    const struct {
        apr_interval_time_t limit;
        int64_t written;
        acme_error_e reason;
    } rows[] = {
        {apr_time_from_sec(DAY), now - DAY, ACME_OK},
        {apr_time_from_sec(DAY), now - DAY - 1, OLD},
        {apr_time_from_sec(DAY), now + AHEAD, ACME_OK},
        {apr_time_from_sec(DAY), now + AHEAD + 1, FUTURE},
        {apr_time_from_sec(DAY), 0, OLD},
        {apr_time_from_sec(DAY), -1, OLD},
        {apr_time_from_sec(DAY), INT64_MIN, OLD},
        {apr_time_from_sec(DAY), INT64_MAX, FUTURE},
        /* microseconds since 1970 overflow */
        {apr_time_from_sec(DAY), INT64_MAX / APR_USEC_PER_SEC + 1, FUTURE},
        {0, now, ACME_OK},
        {0, now - 1, OLD},
        {ANY, 0, ACME_OK},
    };
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(rows); i++) {
        print_message("# written at %lld\n", (long long)rows[i].written);
        if ((time_t)rows[i].written != rows[i].written) {
            continue; /* a time_t of 32 bits */
        }
        here.spool.max_age = rows[i].limit;
        set_mtime(here.entry, (time_t)rows[i].written);
        assert_look(rows[i].reason,
                    rows[i].reason == ACME_OK ? SPOOL_DIGEST : UNTOUCHED_DIGEST);
    }
}

/* What changes between two look-ups counts at the next. */
static void test_changes(void **state)
{
    static const struct {
        const char *change;
        acme_error_e reason;
        const char *digest;
    } steps[] = {
        {"echo $O >spool/.new", ACME_OK, SPOOL_DIGEST},
        {"mv spool/.new $E", ACME_OK, OTHER_DIGEST},
        {":", ACME_OK, OTHER_DIGEST},
        {"rm $E", ACME_NO_ENTRY, UNTOUCHED_DIGEST},
        {"mv spool moved", ACME_SPOOL_MISSING, UNTOUCHED_DIGEST},
        {"mkdir spool", ACME_NO_ENTRY, UNTOUCHED_DIGEST},
        {"echo $V >$E", ACME_OK, SPOOL_DIGEST},
        {"chmod 757 spool", ACME_SPOOL_WRITABLE, UNTOUCHED_DIGEST},
        {"chmod 755 spool", ACME_OK, SPOOL_DIGEST},
        {"mv spool first; ln -s first spool", ACME_OK, SPOOL_DIGEST},
        {"echo $O >moved/example.com; ln -s moved link; mv -T link spool", ACME_OK,
         OTHER_DIGEST},
    };
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(steps); i++) {
        print_message("# %s\n", steps[i].change);
        shell(steps[i].change);
        assert_look(steps[i].reason, steps[i].digest);
    }
}

/* Names as long as there are, and IPv6 addresses with their colons, are file names. */
static void test_entry_of_each_kind_of_name(void **state)
{
    char command[PATH_MAX];

    (void)state;
    use_longest_name();
    assert_look(ACME_NO_ENTRY, UNTOUCHED_DIGEST);
    snprintf(command, sizeof(command), "echo $O >spool/%s", here.identifier.name);
    shell(command);
    assert_look(ACME_OK, OTHER_DIGEST);

    assert_reason(acme_identifier_from_text(&here.identifier, "2001:db8::1"), ACME_OK);
    assert_look(ACME_NO_ENTRY, UNTOUCHED_DIGEST);
    shell("echo $V >spool/2001:db8::1");
    assert_look(ACME_OK, SPOOL_DIGEST);
}

static void test_no_file_descriptor_left(void **state)
{
    struct rlimit limit, none;

    (void)state;
    assert_return_code(getrlimit(RLIMIT_NOFILE, &limit), errno);
    none = limit;
    none.rlim_cur = 0;
    assert_return_code(setrlimit(RLIMIT_NOFILE, &none), errno);
    look();
    assert_return_code(setrlimit(RLIMIT_NOFILE, &limit), errno);
    assert_outcome(ACME_SYSTEM_ERROR, UNTOUCHED_DIGEST);
    assert_int_equal(outcome->error, EMFILE);
}

int main(void)
{
    outcome = shared(sizeof(*outcome));
    unit_setup = fixture_setup;
    unit_teardown = fixture_teardown;
    UNIT_ADD_ROWS(test_rule, rules);
    UNIT_ADD(test_accounts);
    UNIT_ADD(test_path_of_the_spool);
    UNIT_ADD(test_entry_longer_than_its_size);
    UNIT_ADD(test_changes);
    UNIT_ADD(test_entry_of_each_kind_of_name);
    UNIT_ADD(test_no_file_descriptor_left);
    unit_setup = fixture_setup_on_tmpfs;
    UNIT_ADD(test_age);
    return cmocka_run_group_tests_name("spool", unit_tests, NULL, NULL);
}
