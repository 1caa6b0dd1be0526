/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of one process to one store that are kept for the next look-up.
 */
#ifndef ACME_STORE_POOL_H
#define ACME_STORE_POOL_H

#include "acme_store.h"

/* How many are kept. More are opened while more threads ask. */
#define ACME_STORE_POOL_KEPT 8

typedef struct acme_store_pool_t acme_store_pool_t;

/* Its connections are closed with `pool`, and do not survive a fork. NULL: the system has no
 * mutex. */
acme_store_pool_t *acme_store_pool_create(apr_pool_t *pool);

/*
 * acme_store_find on one of the connections, or on a new one. A connection that has ended since
 * it was last used is replaced once: a store that was restarted is no failure. A connection
 * from before `generation` is not used again.
 *
 * Returns what acme_store_find does.
 */
acme_error_e acme_store_pool_find(acme_digest_t *digest, acme_store_pool_t *pool,
                                  acme_store_call_t *call, const acme_identifier_t *identifier,
                                  apr_uint32_t generation);

#endif
