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

#include <apr_general.h>
#include <apr_strings.h>

/* Publishing, withdrawing and listing, as clients do it. */

static apr_pool_t *pool;

typedef struct {
    acme_error_e reason;
    int error; /* errno */
} result_t;

static result_t *result; /* shared with the child that acts as nobody */

static void publish(const char *value)
{
    result->reason = acme_spool_publish(pool, here.directory, &here.identifier, value);
    result->error = errno;
}

static void publish_as_nobody(void)
{
    become_nobody();
    publish(OTHER_VALUE);
}

static void withdraw(const char *bytes)
{
    acme_digest_t digest;

    if (bytes) {
        memcpy(digest.bytes, bytes, sizeof(digest.bytes));
    }
    result->reason =
        acme_spool_withdraw(here.directory, &here.identifier, bytes ? &digest : NULL);
}

static void withdraw_as_nobody(void)
{
    become_nobody();
    withdraw(SPOOL_DIGEST);
}

static void assert_found(acme_error_e reason, const char *bytes)
{
    acme_digest_t digest;

    memcpy(digest.bytes, UNTOUCHED_DIGEST, sizeof(digest.bytes));
    assert_reason(acme_spool_find(&digest, &here.spool, &here.identifier, apr_time_now()),
                  reason);
    assert_memory_equal(digest.bytes, bytes, sizeof(digest.bytes));
}

/* All names in the spool, dot-files too: what an interrupted change would leave. */
static int files_in_spool(void)
{
    DIR *directory = opendir(here.directory);
    const struct dirent *entry;
    int count = 0;

    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(directory);
    return count;
}

static void test_publish_and_withdraw(void **state)
{
    (void)state;
    assert_return_code(unlink(here.entry), errno);
    publish(OTHER_VALUE);
    assert_reason(result->reason, ACME_OK);
    assert_found(ACME_OK, OTHER_DIGEST);
    assert_int_equal(files_in_spool(), 1);

    withdraw(OTHER_DIGEST);
    assert_reason(result->reason, ACME_OK);
    assert_found(ACME_NO_ENTRY, UNTOUCHED_DIGEST);
    assert_int_equal(files_in_spool(), 0);
}

static void test_publish_replaces(void **state)
{
    (void)state;
    assert_found(ACME_OK, SPOOL_DIGEST);
    publish(OTHER_VALUE);
    assert_reason(result->reason, ACME_OK);
    assert_found(ACME_OK, OTHER_DIGEST);
    assert_int_equal(files_in_spool(), 1);
}

static void test_publish_writes_a_line_of_mode_0644(void **state)
{
    char content[sizeof(OTHER_VALUE) + 16] = {0};
    struct stat status;
    FILE *file;

    (void)state;
    umask(077);
    publish(OTHER_VALUE);
    assert_reason(result->reason, ACME_OK);
    assert_return_code(stat(here.entry, &status), errno);
    assert_int_equal(status.st_mode, S_IFREG | 0644);
    file = fopen(here.entry, "r");
    assert_non_null(file);
    assert_true(fread(content, 1, sizeof(content) - 1, file) > 0);
    fclose(file);
    assert_string_equal(content, OTHER_VALUE "\n");
}

static void test_publish_longest_name(void **state)
{
    (void)state;
    use_longest_name();
    publish(OTHER_VALUE);
    assert_reason(result->reason, ACME_OK);
    assert_found(ACME_OK, OTHER_DIGEST);
}

static void test_publish_replaces_a_symlink_itself(void **state)
{
    struct stat status;

    (void)state;
    assert_return_code(rename(here.entry, path_of("target")), errno);
    assert_return_code(symlink("../target", here.entry), errno);
    publish(OTHER_VALUE);
    assert_reason(result->reason, ACME_OK);
    assert_found(ACME_OK, OTHER_DIGEST);
    assert_return_code(lstat(path_of("target"), &status), errno);
    assert_int_equal(status.st_size, strlen(SPOOL_VALUE));
}

