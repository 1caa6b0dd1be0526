/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <apr_strings.h>

#define ROOT_UID 0

/* Root's group is no exception: with an ACL the group's bits are its mask, which limits all
 * users that the ACL names. */
int acme_file_others_can_write(const struct stat *status)
{
    return (status->st_mode & (S_IWGRP | S_IWOTH)) != 0;
}

int acme_file_is_safe(const struct stat *status, uid_t owner)
{
    return (status->st_uid == ROOT_UID || status->st_uid == owner) &&
           !acme_file_others_can_write(status);
}

ssize_t acme_file_read(int fd, char *buffer, apr_size_t size)
{
    apr_size_t length = 0;
    ssize_t count;

    do {
        count = read(fd, buffer + length, size - length);
        length += count > 0 ? (apr_size_t)count : 0;
    } while ((count > 0 && length < size) || (count < 0 && errno == EINTR));
    return count < 0 ? -1 : (ssize_t)length;
}

static int file_write(int fd, const char *text, apr_size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, text, length);

        if (written > 0) {
            text += written;
            length -= (apr_size_t)written;
        } else if (written == 0 || errno != EINTR) {
            return 0;
        }
    }
    return 1;
}

static int file_fill(int fd, const char *text, apr_size_t length, mode_t mode)
{
    int done = file_write(fd, text, length) && fchmod(fd, mode) == 0;
    int saved = errno;

    if (close(fd) != 0) {
        return 0;
    }
    errno = saved;
    return done;
}

int acme_file_replace(apr_pool_t *pool, const char *directory, const char *name,
                      const char *text, apr_size_t length, mode_t mode)
{
    /* Not with `name` in it, which may have the maximal length of a file's name. */
    char *temporary = apr_pstrcat(pool, directory, "/.acme-alpn-XXXXXX", NULL);
    int fd = mkostemp(temporary, O_CLOEXEC), saved;

    if (fd < 0) {
        return 0;
    }
    if (file_fill(fd, text, length, mode) &&
        rename(temporary, apr_pstrcat(pool, directory, "/", name, NULL)) == 0) {
        return 1;
    }
    saved = errno;
    unlink(temporary);
    errno = saved;
    return 0;
}
