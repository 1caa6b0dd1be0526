/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

#include <openssl/rand.h>

#include "acme_file.h"

/* mkstemp leaves 0600, which httpd's User could not read. */
#define READABLE (S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH)

#define ROOT_UID 0

/* acme_digest_parse, or acme_digest_check where only the account is needed. */
typedef acme_error_e parse_t(acme_digest_t *digest, const char *value, apr_size_t length);

static acme_error_e spool_directory_error(int error)
{
    switch (error) {
    case ENOENT:
        return ACME_SPOOL_MISSING;
    case ENOTDIR:
        return ACME_SPOOL_NOT_DIRECTORY;
    case EACCES:
        return ACME_SPOOL_UNREADABLE;
    default:
        return ACME_SYSTEM_ERROR;
    }
}

/* By its name, since a directory without the x permission opens all the same. */
static acme_error_e spool_check_directory(int fd, struct stat *status)
{
    if (fstatat(fd, ".", status, 0) != 0) {
        return spool_directory_error(errno);
    }
    return acme_file_others_can_write(status) ? ACME_SPOOL_WRITABLE : ACME_OK;
}

acme_error_e acme_spool_open(int *fd, struct stat *status, const char *directory)
{
    acme_error_e error;

    *fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0) {
        return spool_directory_error(errno);
    }
    error = spool_check_directory(*fd, status);
    if (error != ACME_OK) {
        close(*fd);
    }
    return error;
}

static acme_error_e spool_entry_error(int error)
{
    switch (error) {
    case ENOENT:
        return ACME_NO_ENTRY;
    case EACCES:
        return ACME_ENTRY_UNREADABLE;
    case ELOOP:
    case EMLINK: /* the same on FreeBSD */
        return ACME_ENTRY_SYMLINK;
    case ENXIO: /* a socket */
        return ACME_ENTRY_NOT_REGULAR;
    default:
        return ACME_SYSTEM_ERROR;
    }
}

/* Subtracts from `now`, since mtime can be any number and would overflow. */
int acme_spool_is_too_old(time_t written, apr_interval_time_t max_age, apr_time_t now)
{
    return written < apr_time_sec(now - max_age);
}

static acme_error_e spool_check_age(time_t written, apr_interval_time_t max_age, apr_time_t now)
{
    if (written > apr_time_sec(now + ACME_SPOOL_FUTURE_MAX)) {
        return ACME_ENTRY_FUTURE;
    }
    return acme_spool_is_too_old(written, max_age, now) ? ACME_ENTRY_TOO_OLD : ACME_OK;
}

static acme_error_e spool_check_entry(const struct stat *entry, const struct stat *directory)
{
    if (!S_ISREG(entry->st_mode)) {
        return ACME_ENTRY_NOT_REGULAR;
    }
    if (entry->st_uid != ROOT_UID && entry->st_uid != directory->st_uid) {
        return ACME_ENTRY_OWNER;
    }
    if (acme_file_others_can_write(entry)) {
        return ACME_ENTRY_WRITABLE;
    }
    return entry->st_size > ACME_VALUE_MAX ? ACME_ENTRY_TOO_LARGE : ACME_OK;
}

