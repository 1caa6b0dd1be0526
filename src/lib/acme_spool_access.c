/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who could put another spool in the place of this one. Asked when httpd starts and by its
 * status page; a handshake just opens the spool.
 */
#include "acme_spool.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

#define ROOT_UID 0

/* As many symbolic links as Linux follows in one path. */
#define MAX_LINKS 40

/* Where the symbolic link leads to, NULL if it is none. Freed with the pool. */
static const char *access_link_target(apr_pool_t *pool, const char *path)
{
    char target[PATH_MAX];
    ssize_t length = readlink(path, target, sizeof(target));

    return length < 0 ? NULL : apr_pstrmemdup(pool, target, (apr_size_t)length);
}

/* The path of `name` in the directory `from`, of which "" is the root. */
static const char *access_step(apr_pool_t *pool, const char *from, const char *name)
{
    const char *slash = strrchr(from, '/');

    if (strcmp(name, ".") == 0) {
        return from;
    }
    if (strcmp(name, "..") == 0) {
        return slash ? apr_pstrmemdup(pool, from, (apr_size_t)(slash - from)) : from;
    }
    return apr_pstrcat(pool, from, "/", name, NULL);
}

/* Whether others than root and the spool's owner can replace what is in the directory. */
static int access_is_unsafe(const char *path, uid_t owner)
{
    struct stat status;

    return stat(path, &status) != 0 || (status.st_uid != ROOT_UID && status.st_uid != owner) ||
           acme_spool_others_can_write(&status);
}

/* Walks the path as the kernel does, one name at a time, and looks at each directory in which a
 * name is looked up. */
const char *acme_spool_unsafe_parent(apr_pool_t *pool, const char *directory)
{
    const char *path = directory, *at = "", *found = NULL;
    struct stat spool;
    int links = 0;

    if (stat(directory, &spool) != 0) {
        return NULL;
    }
    while (*(path += strspn(path, "/")) && links <= MAX_LINKS) {
        apr_size_t length = strcspn(path, "/");
        const char *next = access_step(pool, at, apr_pstrmemdup(pool, path, length));
        const char *target = access_link_target(pool, next);

        if (access_is_unsafe(*at ? at : "/", spool.st_uid)) {
            found = *at ? at : "/";
        }
        path += length;
        if (target) {
            links++;
            at = *target == '/' ? "" : at;
            path = apr_pstrcat(pool, target, path, NULL);
        } else {
            at = next;
        }
    }
    return found;
}