static void test_publish_where_a_directory_is(void **state)
{
    (void)state;
    assert_return_code(unlink(here.entry), errno);
    assert_return_code(mkdir(here.entry, 0755), errno);
    publish(OTHER_VALUE);
    assert_reason(result->reason, ACME_SYSTEM_ERROR);
    assert_int_equal(result->error, EISDIR);
    assert_int_equal(files_in_spool(), 1);
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
    publish(OTHER_VALUE);
    assert_return_code(setrlimit(RLIMIT_FSIZE, &limit), errno);
    assert_reason(result->reason, ACME_SYSTEM_ERROR);
    assert_int_equal(result->error, EFBIG);
    assert_found(ACME_OK, SPOOL_DIGEST);
    assert_int_equal(files_in_spool(), 1);
}

static void test_no_change_in_a_spool_that_others_can_write(void **state)
{
    (void)state;
    assert_return_code(chmod(here.directory, 0777), errno);
    publish(OTHER_VALUE);
    assert_reason(result->reason, ACME_SPOOL_WRITABLE);
    withdraw(SPOOL_DIGEST);
    assert_reason(result->reason, ACME_SPOOL_WRITABLE);
    assert_return_code(chmod(here.directory, 0755), errno);
    assert_found(ACME_OK, SPOOL_DIGEST);
    assert_int_equal(files_in_spool(), 1);
}

static void test_no_change_in_a_spool_that_is_missing(void **state)
{
    (void)state;
    assert_return_code(rename(here.directory, path_of("moved")), errno);
    publish(OTHER_VALUE);
    assert_reason(result->reason, ACME_SPOOL_MISSING);
    withdraw(SPOOL_DIGEST);
    assert_reason(result->reason, ACME_SPOOL_MISSING);
}

static void test_no_change_in_anothers_spool(void **state)
{
    (void)state;
    need_root();
    in_child(publish_as_nobody);
    assert_reason(result->reason, ACME_SPOOL_NOT_OURS);
    in_child(withdraw_as_nobody);
    assert_reason(result->reason, ACME_SPOOL_NOT_OURS);
    assert_found(ACME_OK, SPOOL_DIGEST);
    assert_int_equal(files_in_spool(), 1);
}

static void test_the_owner_of_the_spool_may(void **state)
{
    (void)state;
    give(here.directory, NOBODY, NOGROUP);
    give(here.entry, NOBODY, NOGROUP);
    in_child(withdraw_as_nobody);
    assert_reason(result->reason, ACME_OK);
    in_child(publish_as_nobody);
    assert_reason(result->reason, ACME_OK);
    assert_found(ACME_OK, OTHER_DIGEST);
}

static void test_withdraw_only_what_is_still_there(void **state)
{
    (void)state;
    withdraw(OTHER_DIGEST);
    assert_reason(result->reason, ACME_ENTRY_OTHER_VALUE);
    assert_found(ACME_OK, SPOOL_DIGEST);
    withdraw(SPOOL_DIGEST);
    assert_reason(result->reason, ACME_OK);
    withdraw(SPOOL_DIGEST);
    assert_reason(result->reason, ACME_NO_ENTRY);
    withdraw(NULL);
    assert_reason(result->reason, ACME_NO_ENTRY);
}

static void test_withdraw_whatever_there_is(void **state)
{
    (void)state;
    withdraw(NULL);
    assert_reason(result->reason, ACME_OK);
    assert_int_equal(files_in_spool(), 0);

    write_file(here.entry, BYTES("words"));
    withdraw(SPOOL_DIGEST);
    assert_reason(result->reason, ACME_ENTRY_OTHER_VALUE);
    assert_int_equal(files_in_spool(), 1);
    withdraw(NULL);
    assert_reason(result->reason, ACME_OK);
    assert_int_equal(files_in_spool(), 0);
}

static void test_withdraw_what_has_expired(void **state)
{
    (void)state;
    set_mtime(here.entry, 0);
    assert_found(ACME_ENTRY_TOO_OLD, UNTOUCHED_DIGEST);
    withdraw(SPOOL_DIGEST);
    assert_reason(result->reason, ACME_OK);
    assert_int_equal(files_in_spool(), 0);
}

