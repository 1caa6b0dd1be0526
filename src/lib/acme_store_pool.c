/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_store_pool.h"

#include <apr_thread_mutex.h>

typedef struct {
    acme_store_connection_t *connection;
    apr_uint32_t generation;
} kept_t;

struct acme_store_pool_t {
    apr_thread_mutex_t *mutex;
    kept_t kept[ACME_STORE_POOL_KEPT]; /* in the order of their last use */
    int count;
};

static apr_status_t pool_cleanup(void *data)
{
    acme_store_pool_t *pool = data;

    while (pool->count > 0) {
        acme_store_close(pool->kept[--pool->count].connection);
    }
    return APR_SUCCESS;
}

acme_store_pool_t *acme_store_pool_create(apr_pool_t *pool)
{
    acme_store_pool_t *connections = apr_pcalloc(pool, sizeof(*connections));

    if (apr_thread_mutex_create(&connections->mutex, APR_THREAD_MUTEX_DEFAULT, pool) !=
        APR_SUCCESS) {
        return NULL;
    }
    apr_pool_cleanup_register(pool, connections, pool_cleanup, apr_pool_cleanup_null);
    return connections;
}

/* NULL: no kept connection is usable. */
static acme_store_connection_t *pool_take(acme_store_pool_t *pool, apr_uint32_t generation)
{
    acme_store_connection_t *connection = NULL;

    apr_thread_mutex_lock(pool->mutex);
    while (pool->count > 0 && !connection) {
        kept_t *kept = &pool->kept[--pool->count];

        if (kept->generation == generation && acme_store_is_usable(kept->connection)) {
            connection = kept->connection;
        } else {
            acme_store_close(kept->connection);
        }
    }
    apr_thread_mutex_unlock(pool->mutex);
    return connection;
}

static void pool_give(acme_store_pool_t *pool, acme_store_connection_t *connection,
                      apr_uint32_t generation)
{
    int is_usable = connection && acme_store_is_usable(connection);

    apr_thread_mutex_lock(pool->mutex);
    if (is_usable && pool->count < ACME_STORE_POOL_KEPT) {
        pool->kept[pool->count++] = (kept_t){connection, generation};
        connection = NULL;
    }
    apr_thread_mutex_unlock(pool->mutex);
    acme_store_close(connection);
}

acme_error_e acme_store_pool_find(acme_digest_t *digest, acme_store_pool_t *pool,
                                  acme_store_call_t *call, const acme_identifier_t *identifier,
                                  apr_uint32_t generation)
{
    acme_store_connection_t *connection = pool_take(pool, generation);
    acme_error_e error = ACME_STORE_CLOSED;

    if (connection) {
        error = acme_store_find(digest, connection, call, identifier);
    }
    /* The store closed the kept connection. A time-out is not retried, since a slow store
     * would get each look-up twice. */
    if (error == ACME_STORE_CLOSED || error == ACME_STORE_TLS_FAILED) {
        acme_store_close(connection);
        call->detail[0] = '\0';
        error = acme_store_open(&connection, call);
        if (error == ACME_OK) {
            error = acme_store_find(digest, connection, call, identifier);
        }
    }
    pool_give(pool, connection, generation);
    return error;
}
