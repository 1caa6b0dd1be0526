/* SPDX-License-Identifier: Apache-2.0 */
/* The digest of a key authorization, which a challenge certificate carries (RFC 8737 section
 * 3), and the ACME account that it belongs to. */
#ifndef ACME_DIGEST_H
#define ACME_DIGEST_H

#include <apr_pools.h>

#include "acme_error.h"

#define ACME_DIGEST_SIZE 32

/* The largest value, line end included, in bytes. */
#define ACME_VALUE_MAX 1024

/* A list of accounts is this word alone (or NULL), or thumbprints with spaces between them. */
#define ACME_ACCOUNT_ANY     "any"
#define ACME_ACCOUNT_ALLOWED "43 characters of base64url (certbot show_account), or any alone"

typedef struct {
    unsigned char bytes[ACME_DIGEST_SIZE];
    char account[44]; /* the thumbprint of the ACME account's key (RFC 7638), if known, or "" */
} acme_digest_t;

/*
 * Read one value: a key authorization (RFC 8555 section 8.1: a token of at least 22 characters
 * of base64url, a dot, a thumbprint of 43), or the SHA-256 of one as 43 characters of base64url
 * or as 64 hex digits, which colons may separate in pairs. One LF or CRLF may follow.
 * `value` may hold any bytes; it needs no NUL at its end.
 *
 * Returns ACME_OK, or with *digest untouched ACME_VALUE_EMPTY, ACME_VALUE_LINES,
 * ACME_VALUE_MALFORMED, ACME_ENTRY_TOO_LARGE or ACME_SYSTEM_ERROR.
 */
acme_error_e acme_digest_parse(acme_digest_t *digest, const char *value, apr_size_t length);

/* The same without libcrypto, so of a key authorization only the account is set. Where it
 * fails, *digest is undefined. */
acme_error_e acme_digest_check(acme_digest_t *digest, const char *value, apr_size_t length);

/* Check that the digest belongs to one of these accounts. Returns ACME_OK, ACME_ACCOUNT_OTHER,
 * or for a bare digest ACME_ACCOUNT_UNKNOWN. */
acme_error_e acme_digest_check_account(const acme_digest_t *digest, const char *accounts);

/* Add a word to a list of accounts, NULL at first. Returns whether the word is allowed. */
int acme_digest_add_account(apr_pool_t *pool, const char **accounts, const char *word);

#endif