static void test_withdraw_follows_no_symlink(void **state)
{
    struct stat status;

    (void)state;
    assert_return_code(rename(here.entry, path_of("target")), errno);
    assert_return_code(symlink("../target", here.entry), errno);
    withdraw(SPOOL_DIGEST);
    assert_reason(result->reason, ACME_ENTRY_SYMLINK);
    assert_int_equal(files_in_spool(), 1);
    withdraw(NULL);
    assert_reason(result->reason, ACME_OK);
    assert_int_equal(files_in_spool(), 0);
    assert_return_code(stat(path_of("target"), &status), errno);
}

static void test_withdraw_leaves_a_directory(void **state)
{
    (void)state;
    assert_return_code(unlink(here.entry), errno);
    assert_return_code(mkdir(here.entry, 0755), errno);
    withdraw(SPOOL_DIGEST);
    assert_reason(result->reason, ACME_ENTRY_NOT_REGULAR);
    withdraw(NULL);
    assert_reason(result->reason, ACME_ENTRY_NOT_REGULAR);
    assert_int_equal(files_in_spool(), 1);
}

static void fill_spool(void)
{
    write_file(path_of("spool/.acme-alpn-leftover"), BYTES(SPOOL_VALUE));
    write_file(path_of("spool/2001:DB8::2"), BYTES(SPOOL_VALUE));
    write_file(path_of("spool/2001:db8::1"), BYTES(SPOOL_VALUE));
    write_file(path_of("spool/Example.com"), BYTES(SPOOL_VALUE));
    write_file(path_of("spool/example.com."), BYTES(SPOOL_VALUE));
    write_file(path_of("spool/old.example"), BYTES(SPOOL_VALUE));
    set_mtime(path_of("spool/old.example"), 1000000000);
    write_file(path_of("spool/read me"), BYTES(SPOOL_VALUE));
    write_file(path_of("spool/words.example"), BYTES("words"));
    assert_return_code(symlink("example.com", path_of("spool/link.example")), errno);
    assert_return_code(mkfifo(path_of("spool/fifo.example"), 0644), errno);
}

/* In the order of the names, which is that of the list. */
static void test_list(void **state)
{
    static const struct {
        const char *name;
        acme_error_e state;
    } expected[] = {
        {"2001:DB8::2", ACME_NAME_INVALID},   {"2001:db8::1", ACME_OK},
        {"Example.com", ACME_NAME_INVALID},   {"example.com", ACME_OK},
        {"example.com.", ACME_NAME_INVALID},  {"fifo.example", ACME_ENTRY_NOT_REGULAR},
        {"link.example", ACME_ENTRY_SYMLINK}, {"old.example", ACME_ENTRY_TOO_OLD},
        {"read me", ACME_NAME_INVALID},       {"words.example", ACME_VALUE_MALFORMED},
    };
    apr_array_header_t *entries;
    size_t i;

    (void)state;
    fill_spool();
    assert_reason(acme_spool_list(pool, &entries, &here.spool, here.now), ACME_OK);
    assert_int_equal(entries->nelts, COUNT(expected));
    for (i = 0; i < COUNT(expected); i++) {
        const acme_spool_entry_t *entry = &APR_ARRAY_IDX(entries, i, acme_spool_entry_t);

        assert_string_equal(entry->name, expected[i].name);
        assert_reason(entry->state, expected[i].state);
        if (entry->state == ACME_OK) {
            assert_memory_equal(entry->digest.bytes, SPOOL_DIGEST, ACME_DIGEST_SIZE);
        }
        if (entry->state == ACME_ENTRY_TOO_OLD) {
            assert_int_equal(entry->written, apr_time_from_sec(1000000000));
        }
    }
}

/* Stands before the C library's: when asked to, takes the entry away once its name is read. */
static int entry_vanishes;

typedef struct dirent *readdir_t(DIR *stream);

struct dirent *readdir(DIR *stream)
{
    struct dirent *file;
    readdir_t *next;

    *(void **)&next = dlsym(RTLD_NEXT, "readdir");
    file = next(stream);
    if (file && entry_vanishes && strcmp(file->d_name, here.identifier.name) == 0) {
        assert_return_code(unlink(here.entry), errno);
    }
    return file;
}

