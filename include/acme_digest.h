/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SHA-256 of a key authorization, which a challenge certificate carries (RFC 8737 section
 * 3), from the line that an ACME client published.
 */
#ifndef ACME_DIGEST_H
#define ACME_DIGEST_H

#include <apr.h>

#include "acme_error.h"

#define ACME_DIGEST_SIZE 32

/* The largest value, line end included, in bytes. */
#define ACME_VALUE_MAX 1024

typedef struct {
    unsigned char bytes[ACME_DIGEST_SIZE];
} acme_digest_t;

/*
 * Read one value: a key authorization (RFC 8555 section 8.1: a token of at least 22 characters
 * of base64url, a dot, a thumbprint of 43), or the SHA-256 of one as 43 characters of base64url
 * or as 64 hex digits, which colons may separate in pairs. One LF or CRLF may follow.
 * `value` need not be NUL-terminated and may hold any bytes.
 *
 * Returns ACME_OK, or with *digest untouched ACME_VALUE_EMPTY, ACME_VALUE_LINES,
 * ACME_VALUE_MALFORMED, ACME_ENTRY_TOO_LARGE or ACME_SYSTEM_ERROR.
 */
acme_error_e acme_digest_parse(acme_digest_t *digest, const char *value, apr_size_t length);

#endif
