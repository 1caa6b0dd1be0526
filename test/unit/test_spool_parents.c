#include "spool_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_strings.h>

/* Below the root of each test are a/b/spool, l with the symlink `link` to it, m with the
 * symlink `chain` to that link, and the symlink `way` to m. */
typedef struct {
    const char *name;
    const char *directory; /* the path asked about */
    const char *changed;   /* the path whose mode and owner are set, of those below */
    mode_t mode;
    uid_t owner;
    gid_t group;
    uid_t spool_owner;
    const char *unsafe; /* NULL: all are safe */
} parent_row_t;

#define SPOOL "/a/b/spool"
#define LINK  "/l/link"
#define CHAIN "/m/chain"

static const parent_row_t rows[] = {
    {"all are root's and 0755", SPOOL, "/a/b", 0755, 0, 0, 0, NULL},
    {"the parent is writable by the world", SPOOL, "/a/b", 0757, 0, 0, 0, "/a/b"},
    {"the parent is writable by its group", SPOOL, "/a/b", 0775, 0, NOGROUP, 0, "/a/b"},
    {"the parent is writable by root's group", SPOOL, "/a/b", 0775, 0, 0, 0, NULL},
    {"the parent is of mode 1777", SPOOL, "/a/b", 01777, 0, 0, 0, "/a/b"},
    {"the grandparent is writable by the world", SPOOL, "/a", 0777, 0, 0, 0, "/a"},
    {"the root is writable by the world", SPOOL, "/", 0777, 0, 0, 0, "/"},
    {"the parent is another user's", SPOOL, "/a/b", 0755, NOBODY, 0, 0, "/a/b"},
    {"the grandparent is another user's", SPOOL, "/a", 0755, NOBODY, 0, 0, "/a"},
    {"the parent is the spool's owner's", SPOOL, "/a/b", 0755, NOBODY, 0, NOBODY, NULL},
    {"the parent is a third user's", SPOOL, "/a/b", 0755, SOMEBODY, 0, NOBODY, "/a/b"},
    {"the spool itself does not count", SPOOL, SPOOL, 0777, 0, 0, 0, NULL},
    {"by a symlink, all are safe", LINK, "/l", 0755, 0, 0, 0, NULL},
    {"by a symlink, the link's parent is writable", LINK, "/l", 0777, 0, 0, 0, "/l"},
    {"by a symlink, the link's parent is another user's", LINK, "/l", 0755, NOBODY, 0, 0, "/l"},
    {"by a symlink, the target's parent is writable", LINK, "/a/b", 0777, 0, 0, 0, "/a/b"},
    {"by two symlinks, all are safe", CHAIN, "/m", 0755, 0, 0, 0, NULL},
    {"by two symlinks, the first one's parent is writable", CHAIN, "/m", 0777, 0, 0, 0, "/m"},
    {"by two symlinks, the second one's parent is writable", CHAIN, "/l", 0777, 0, 0, 0, "/l"},
    {"by two symlinks, the target's parent is writable", CHAIN, "/a/b", 0777, 0, 0, 0, "/a/b"},
    {"by a symlink on the way, its target is writable", "/way/chain", "/m", 0777, 0, 0, 0,
     "/m"},
    {"by dots, what they pass is writable", "/l/../a/./b/spool", "/l", 0777, 0, 0, 0, "/l"},
    {"by dots, all are safe", "/l/../a/./b//spool", "/l", 0755, 0, 0, 0, NULL},
    {"a link in a loop has no parents", "/m/loop", "/m", 0777, 0, 0, 0, NULL},
    {"a directory beside the path does not count", SPOOL, "/l", 0777, NOBODY, 0, 0, NULL},
    {"a spool that is missing has no parents", "/l/nowhere", "/l", 0777, 0, 0, 0, NULL},
    {"the root as the spool", "/", "/", 0755, 0, 0, 0, NULL},
};

typedef struct {
    const parent_row_t *row;
    char unsafe[PATH_MAX]; /* empty: none */
    int failed;            /* in setting up */
} result_t;

static result_t *result; /* shared with the child */
static apr_pool_t *pool;

static void make_tree(void)
{
    assert_return_code(mkdir(path_of("a"), 0755), errno);
    assert_return_code(mkdir(path_of("a/b"), 0755), errno);
    assert_return_code(mkdir(path_of("l"), 0755), errno);
    assert_return_code(mkdir(path_of("m"), 0755), errno);
    assert_return_code(rename(here.directory, path_of("a/b/spool")), errno);
    assert_return_code(symlink("../a/b/spool", path_of("l/link")), errno);
    assert_return_code(symlink("../l/link", path_of("m/chain")), errno);
    assert_return_code(symlink("/m/loop", path_of("m/loop")), errno);
    assert_return_code(symlink("m", path_of("way")), errno);
}

/* With the tree as the root directory, nothing above it can be unsafe. */
static void look_in_chroot(void)
{
    const parent_row_t *row = result->row;
    const char *unsafe;

    result->failed =
        chroot(here.base) != 0 || chdir("/") != 0 || chown(SPOOL, row->spool_owner, 0) != 0 ||
        chown(row->changed, row->owner, row->group) != 0 || chmod(row->changed, row->mode) != 0;
    unsafe = acme_spool_unsafe_parent(pool, row->directory);
    apr_cpystrn(result->unsafe, unsafe ? unsafe : "", sizeof(result->unsafe));
}

static void test_parent(void **state)
{
    need_root();
    make_tree();
    memset(result, 0, sizeof(*result));
    result->row = *state;
    in_child(look_in_chroot);
    assert_false(result->failed);
    assert_string_equal(result->unsafe, result->row->unsafe ? result->row->unsafe : "");
}

/* The same without root's rights, where what is above the tree is not ours to know. */
static void test_parent_as_any_user(void **state)
{
    const char *unsafe;

    (void)state;
    make_tree();
    unsafe = acme_spool_unsafe_parent(pool, path_of("l/link"));
    assert_true(!unsafe || strncmp(unsafe, here.base, strlen(here.base)) != 0);

    assert_return_code(chmod(path_of("a"), 0777), errno);
    unsafe = acme_spool_unsafe_parent(pool, path_of("l/link"));
    assert_string_equal(unsafe, path_of("a"));
    assert_string_equal(acme_spool_unsafe_parent(pool, path_of("a/b/spool")), path_of("a"));
}

int main(void)
{
    struct CMUnitTest tests[COUNT(rows) + 1];
    size_t i, count = 0;
    int failed;

    for (i = 0; i < COUNT(rows); i++) {
        tests[count++] = unit_case(rows[i].name, test_parent, &rows[i]);
    }
    tests[count] = unit_case("found without root's rights", test_parent_as_any_user, NULL);
    for (i = 0; i < COUNT(tests); i++) {
        tests[i].setup_func = fixture_setup;
        tests[i].teardown_func = fixture_teardown;
    }
    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&pool, NULL) != APR_SUCCESS) {
        return 1;
    }
    result = shared(sizeof(*result));
    failed = cmocka_run_group_tests_name("spool parents", tests, NULL, NULL);
    apr_terminate();
    return failed;
}
