/* SPDX-License-Identifier: Apache-2.0 */
/* The placeholder certificate: self-signed, for a vhost that has no certificate yet. Its key is
 * in the same file, so that one rename replaces both. */
#ifndef ACME_PLACEHOLDER_H
#define ACME_PLACEHOLDER_H

#include <apr_pools.h>
#include <apr_time.h>

#include "acme_error.h"

/* The file in the directory; PEM, mode 0600. */
#define ACME_PLACEHOLDER_FILE "acme-alpn-placeholder.pem"

/* Write a new placeholder to the directory, and replace an old one. An error keeps the old one.
 *
 * Returns ACME_OK, or one of ACME_RUNTIME_* or ACME_SYSTEM_ERROR (with errno; 0 means that
 * OpenSSL failed: see its error queue). */
acme_error_e acme_placeholder_write(apr_pool_t *pool, const char *directory, apr_time_t now);

/* Check the directory as acme_placeholder_write does, without writing. Returns the same errors.
 */
acme_error_e acme_placeholder_check(const char *directory);

#endif