/* With ACME_OK the caller closes *fd. */
static acme_error_e spool_open_entry(int *fd, struct stat *status, int directory_fd,
                                     const struct stat *directory, const char *name)
{
    acme_error_e error;

    *fd = openat(directory_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (*fd < 0) {
        return spool_entry_error(errno);
    }
    error = fstat(*fd, status) == 0 ? spool_check_entry(status, directory) : ACME_SYSTEM_ERROR;
    if (error != ACME_OK) {
        close(*fd);
    }
    return error;
}

/* Reads one byte more than is allowed, to notice a file that grew after the check. */
static acme_error_e spool_read_value(acme_digest_t *digest, int fd, parse_t *parse)
{
    char value[ACME_VALUE_MAX + 1];
    ssize_t length = acme_file_read(fd, value, sizeof(value));

    return length < 0 ? ACME_SYSTEM_ERROR : parse(digest, value, (size_t)length);
}

static acme_error_e spool_find_in(acme_digest_t *digest, parse_t *parse, int directory_fd,
                                  const struct stat *directory, const char *name,
                                  const acme_spool_t *spool, apr_time_t now)
{
    struct stat status;
    int fd;
    acme_error_e error = spool_open_entry(&fd, &status, directory_fd, directory, name);

    if (error != ACME_OK) {
        return error;
    }
    error = spool_check_age(status.st_mtime, spool->max_age, now);
    if (error == ACME_OK) {
        error = spool_read_value(digest, fd, parse);
    }
    if (error == ACME_OK) {
        error = acme_digest_check_account(digest, spool->accounts);
    }
    close(fd);
    return error;
}

acme_error_e acme_spool_find(acme_digest_t *digest, const acme_spool_t *spool,
                             const acme_identifier_t *identifier, apr_time_t now)
{
    struct stat status;
    int fd;
    acme_error_e error = acme_spool_open(&fd, &status, spool->directory);

    if (error == ACME_OK) {
        error =
            spool_find_in(digest, acme_digest_parse, fd, &status, identifier->name, spool, now);
        close(fd);
    }
    return error;
}

/* A look-up would refuse an entry of any other user. */
static acme_error_e spool_check_writer(const struct stat *directory)
{
    uid_t user = geteuid();

    return user == ROOT_UID || user == directory->st_uid ? ACME_OK : ACME_SPOOL_NOT_OURS;
}

acme_error_e acme_spool_publish(apr_pool_t *pool, const char *directory,
                                const acme_identifier_t *identifier, const char *value)
{
    const char *line = apr_pstrcat(pool, value, "\n", NULL);
    struct stat status;
    int fd;
    acme_error_e error = acme_spool_open(&fd, &status, directory);

    if (error != ACME_OK) {
        return error;
    }
    close(fd);
    error = spool_check_writer(&status);
    if (error == ACME_OK &&
        !acme_file_replace(pool, directory, identifier->name, line, strlen(line), READABLE)) {
        error = ACME_SYSTEM_ERROR;
    }
    return error;
}

/* Whether the entry has this digest, however old it is. */
static acme_error_e spool_compare(int directory_fd, const struct stat *directory,
                                  const char *name, const acme_digest_t *digest)
{
    acme_digest_t found;
    struct stat status;
    int fd;
    acme_error_e error = spool_open_entry(&fd, &status, directory_fd, directory, name);

    if (error != ACME_OK) {
        return error;
    }
    error = spool_read_value(&found, fd, acme_digest_parse);
    close(fd);
    if (error == ACME_SYSTEM_ERROR) {
        return error;
    }
    return error == ACME_OK && memcmp(found.bytes, digest->bytes, sizeof(found.bytes)) == 0
               ? ACME_OK
               : ACME_ENTRY_OTHER_VALUE;
}

static acme_error_e spool_unlink_error(int error)
{
    switch (error) {
    case ENOENT:
        return ACME_NO_ENTRY;
    case EISDIR:
        return ACME_ENTRY_NOT_REGULAR;
    case EACCES:
        return ACME_SPOOL_NOT_OURS;
    default:
        return ACME_SYSTEM_ERROR;
    }
}

/* Another client can rename its entry into place after the comparison. So this moves the entry
 * to a private name, compares again, and puts another client's entry back. link(2) does that
 * without overwriting a newer one; some file systems have rename(2) only. */
static acme_error_e spool_withdraw_own(int fd, const struct stat *directory, const char *name,
                                       const acme_digest_t *digest)
{
    acme_error_e error = spool_compare(fd, directory, name, digest);
    apr_uint64_t number = (apr_uint64_t)apr_time_now(); /* if RAND_bytes fails */
    char aside[32];

    if (error != ACME_OK) {
        return error;
    }
    RAND_bytes((unsigned char *)&number, sizeof(number));
    apr_snprintf(aside, sizeof(aside), ".acme-alpn-%" APR_UINT64_T_HEX_FMT, number);
    if (renameat(fd, name, fd, aside) != 0) {
        return spool_unlink_error(errno);
    }
    error = spool_compare(fd, directory, aside, digest);
    if (error == ACME_OK || linkat(fd, aside, fd, name, 0) == 0 || errno == EEXIST) {
        return unlinkat(fd, aside, 0) == 0 ? error : ACME_SYSTEM_ERROR;
    }
    return renameat(fd, aside, fd, name) == 0 ? error : ACME_SYSTEM_ERROR;
}

acme_error_e acme_spool_withdraw(const char *directory, const acme_identifier_t *identifier,
                                 const acme_digest_t *digest)
{
    struct stat status;
    int fd;
    acme_error_e error = acme_spool_open(&fd, &status, directory);

    if (error != ACME_OK) {
        return error;
    }
    if (digest) {
        error = spool_withdraw_own(fd, &status, identifier->name, digest);
    } else if (unlinkat(fd, identifier->name, 0) != 0) {
        error = spool_unlink_error(errno);
    }
    close(fd);
    return error;
}

apr_time_t acme_spool_time(const struct timespec *time)
{
    const apr_int64_t most = APR_INT64_MAX / APR_USEC_PER_SEC - 1;

    if (time->tv_sec > most) {
        return apr_time_from_sec(most);
    }
    return apr_time_from_sec(time->tv_sec < -most ? -most : time->tv_sec) +
           time->tv_nsec / 1000;
}

acme_spool_entry_t acme_spool_examine(int directory_fd, const struct stat *directory,
                                      const char *name, const acme_spool_t *spool,
                                      apr_time_t now)
{
    acme_spool_entry_t entry = {name, 0, ACME_OK, ""};
    acme_digest_t digest = {{0}, ""};
    acme_identifier_t identifier;
    struct stat status;

    if (fstatat(directory_fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        entry.state = spool_entry_error(errno);
        return entry;
    }
    entry.written = acme_spool_time(&status.st_mtim);
    entry.state = acme_identifier_from_text(&identifier, name);
    if (entry.state == ACME_OK && strcmp(identifier.name, name) != 0) {
        entry.state = ACME_NAME_INVALID;
    }
    if (entry.state == ACME_OK) {
        entry.state = spool_find_in(&digest, acme_digest_check, directory_fd, directory, name,
                                    spool, now);
        memcpy(entry.account, digest.account, sizeof(entry.account));
    }
    return entry;
}

static int spool_compare_names(const void *left, const void *right)
{
    return strcmp(((const acme_spool_entry_t *)left)->name,
                  ((const acme_spool_entry_t *)right)->name);
}

/* Returns 0 where a client withdrew the entry after readdir(3) gave its name. */
static int spool_take_entry(apr_pool_t *pool, apr_array_header_t *found, DIR *stream,
                            const struct stat *directory, const acme_spool_t *spool,
                            const char *name, apr_time_t now)
{
    acme_spool_entry_t entry =
        acme_spool_examine(dirfd(stream), directory, apr_pstrdup(pool, name), spool, now);

    if (entry.state == ACME_NO_ENTRY) {
        return 0;
    }
    APR_ARRAY_PUSH(found, acme_spool_entry_t) = entry;
    return 1;
}

static acme_error_e spool_read_entries(apr_pool_t *pool, apr_array_header_t *found,
                                       apr_size_t *total, DIR *stream,
                                       const struct stat *directory, const acme_spool_t *spool,
                                       apr_size_t most, apr_time_t now)
{
    apr_size_t seen = 0;
    struct dirent *file;

    for (errno = 0; (file = readdir(stream)) != NULL; errno = 0) {
        if (file->d_name[0] == '.') {
            continue;
        }
        if (seen < most) {
            seen += (apr_size_t)spool_take_entry(pool, found, stream, directory, spool,
                                                 file->d_name, now);
        } else if (++seen >= ACME_SPOOL_COUNT_MAX && most < ACME_SPOOL_COUNT_MAX) {
            break;
        }
    }
    *total = seen;
    return file || !errno ? ACME_OK : ACME_SYSTEM_ERROR;
}

acme_error_e acme_spool_list(apr_pool_t *pool, apr_array_header_t **entries, apr_size_t *total,
                             const acme_spool_t *spool, apr_size_t most, apr_time_t now)
{
    apr_array_header_t *found = apr_array_make(pool, 16, sizeof(acme_spool_entry_t));
    struct stat status;
    DIR *stream;
    int fd;
    acme_error_e error = acme_spool_open(&fd, &status, spool->directory);

    if (error != ACME_OK) {
        return error;
    }
    stream = fdopendir(fd);
    if (!stream) {
        close(fd);
        return ACME_SYSTEM_ERROR;
    }
    error = spool_read_entries(pool, found, total, stream, &status, spool, most, now);
    closedir(stream);
    if (error != ACME_OK) {
        return error;
    }
    qsort(found->elts, (size_t)found->nelts, sizeof(acme_spool_entry_t), spool_compare_names);
    *entries = found;
    return ACME_OK;
}
