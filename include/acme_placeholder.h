/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The placeholder: a self-signed certificate for the time until there is a real one, with its
 * key in the same file, so that the two are always replaced together.
 */
#ifndef ACME_PLACEHOLDER_H
#define ACME_PLACEHOLDER_H

#include <apr_pools.h>
#include <apr_time.h>

#include "acme_error.h"

/* The file in the directory; PEM, mode 0600. */
#define ACME_PLACEHOLDER_FILE "acme-alpn-placeholder.pem"

/* Write a new placeholder to the directory, in place of any that there is.
 *
 * Returns ACME_OK, or one of ACME_RUNTIME_* or ACME_SYSTEM_ERROR (with errno set, or 0 where
 * OpenSSL failed: see its error queue); then what was there is still there. */
acme_error_e acme_placeholder_write(apr_pool_t *pool, const char *directory, apr_time_t now);

/* Whether that would succeed now, as far as the directory tells. Returns what that would. */
acme_error_e acme_placeholder_check(const char *directory);

#endif
