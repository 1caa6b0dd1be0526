/*
 * Who can come to the spool, and who could put another one in its place. Asked when httpd
 * starts and by its status page; a handshake just opens it.
 */
#include "acme_spool.h"

#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

#define ROOT_UID 0
#define ROOT_GID 0

/* As many symbolic links as Linux follows in one path. */
#define MAX_LINKS 40

/* Of a user with more groups only the primary one is looked at. */
#define MAX_GROUPS 1024

/* Whether the group is one of the user's, as initgroups(3) will have it. */
static int is_member(uid_t user, gid_t primary, gid_t group)
{
    const struct passwd *entry = getpwuid(user);
    gid_t groups[MAX_GROUPS];
    int count = MAX_GROUPS, i;

    if (!entry || getgrouplist(entry->pw_name, primary, groups, &count) < 0) {
        return primary == group;
    }
    for (i = 0; i < count && groups[i] != group; i++) {
    }
    return i < count;
}

static int grants(mode_t mode, mode_t wanted)
{
    return (mode & wanted) == wanted;
}

/* What the mode grants, of S_IROTH and S_IXOTH; root, who asks when httpd starts, is granted
 * everything anyway. A user's groups are looked up only where they matter: that takes a while,
 * for which the start would have to wait. */
static int is_granted(mode_t wanted, const struct stat *directory, uid_t user, gid_t group)
{
    mode_t mode = directory->st_mode;

    if (user == ROOT_UID) {
        return 1;
    }
    if (user == directory->st_uid) {
        return grants(mode >> 6, wanted);
    }
    if (grants(mode >> 3, wanted) == grants(mode, wanted)) {
        return grants(mode, wanted);
    }
    return grants(is_member(user, group, directory->st_gid) ? mode >> 3 : mode, wanted);
}

/* Where the symbolic link leads to, NULL if it is none. Freed with the pool. */
static const char *link_target(apr_pool_t *pool, const char *path)
{
    char target[PATH_MAX];
    ssize_t length = readlink(path, target, sizeof(target));

    return length < 0 ? NULL : apr_pstrmemdup(pool, target, (apr_size_t)length);
}

/* The path of `name` in the directory `from`, of which "" is the root. */
static const char *step(apr_pool_t *pool, const char *from, const char *name)
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

/* What is looked for on the way, and for whom. */
typedef struct {
    int (*is_sought)(const struct stat *directory, uid_t user, gid_t group);
    uid_t user;
    gid_t group;
} search_t;

static int is_unsafe(const struct stat *directory, uid_t owner, gid_t unused)
{
    (void)unused;
    return (directory->st_uid != ROOT_UID && directory->st_uid != owner) ||
           acme_spool_others_can_write(directory);
}

static int is_closed(const struct stat *directory, uid_t user, gid_t group)
{
    return !is_granted(S_IXOTH, directory, user, group);
}

static int is_found(const search_t *search, const char *path)
{
    struct stat status;

    return stat(path, &status) != 0 || search->is_sought(&status, search->user, search->group);
}

/* Walk the path as the kernel does, one name at a time, and look at each directory in which a
 * name is looked up. The last one that is found, or NULL. */
static const char *find_on_the_way(apr_pool_t *pool, const char *path, const search_t *search)
{
    const char *at = "", *found = NULL;
    int links = 0;

    while (*(path += strspn(path, "/")) && links <= MAX_LINKS) {
        apr_size_t length = strcspn(path, "/");
        const char *next = step(pool, at, apr_pstrmemdup(pool, path, length));
        const char *target = link_target(pool, next);

        if (is_found(search, *at ? at : "/")) {
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

/* Whoever can write a directory on the way can make the path lead elsewhere. */
const char *acme_spool_unsafe_parent(apr_pool_t *pool, const char *directory)
{
    search_t search = {is_unsafe, ROOT_UID, ROOT_GID};
    struct stat status;

    if (stat(directory, &status) != 0) {
        return NULL;
    }
    search.user = status.st_uid;
    return find_on_the_way(pool, directory, &search);
}

acme_error_e acme_spool_check(apr_pool_t *pool, const char *directory, uid_t user, gid_t group,
                              uid_t *owner, const char **closed)
{
    search_t search = {is_closed, user, group};
    struct stat status;
    int fd;
    acme_error_e error = acme_spool_open(&fd, &status, directory);

    *closed = NULL;
    if (error != ACME_OK) {
        return error;
    }
    close(fd);
    *owner = status.st_uid;
    *closed = find_on_the_way(pool, directory, &search);
    return !*closed && is_granted(S_IROTH | S_IXOTH, &status, user, group)
               ? ACME_OK
               : ACME_SPOOL_UNREADABLE;
}
