#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "acme_store.h"

static apr_pool_t *pool;

typedef struct {
    const char *url;
    const char *option; /* NULL: none */
    const char *name;   /* as messages show it */
    const char *parsed; /* host port socket user database timeout prefix */
} right_row_t;

#define FILE_IS "passwordfile=/p"

static const right_row_t right[] = {
    {"redis://a.test", NULL, "redis://a.test:6379", "a.test 6379 - - 0 0 acme-alpn:"},
    {"redis://a.test/", NULL, "redis://a.test:6379", "a.test 6379 - - 0 0 acme-alpn:"},
    {"redis://a.test:7000", NULL, "redis://a.test:7000", "a.test 7000 - - 0 0 acme-alpn:"},
    {"rediss://[::1]:7000", NULL, "rediss://[::1]:7000", "::1 7000 - - 0 0 acme-alpn:"},
    {"redis://a.test/3", NULL, "redis://a.test:6379/3", "a.test 6379 - - 3 0 acme-alpn:"},
    {"redis://a.test?database=4", NULL, "redis://a.test:6379/4",
     "a.test 6379 - - 4 0 acme-alpn:"},
    {"redis://a.test", "timeout=80ms", "redis://a.test:6379",
     "a.test 6379 - - 0 80 acme-alpn:"},
    {"redis://a.test?timeout=1s", "timeout=2s", "redis://a.test:6379",
     "a.test 6379 - - 0 2000 acme-alpn:"},
    {"redis://a.test?prefix=a%26b%3D:", NULL, "redis://a.test:6379",
     "a.test 6379 - - 0 0 a&b=:"},
    {"redis://me%40home@a.test", FILE_IS, "redis://a.test:6379",
     "a.test 6379 - me@home 0 0 acme-alpn:"},
    {"unix:///run/r.sock", NULL, "unix:///run/r.sock", "- - /run/r.sock - 0 0 acme-alpn:"},
    {"unix:///run/a%20b?database=1", NULL, "unix:///run/a b/1",
     "- - /run/a b - 1 0 acme-alpn:"},
    {"unix://me@/run/r.sock", FILE_IS, "unix:///run/r.sock",
     "- - /run/r.sock me 0 0 acme-alpn:"},
};

typedef struct {
    const char *url;
    const char *option;
    const char *problem; /* a part of it */
} wrong_row_t;

static const wrong_row_t wrong[] = {
    {"", NULL, "redis://"},
    {"/var/spool", NULL, "redis://"},
    {"http://a.test", NULL, "redis://"},
    {"REDIS://a.test", NULL, "redis://"},
    {"redis://", NULL, "no host"},
    {"redis://:7000", NULL, "no host"},
    {"redis://a.test:", NULL, "port"},
    {"redis://a.test:0", NULL, "port"},
    {"redis://a.test:99999", NULL, "port"},
    {"redis://a.test:70000", NULL, "port"},
    {"redis://a.test:065535", NULL, "port"},
    {"redis://a.test/x", NULL, "database"},
    {"redis://a.test/65536", NULL, "database"},
    {"redis://a.test/-1", NULL, "database"},
    {"redis://me:secret@a.test", NULL, "passwordfile="},
    {"redis://a.test#x", NULL, "%23"},
    {"redis://@a.test", NULL, "user"},
    {"redis://%4@a.test", FILE_IS, "user"},
    {"redis://me@a.test", NULL, "passwordfile="},
    {"redis://a.test?timeout=%4", NULL, "percent-encoding"},
    {"redis://a.test?timeout", NULL, "1ms to 60s"},
    {"redis://a.test?bogus=1", NULL, "'bogus' is not an option"},
    {"redis://a.test", "bogus", "'bogus' is not an option"},
    {"redis://a.test", "timeout=0", "1ms to 60s"},
    {"redis://a.test", "timeout=61s", "1ms to 60s"},
    {"redis://a.test", "expiry=0", "1s or more"},
    {"redis://a.test", "prefix=", "1 to 128"},
    {"redis://a.test", "prefix=a b", "1 to 128"},
    {"redis://a.test", "prefix=\xc3\xa4", "1 to 128"},
    {"redis://a.test", "passwordfile=p", "absolute"},
    {"redis://a.test", "cafile=/ca", "rediss://"},
    {"rediss://a.test", "cafile=ca", "absolute"},
    {"rediss://a.test", "certfile=/c", "go together"},
    {"rediss://a.test", "keyfile=/k", "go together"},
    {"unix://", NULL, "socket"},
    {"unix:///", NULL, "socket"},
    {"unix://a.test/run/r.sock", NULL, "socket"},
    {"unix:///0123456789012345678901234567890123456789012345678901234567890123456789012345678"
     "901234567890123456789012345678901234567890",
     NULL, "too long"},
};

