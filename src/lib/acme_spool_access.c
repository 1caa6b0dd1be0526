/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which directory above the spool lets other users replace it. The module checks this at start
 * and on its status page; a handshake only opens the spool.
 */
#include "acme_spool.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "acme_file.h"

/* The last unsafe one of the directories that the path names before its last part, or NULL. */
static const char *access_unsafe_above(apr_pool_t *pool, const char *path, uid_t owner)
{
    const char *slash, *found = NULL;
    struct stat status;

    for (slash = path; slash; slash = strchr(slash + 1, '/')) {
        const char *above =
            slash == path ? "/" : apr_pstrmemdup(pool, path, (apr_size_t)(slash - path));

        if (stat(above, &status) != 0 || !acme_file_is_safe(&status, owner)) {
            found = above;
        }
    }
    return found;
}

/* Checks the path as given and the path without symbolic links, but no links in between. */
const char *acme_spool_unsafe_parent(apr_pool_t *pool, const char *directory)
{
    char real[PATH_MAX];
    const char *found;
    struct stat spool;

    if (stat(directory, &spool) != 0 || !realpath(directory, real)) {
        return NULL;
    }
    found = access_unsafe_above(pool, real, spool.st_uid);
    return found ? found : access_unsafe_above(pool, directory, spool.st_uid);
}
