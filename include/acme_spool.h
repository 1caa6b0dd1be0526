/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool: a directory with one entry for each identifier that has a challenge. An entry is a
 * file whose name is the identifier's canonical form and whose content is one value (see
 * acme_digest.h). A user who can write the spool can get certificates for every name on the
 * server; hence the checks.
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

/* How far an entry's mtime may be ahead of the clock. Further ahead it might never expire. */
#define ACME_SPOOL_FUTURE_MAX apr_time_from_sec(5 * 60)

typedef struct {
    const char *directory;       /* absolute path; may be a symlink to a directory */
    apr_interval_time_t max_age; /* older entries are refused; in microseconds */
    const char *accounts;        /* which are accepted; NULL: any; see acme_digest.h */
} acme_spool_t;

/*
 * Look an identifier's challenge up. Opens and checks the directory anew each time, so every
 * change in it has effect at once. Never blocks on a FIFO or device, and opens no file but the
 * identifier's.
 *
 * Returns ACME_OK or ACME_ACCOUNT_* with *digest, or with *digest untouched one of
 * ACME_SPOOL_*, ACME_NO_ENTRY, ACME_ENTRY_*, ACME_VALUE_* or ACME_SYSTEM_ERROR (with errno).
 */
acme_error_e acme_spool_find(acme_digest_t *digest, const acme_spool_t *spool,
                             const acme_identifier_t *identifier, apr_time_t now);

/* A directory above the spool that users other than root and the spool's owner own or can
 * write, so that they can replace the spool. Its absolute path, as given or without symbolic
 * links, is allocated from `pool`. NULL: all are safe. */
const char *acme_spool_unsafe_parent(apr_pool_t *pool, const char *directory);

/*
 * Add an identifier's entry, or replace it, in one step. `value` is one line without its end;
 * the caller has parsed it (acme_digest_parse).
 *
 * Returns ACME_OK, or with the spool unchanged one of ACME_SPOOL_* or ACME_SYSTEM_ERROR (with
 * errno).
 */
acme_error_e acme_spool_publish(apr_pool_t *pool, const char *directory,
                                const acme_identifier_t *identifier, const char *value);

/*
 * Remove an identifier's entry; with a digest only if the entry still has it, even if another
 * ACME client replaces the entry at the same moment.
 *
 * Returns ACME_OK, ACME_NO_ENTRY, ACME_ENTRY_OTHER_VALUE, or one of ACME_SPOOL_*, ACME_ENTRY_*
 * or ACME_SYSTEM_ERROR (with errno).
 */
acme_error_e acme_spool_withdraw(const char *directory, const acme_identifier_t *identifier,
                                 const acme_digest_t *digest);

typedef struct {
    const char *name;   /* of the file */
    apr_time_t written; /* its mtime; 0: unknown */
    acme_error_e state; /* ACME_OK: a handshake would be answered from it now */
    char account[44];   /* as in acme_digest_t, with ACME_OK or ACME_ACCOUNT_* */
} acme_spool_entry_t;

/* Open and check the directory, as each look-up does, to examine many files. With ACME_OK the
 * caller closes *fd. Returns ACME_OK, ACME_SPOOL_* or ACME_SYSTEM_ERROR (with errno). */
acme_error_e acme_spool_open(int *fd, struct stat *status, const char *directory);

/* Examine one file of the opened directory as a look-up does. The entry's name is `name`
 * itself. Its state may also be ACME_NAME_INVALID (no look-up opens this file), ACME_NO_ENTRY
 * or ACME_SYSTEM_ERROR (with errno). */
acme_spool_entry_t acme_spool_examine(int directory_fd, const struct stat *directory,
                                      const char *name, const acme_spool_t *spool,
                                      apr_time_t now);

/* A file's time in microseconds, or the nearest that fits. */
apr_time_t acme_spool_time(const struct timespec *time);

/* Whether an entry of this mtime is too old at that time. */
int acme_spool_is_too_old(time_t written, apr_interval_time_t max_age, apr_time_t now);

/* Where acme_spool_list stops to count. */
#define ACME_SPOOL_COUNT_MAX 250000

/*
 * Examine the first `most` entries that the directory gives, and sort them by name. Dot-files
 * are not entries. *entries is an array of acme_spool_entry_t from `pool`. *total is the number
 * of all entries; with a smaller `most` the count ends at ACME_SPOOL_COUNT_MAX.
 *
 * Returns ACME_OK, or one of ACME_SPOOL_* or ACME_SYSTEM_ERROR (with errno).
 */
acme_error_e acme_spool_list(apr_pool_t *pool, apr_array_header_t **entries, apr_size_t *total,
                             const acme_spool_t *spool, apr_size_t most, apr_time_t now);

#endif
