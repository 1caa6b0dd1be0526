/* SPDX-License-Identifier: Apache-2.0 */
/* Files and directories: which users can write them; bounded reads; replacement in one step. */
#ifndef ACME_FILE_H
#define ACME_FILE_H

#include <sys/stat.h>
#include <sys/types.h>

#include <apr_pools.h>

/* Whether users other than the owner can write a file or directory, by their group or an ACL.
 */
int acme_file_others_can_write(const struct stat *status);

/* Whether root and this user alone can write it. */
int acme_file_is_safe(const struct stat *status, uid_t owner);

/* Read to the end, or until `buffer` is full. Returns the number of bytes; -1: see errno. */
ssize_t acme_file_read(int fd, char *buffer, apr_size_t size);

/* Write the text to a temporary dot-file in the directory and rename it to `name`. The umask
 * does not change the mode. Returns 1; or 0 with errno, and removes the temporary file. */
int acme_file_replace(apr_pool_t *pool, const char *directory, const char *name,
                      const char *text, apr_size_t length, mode_t mode);

#endif