static void test_list_lacks_what_was_withdrawn_meanwhile(void **state)
{
    apr_array_header_t *entries;
    apr_size_t total;
    int i;

    (void)state;
    fill_spool();
    entry_vanishes = 1;
    assert_reason(
        acme_spool_sample(pool, &entries, &total, &here.spool, ACME_SPOOL_COUNT_MAX, here.now),
        ACME_OK);
    entry_vanishes = 0;
    assert_int_equal(total, 9);
    assert_int_equal(entries->nelts, total);
    for (i = 0; i < entries->nelts; i++) {
        assert_string_not_equal(APR_ARRAY_IDX(entries, i, acme_spool_entry_t).name,
                                here.identifier.name);
    }
}

static void test_list_of_an_empty_spool(void **state)
{
    apr_array_header_t *entries = NULL;

    (void)state;
    assert_return_code(unlink(here.entry), errno);
    assert_reason(acme_spool_list(pool, &entries, &here.spool, here.now), ACME_OK);
    assert_int_equal(entries->nelts, 0);
}

/* Where the file system keeps such a time, microseconds since 1970 cannot say it. */
static void test_list_of_an_entry_of_any_time(void **state)
{
    static const time_t times[] = {(time_t)INT64_MAX, (time_t)INT64_MIN,
                                   (time_t)(INT64_MIN / APR_USEC_PER_SEC - 1000000000000)};
    apr_array_header_t *entries;
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(times); i++) {
        set_mtime(here.entry, times[i]);
        assert_reason(acme_spool_list(pool, &entries, &here.spool, here.now), ACME_OK);
        assert_int_equal(entries->nelts, 1);
        assert_reason(APR_ARRAY_IDX(entries, 0, acme_spool_entry_t).state,
                      times[i] > 0 ? ACME_ENTRY_FUTURE : ACME_ENTRY_TOO_OLD);
        assert_int_equal(APR_ARRAY_IDX(entries, 0, acme_spool_entry_t).written > here.now,
                         times[i] > 0);
    }
}

static void test_no_list_of_a_bad_spool(void **state)
{
    apr_array_header_t *entries;

    (void)state;
    assert_return_code(chmod(here.directory, 0777), errno);
    assert_reason(acme_spool_list(pool, &entries, &here.spool, here.now), ACME_SPOOL_WRITABLE);
    assert_return_code(chmod(here.directory, 0755), errno);
    assert_return_code(rename(here.directory, path_of("moved")), errno);
    assert_reason(acme_spool_list(pool, &entries, &here.spool, here.now), ACME_SPOOL_MISSING);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_publish_and_withdraw),
        CASE(test_publish_replaces),
        CASE(test_publish_writes_a_line_of_mode_0644),
        CASE(test_publish_longest_name),
        CASE(test_publish_replaces_a_symlink_itself),
        CASE(test_publish_where_a_directory_is),
        CASE(test_publish_without_room),
        CASE(test_no_change_in_a_spool_that_others_can_write),
        CASE(test_no_change_in_a_spool_that_is_missing),
        CASE(test_no_change_in_anothers_spool),
        CASE(test_the_owner_of_the_spool_may),
        CASE(test_withdraw_only_what_is_still_there),
        CASE(test_withdraw_whatever_there_is),
        CASE(test_withdraw_what_has_expired),
        CASE(test_withdraw_follows_no_symlink),
        CASE(test_withdraw_leaves_a_directory),
        CASE(test_list),
        CASE(test_list_lacks_what_was_withdrawn_meanwhile),
        CASE(test_list_of_an_empty_spool),
        cmocka_unit_test_setup_teardown(test_list_of_an_entry_of_any_time,
                                        fixture_setup_on_tmpfs, fixture_teardown),
        CASE(test_no_list_of_a_bad_spool),
    };
    int failed;

    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&pool, NULL) != APR_SUCCESS) {
        return 1;
    }
    result = shared(sizeof(*result));
    failed = cmocka_run_group_tests_name("spool change", tests, NULL, NULL);
    apr_terminate();
    return failed;
}