static const char *parse(acme_store_t **store, const char *url, const char *option)
{
    char *options[] = {apr_pstrdup(pool, option)};

    return acme_store_parse(store, pool, url, option != NULL, options);
}

static const char *shown(const char *text)
{
    return text ? text : "-";
}

static void test_right(void **state)
{
    const right_row_t *row = *state;
    acme_store_t *store = NULL;

    assert_null(parse(&store, row->url, row->option));
    assert_string_equal(store->name, row->name);
    assert_string_equal(apr_psprintf(pool, "%s %s %s %s %d %d %s", shown(store->host),
                                     shown(store->port), shown(store->socket),
                                     shown(store->user), store->database,
                                     (int)apr_time_as_msec(store->timeout), store->prefix),
                        row->parsed);
    assert_int_equal(store->uses_tls, strncmp(row->url, "rediss", 6) == 0);
}

static void test_wrong(void **state)
{
    const wrong_row_t *row = *state;
    acme_store_t *store = NULL;
    const char *problem = parse(&store, row->url, row->option);

    assert_null(store);
    assert_non_null(problem);
    if (!strstr(problem, row->problem)) {
        fail_msg("\"%s\" does not say \"%s\"", problem, row->problem);
    }
    assert_null(strstr(problem, "secret"));
}

typedef struct {
    const char *what;
    const char *bytes;
    apr_size_t length;
    mode_t mode;
    const char *password; /* NULL: refused */
    const char *problem;  /* a part of it */
} file_row_t;

static const file_row_t files[] = {
    {"a line", BYTES("s3cret\n"), 0600, "s3cret", NULL},
    {"a line without its end", BYTES("s3cret"), 0640, "s3cret", NULL},
    {"a line with CRLF", BYTES("s3 cret\r\n"), 0400, "s3 cret", NULL},
    {"nothing", BYTES(""), 0600, NULL, "one line"},
    {"an empty line", BYTES("\n"), 0600, NULL, "one line"},
    {"two lines", BYTES("s3cret\nmore\n"), 0600, NULL, "one line"},
    {"a NUL", BYTES("s3\0cret\n"), 0600, NULL, "NUL"},
    {"readable by the world", BYTES("s3cret\n"), 0604, NULL, "0600"},
    {"writable by its group", BYTES("s3cret\n"), 0620, NULL, "0600"},
};

static const char *load_from(acme_store_t **store, const char *path)
{
    assert_null(parse(store, "redis://a.test", apr_pstrcat(pool, "passwordfile=", path, NULL)));
    return acme_store_load(*store, pool);
}

static void test_password_file(void **state)
{
    const file_row_t *row = *state;
    char path[] = "/tmp/acme-store-XXXXXX";
    int fd = mkstemp(path);
    acme_store_t *store;
    const char *problem;

    assert_return_code(fd, errno);
    assert_int_equal(write(fd, row->bytes, row->length), row->length);
    assert_return_code(fchmod(fd, row->mode), errno);
    close(fd);
    problem = load_from(&store, path);
    unlink(path);
    assert_string_equal(shown(store->password), shown(row->password));
    assert_int_equal(problem == NULL, row->password != NULL);
    if (problem && !(strstr(problem, row->problem) && strstr(problem, path))) {
        fail_msg("\"%s\" does not say \"%s\" of %s", problem, row->problem, path);
    }
    /* Not "s3": the name of the file is by chance. */
    assert_true(!problem || !(strstr(problem, "s3cret") || strstr(problem, "more")));
}

static void test_password_file_that_is_none(void **state)
{
    acme_store_t *store;

    (void)state;
    assert_non_null(load_from(&store, "/nonexistent"));
    assert_non_null(strstr(load_from(&store, "/"), "not a regular file"));
    assert_non_null(strstr(load_from(&store, "/dev/null"), "not a regular file"));
    assert_null(store->password);
}

int main(void)
{
    apr_initialize();
    apr_pool_create(&pool, NULL);
    UNIT_ADD_ROWS(test_right, right);
    UNIT_ADD_ROWS(test_wrong, wrong);
    UNIT_ADD_ROWS(test_password_file, files);
    UNIT_ADD(test_password_file_that_is_none);
    return cmocka_run_group_tests_name("store settings", unit_tests, NULL, NULL);
}
