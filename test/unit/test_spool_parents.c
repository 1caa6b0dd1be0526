#include "spool_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

/* Below the root of each test are a/b/spool, l with the symlink `link` to it, m with the
 * symlink `chain` to that link, and the symlink `way` to m. */
#define MAKE_TREE                                                                              \
    "mkdir -p a/b l m; mv spool a/b; ln -s ../a/b/spool l/link; ln -s ../l/link m/chain; "     \
    "ln -s /m/loop m/loop; ln -s m way; ln -s /m l/absolute; "

typedef struct {
    const char *name;
    const char *directory; /* the path asked about */
    const char *change;    /* to what is root's and 0755, by the shell */
    const char *found;     /* the directory; NULL: all are safe */
} parent_row_t;

#define SPOOL "/a/b/spool"
#define LINK  "/l/link"
#define CHAIN "/m/chain"

static const parent_row_t rows[] = {
    {"all are root's and 0755", SPOOL, ":", NULL},
    {"the parent is writable by the world", SPOOL, "chmod 757 a/b", "/a/b"},
    {"the parent is writable by its group", SPOOL, "chgrp 65534 a/b; chmod 775 a/b", "/a/b"},
    {"the parent is writable by root's group", SPOOL, "chgrp 0 a/b; chmod 775 a/b", "/a/b"},
    {"the parent is of mode 1777", SPOOL, "chmod 1777 a/b", "/a/b"},
    {"the grandparent is writable by the world", SPOOL, "chmod 777 a", "/a"},
    {"the root is writable by the world", SPOOL, "chmod 777 .", "/"},
    {"the parent is another user's", SPOOL, "chown 65534 a/b", "/a/b"},
    {"the grandparent is another user's", SPOOL, "chown 65534 a", "/a"},
    {"the parent is the spool's owner's", SPOOL, "chown 65534 a/b a/b/spool", NULL},
    {"the parent is a third user's", SPOOL, "chown 65533 a/b; chown 65534 a/b/spool", "/a/b"},
    {"the spool itself does not count", SPOOL, "chmod 777 a/b/spool", NULL},
    {"by a symlink, all are safe", LINK, ":", NULL},
    {"by a symlink, the link's parent is writable", LINK, "chmod 777 l", "/l"},
    {"by a symlink, the link's parent is another user's", LINK, "chown 65534 l", "/l"},
    {"by a symlink, the target's parent is writable", LINK, "chmod 777 a/b", "/a/b"},
    {"by two symlinks, all are safe", CHAIN, ":", NULL},
    {"by two symlinks, the first one's parent is writable", CHAIN, "chmod 777 m", "/m"},
    {"by two symlinks, the target's parent is writable", CHAIN, "chmod 777 a/b", "/a/b"},
    {"by a symlink on the way, its target is writable", "/way/chain", "chmod 777 m", "/way"},
    {"by an absolute symlink, its target is writable", "/l/absolute/chain", "chmod 777 m",
     "/l/absolute"},
    {"by dots, what they pass is writable", "/l/../a/./b/spool", "chmod 777 l", "/l"},
    {"by dots, all are safe", "/l/../a/./b//spool", ":", NULL},
    {"a link in a loop has no parents", "/m/loop", "chmod 777 m", NULL},
    {"a directory beside the path does not count", SPOOL, "chmod 777 l", NULL},
    {"a spool that is missing has no parents", "/l/nowhere", "chmod 777 l", NULL},
    {"the root as the spool", "/", ":", NULL},
};

static struct {
    const parent_row_t *row;
    char found[PATH_MAX]; /* empty: none */
    int failed;
} * result; /* shared with the child */

/* With the tree as the root directory, nothing above it can be unsafe. */
static void look_in_chroot(void)
{
    const parent_row_t *row = result->row;
    const char *found;

    result->failed = chroot(here.base) != 0 || chdir("/") != 0;
    found = acme_spool_unsafe_parent(here.pool, row->directory);
    apr_cpystrn(result->found, found ? found : "", sizeof(result->found));
}

static void test_parent(void **state)
{
    memset(result, 0, sizeof(*result));
    result->row = *state;
    shell("root; " MAKE_TREE);
    shell(result->row->change);
    in_child(look_in_chroot, 0);
    assert_false(result->failed);
    assert_string_equal(result->found, result->row->found ? result->row->found : "");
}

/* The same without root's rights, where what is above the tree is not ours to know. */
static void test_parent_as_any_user(void **state)
{
    const char *unsafe;

    (void)state;
    shell(MAKE_TREE);
    unsafe = acme_spool_unsafe_parent(here.pool, path_of("l/link"));
    assert_true(!unsafe || strncmp(unsafe, here.base, strlen(here.base)) != 0);

    shell("chmod 777 a");
    unsafe = acme_spool_unsafe_parent(here.pool, path_of("l/link"));
    assert_string_equal(unsafe, path_of("a"));
}

int main(void)
{
    result = shared(sizeof(*result));
    unit_setup = fixture_setup;
    unit_teardown = fixture_teardown;
    UNIT_ADD_ROWS(test_parent, rows);
    UNIT_ADD(test_parent_as_any_user);
    return cmocka_run_group_tests_name("spool parents", unit_tests, NULL, NULL);
}
