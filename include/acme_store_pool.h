/* SPDX-License-Identifier: Apache-2.0 */
/* The connections of one process to one store, kept for the next look-up. */
#ifndef ACME_STORE_POOL_H
#define ACME_STORE_POOL_H

#include "acme_store.h"

/* How many are kept. Busy threads open more for a time. */
#define ACME_STORE_POOL_KEPT 8

typedef struct acme_store_pool_t acme_store_pool_t;

/* Cleaning `pool` closes its connections; they do not survive a fork. NULL: no mutex. */
acme_store_pool_t *acme_store_pool_create(apr_pool_t *pool);

/*
 * Call acme_store_find on a kept connection of this generation, or on a new one. If the store
 * has closed a kept one, for example at its restart, this retries once on a new one.
 *
 * Returns the same as acme_store_find.
 */
acme_error_e acme_store_pool_find(acme_digest_t *digest, acme_store_pool_t *pool,
                                  acme_store_call_t *call, const acme_identifier_t *identifier,
                                  apr_uint32_t generation);

#endif
