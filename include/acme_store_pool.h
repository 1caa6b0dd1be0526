/*
 * The connections of one process to one store, for all its threads.
 */
#ifndef ACME_STORE_POOL_H
#define ACME_STORE_POOL_H

#include "acme_store.h"

/* Connections at most, of one process to one store. */
#define ACME_STORE_POOL_MAX 8

typedef struct acme_store_pool_t acme_store_pool_t;

/* Without connections, which are made when they are needed; closed with `pool`. NULL: the
 * system has no mutex. Not to be used by a process that is forked off later. */
acme_store_pool_t *acme_store_pool_create(apr_pool_t *pool, const acme_store_t *store);

/*
 * acme_store_find on one of the connections. Should that have ended since it was last used,
 * another is made: a store that was restarted or has moved is no failure. A connection from
 * before `generation` is not used again.
 *
 * Returns what acme_store_find does, or ACME_STORE_BUSY: other threads had the connections
 * until the deadline, or for so long that the store could not answer before it.
 */
acme_error_e acme_store_pool_find(acme_digest_t *digest, acme_store_pool_t *pool,
                                  acme_store_call_t *call, const acme_identifier_t *identifier,
                                  apr_uint32_t generation);

#endif
