/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files and directories: who can write them; whole files, read up to a size, and replaced so
 * that no reader sees a part of one.
 */
#ifndef ACME_FILE_H
#define ACME_FILE_H

#include <sys/stat.h>
#include <sys/types.h>

#include <apr_pools.h>

/* Whether others than the owner, by their group or an ACL, can write to a file or directory. */
int acme_file_others_can_write(const struct stat *status);

/* Whether root and this user alone can write to it. */
int acme_file_is_safe(const struct stat *status, uid_t owner);

/* Read to the end, or until `buffer` is full. Returns the number of bytes; -1: see errno. */
ssize_t acme_file_read(int fd, char *buffer, apr_size_t size);

/* Write the text to a temporary file in the directory, whose name begins with a dot, and rename
 * it to `name`. The mode is what it says, whatever the umask. Returns whether that is done; if
 * not, errno says why and the temporary file is gone. */
int acme_file_replace(apr_pool_t *pool, const char *directory, const char *name,
                      const char *text, apr_size_t length, mode_t mode);

#endif
