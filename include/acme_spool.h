/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool: a directory with one file for each identifier that has a live challenge, named by
 * the identifier's canonical form, its content one value (see acme_digest.h). Who can write
 * it can get certificates for every name on the server; hence the checks.
 */
#ifndef ACME_SPOOL_H
#define ACME_SPOOL_H

#include <sys/stat.h>
#include <sys/types.h>

#include <apr_pools.h>
#include <apr_tables.h>
#include <apr_time.h>

#include "acme_digest.h"
#include "acme_error.h"
#include "acme_identifier.h"

/* How far a file's mtime may be ahead of the clock; with more it might never expire. */
#define ACME_SPOOL_FUTURE_MAX apr_time_from_sec(5 * 60)

typedef struct {
    const char *directory;       /* absolute path; may be a symlink to a directory */
    apr_interval_time_t max_age; /* entries older than this are ignored, in microseconds */
    const char *accounts;        /* whose entries are not ignored; see acme_digest.h */
} acme_spool_t;

/*
 * Look an identifier's challenge up. Opens and checks the directory anew each time, so that
 * what is renamed into it, unlinked from it or mended counts at once; never blocks on a FIFO
 * or device, and touches no file but the identifier's.
 *
 * Returns ACME_OK or ACME_ACCOUNT_* with *digest, or with *digest untouched one
 * of ACME_SPOOL_*, ACME_NO_ENTRY, ACME_ENTRY_*, ACME_VALUE_* or ACME_SYSTEM_ERROR (errno is
 * set).
 */
acme_error_e acme_spool_find(acme_digest_t *digest, const acme_spool_t *spool,
                             const acme_identifier_t *identifier, apr_time_t now);

/* A directory above the spool, by its absolute path as given or without symbolic links, that
 * lets others than root and the spool's owner replace what lies under it; NULL where all are
 * safe. Allocated from `pool`. */
const char *acme_spool_unsafe_parent(apr_pool_t *pool, const char *directory);

/*
 * Publish a value for an identifier in one step, in place of any that there is. `value` is
 * written as it is, without the line end; the caller has parsed it (acme_digest_parse).
 *
 * Returns ACME_OK, or one of ACME_SPOOL_* or ACME_SYSTEM_ERROR (with errno set); then the spool
 * is as it was.
 */
acme_error_e acme_spool_publish(apr_pool_t *pool, const char *directory,
                                const acme_identifier_t *identifier, const char *value);

/*
 * Withdraw what is published for an identifier; with a digest only if it is still that one's,
 * even where another client publishes at that very moment.
 *
 * Returns ACME_OK, ACME_NO_ENTRY, ACME_ENTRY_OTHER_VALUE, or one of ACME_SPOOL_*, ACME_ENTRY_*
 * or ACME_SYSTEM_ERROR (with errno set).
 */
acme_error_e acme_spool_withdraw(const char *directory, const acme_identifier_t *identifier,
                                 const acme_digest_t *digest);

typedef struct {
    const char *name;   /* of the file */
    apr_time_t written; /* its mtime; 0 where that is not known */
    acme_error_e state; /* ACME_OK: a handshake would be answered from it now */
    char account[44];   /* as in acme_digest_t, with ACME_OK or ACME_ACCOUNT_* */
} acme_spool_entry_t;

/*
 * The steps of a look-up, for who looks at many files. Open and check the directory, as each
 * look-up does; with ACME_OK the caller closes *fd.
 *
 * Returns ACME_OK, or one of ACME_SPOOL_* or ACME_SYSTEM_ERROR (with errno set).
 */
acme_error_e acme_spool_open(int *fd, struct stat *status, const char *directory);

/* What a look-up finds in one file of the opened directory. The entry's name is `name` itself;
 * its state is also ACME_NAME_INVALID, where no look-up comes to this file, ACME_NO_ENTRY, or
 * ACME_SYSTEM_ERROR (with errno set). */
acme_spool_entry_t acme_spool_examine(int directory_fd, const struct stat *directory,
                                      const char *name, const acme_spool_t *spool,
                                      apr_time_t now);

/* A file's time in microseconds; the nearest where it is beyond what these can tell. */
apr_time_t acme_spool_time(const struct timespec *time);

/* Whether an entry of this mtime is too old at that time. */
int acme_spool_is_too_old(time_t written, apr_interval_time_t max_age, apr_time_t now);

/* With more entries than this, acme_spool_list stops to count. */
#define ACME_SPOOL_COUNT_MAX 250000

/*
 * The first `most` entries that the directory gives, in the order of their names; files whose
 * names start with a dot are none. *entries is an array of acme_spool_entry_t from `pool`,
 * *total how many there are of all, of which no more is seen than the name:
 * ACME_SPOOL_COUNT_MAX where there are as many or more than that and `most`.
 *
 * Returns ACME_OK, or one of ACME_SPOOL_* or ACME_SYSTEM_ERROR (with errno set).
 */
acme_error_e acme_spool_list(apr_pool_t *pool, apr_array_header_t **entries, apr_size_t *total,
                             const acme_spool_t *spool, apr_size_t most, apr_time_t now);

#endif
