/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded cache of challenge certificates, for all threads of a process. The digest is part
 * of the key, so the cache never returns a certificate for an older digest. */
#ifndef ACME_CACHE_H
#define ACME_CACHE_H

#include <apr_pools.h>
#include <apr_time.h>

#include <openssl/x509.h>

#include "acme_digest.h"
#include "acme_identifier.h"
#include "acme_key.h"

/* How long the cache returns a certificate: well within ACME_CERTIFICATE_LIFETIME. */
#define ACME_CACHE_LIFETIME apr_time_from_sec(24 * 60 * 60)

typedef struct acme_cache_t acme_cache_t;

/* Returns an empty cache for at most `slots` certificates, or NULL; freed with the pool. */
acme_cache_t *acme_cache_create(apr_pool_t *pool, apr_size_t slots);

/* Returns the cached certificate, which the caller frees with X509_free, or NULL. */
X509 *acme_cache_get(acme_cache_t *cache, const acme_identifier_t *identifier,
                     const acme_digest_t *digest, acme_key_type_e type, apr_time_t now);

/* Adds its own reference to the certificate, and frees the one that had the slot. */
void acme_cache_put(acme_cache_t *cache, const acme_identifier_t *identifier,
                    const acme_digest_t *digest, acme_key_type_e type, apr_time_t now,
                    X509 *certificate);

#endif
