/*
 * A real spool for one test: a directory of its own with one good entry in it, and a way to
 * look at it from a process with fewer rights.
 */
#ifndef SPOOL_FIXTURE_H
#define SPOOL_FIXTURE_H

#include <limits.h>
#include <sys/types.h>
#include <time.h>

#include "unit.h"

#include "acme_spool.h"

/* Debian's nobody and nogroup; somebody is a third party. No such accounts need exist. */
#define NOBODY   65534
#define NOGROUP  65534
#define SOMEBODY 65533

#define SPOOL_NAME "example.com"

/* The key authorization of RFC 8555 section 8.3, as sha256sum(1) hashes it. */
#define SPOOL_VALUE                                                                            \
    "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0."                                             \
    "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
#define SPOOL_DIGEST                                                                           \
    "\x2c\xfb\x08\xc1\x3a\x3b\xa3\xc0\x68\x1b\x4f\xaf\x8c\x2c\x86\x40"                         \
    "\x60\x56\x49\x52\x0f\xc4\x8f\xa2\xfd\x7d\xf7\xe9\xe5\x0e\x41\x9a"

/* Another, and what a digest holds before the look-up. */
#define OTHER_VALUE                                                                            \
    "ABCDEFGHIJKLMNOPQRSTUV."                                                                  \
    "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
#define OTHER_DIGEST                                                                           \
    "\xef\xec\x95\x67\xc9\xb8\x43\xf1\x61\x71\x3a\x32\x0a\x77\xce\x52"                         \
    "\xbe\xac\x11\xfe\xbd\x23\x33\x6b\x9b\x03\xa0\xbc\x8a\x07\xe7\xd8"
#define UNTOUCHED_DIGEST                                                                       \
    "\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5"                         \
    "\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5"

typedef struct {
    char base[PATH_MAX];      /* mode 0755; removed with all that is in it */
    char directory[PATH_MAX]; /* the spool: `spool` in base, mode 0755 */
    char entry[PATH_MAX];     /* SPOOL_NAME in the spool, mode 0644, with SPOOL_VALUE */
    acme_spool_t spool;
    acme_identifier_t identifier;
    apr_time_t now;
    apr_pool_t *pool;
    int descriptors; /* that are open */
} fixture_t;

extern fixture_t here;

int fixture_setup(void **state);

/* The same on tmpfs, which keeps any mtime; where there is none, like fixture_setup. */
int fixture_setup_on_tmpfs(void **state);

/* Fails a test that leaves a file descriptor open. */
int fixture_teardown(void **state);

/* Runs commands of sh in base, of which none may fail. $E is the entry, below base, and $V and
 * $O are the two values; `root` skips the test where it does not run as root. */
void shell(const char *commands);

/* Has the look-ups be for a name as long as there is, without an entry yet. */
void use_longest_name(void);

/* A path below base, in memory that lasts until the next call but one. */
const char *path_of(const char *name);

void set_mtime(const char *path, time_t seconds);

/* Runs `body` in a child process, if asked to as nobody, where this one is root's; fails the
 * test unless the child gets to the end of it. What it writes to a buffer from shared() is
 * there afterwards. */
void in_child(void (*body)(void), int is_nobody);

/* Zeroed memory that child processes share; freed at exit. */
void *shared(size_t size);

#endif
