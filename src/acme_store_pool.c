#include "acme_store_pool.h"

#include <errno.h>

#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>

typedef struct {
    acme_store_connection_t *connection;
    apr_uint32_t generation;
} slot_t;

struct acme_store_pool_t {
    acme_resolver_t *resolver; /* NULL: a socket */
    apr_thread_mutex_t *mutex;
    apr_thread_cond_t *returned;
    slot_t idle[ACME_STORE_POOL_MAX]; /* the one that was used last is the last */
    int idle_count;
    int count; /* idle or in use */
};

static apr_status_t cleanup(void *data)
{
    acme_store_pool_t *pool = data;

    while (pool->idle_count > 0) {
        acme_store_close(pool->idle[--pool->idle_count].connection);
    }
    return APR_SUCCESS;
}

acme_store_pool_t *acme_store_pool_create(apr_pool_t *pool, const acme_store_t *store)
{
    acme_store_pool_t *made = apr_pcalloc(pool, sizeof(*made));

    made->resolver = store->host ? acme_resolver_create(store->host) : NULL;
    if (apr_thread_mutex_create(&made->mutex, APR_THREAD_MUTEX_DEFAULT, pool) != APR_SUCCESS ||
        apr_thread_cond_create(&made->returned, pool) != APR_SUCCESS) {
        return NULL;
    }
    apr_pool_cleanup_register(pool, made, cleanup, apr_pool_cleanup_null);
    return made;
}

/* Wait for the right to a connection. With ACME_OK *connection is an idle one, or NULL: one may
 * be made. *waited: it was not to be had at once. */
static acme_error_e take(acme_store_connection_t **connection, int *waited,
                         acme_store_pool_t *pool, apr_time_t deadline, apr_uint32_t generation)
{
    acme_error_e error = ACME_OK;

    *waited = 0;
    *connection = NULL;
    apr_thread_mutex_lock(pool->mutex);
    while (pool->idle_count == 0 && pool->count >= ACME_STORE_POOL_MAX && error == ACME_OK) {
        apr_interval_time_t left = deadline - apr_time_now();

        *waited = 1;
        if (left <= 0 ||
            apr_thread_cond_timedwait(pool->returned, pool->mutex, left) != APR_SUCCESS) {
            error = pool->idle_count > 0 || pool->count < ACME_STORE_POOL_MAX ? ACME_OK
                                                                              : ACME_STORE_BUSY;
        }
    }
    while (error == ACME_OK && pool->idle_count > 0 && !*connection) {
        slot_t *slot = &pool->idle[--pool->idle_count];

        if (slot->generation == generation && acme_store_is_usable(slot->connection)) {
            *connection = slot->connection;
        } else {
            acme_store_close(slot->connection);
            pool->count--;
        }
    }
    if (error == ACME_OK && !*connection) {
        pool->count++;
    }
    apr_thread_mutex_unlock(pool->mutex);
    return error;
}

/* Give the right back, and the connection (NULL: there is none) if it can be used again. */
static void give(acme_store_pool_t *pool, acme_store_connection_t *connection,
                 apr_uint32_t generation)
{
    int keeps = connection && acme_store_is_usable(connection);

    apr_thread_mutex_lock(pool->mutex);
    if (keeps) {
        pool->idle[pool->idle_count].connection = connection;
        pool->idle[pool->idle_count++].generation = generation;
    } else {
        pool->count--;
    }
    apr_thread_cond_signal(pool->returned);
    apr_thread_mutex_unlock(pool->mutex);
    if (!keeps) {
        acme_store_close(connection);
    }
}

/* Silence is none of these: a store that is slow would be asked twice. */
static int has_ended(acme_error_e error)
{
    return error == ACME_STORE_CLOSED || error == ACME_STORE_TLS_FAILED;
}

/* On *connection, and should that have ended since it was last used, or be NULL, on a new one.
 */
static acme_error_e find_on(acme_digest_t *digest, acme_store_connection_t **connection,
                            acme_store_call_t *call, const acme_identifier_t *identifier)
{
    acme_error_e error;

    if (*connection) {
        error = acme_store_find(digest, *connection, call, identifier);
        if (!has_ended(error)) {
            return error;
        }
        acme_store_close(*connection);
        *connection = NULL;
        call->detail[0] = '\0';
    }
    error = acme_store_open(connection, call);
    if (error == ACME_OK) {
        error = acme_store_find(digest, *connection, call, identifier);
    }
    return error;
}

acme_error_e acme_store_pool_find(acme_digest_t *digest, acme_store_pool_t *pool,
                                  acme_store_call_t *call, const acme_identifier_t *identifier,
                                  apr_uint32_t generation)
{
    acme_store_connection_t *connection;
    int waited, saved;
    acme_error_e error = take(&connection, &waited, pool, call->deadline, generation);

    call->resolver = pool->resolver;
    if (error != ACME_OK) {
        return error;
    }
    error = find_on(digest, &connection, call, identifier);
    saved = errno;
    give(pool, connection, generation);
    errno = saved;
    /* The store had only a part of the time, so the end of that says nothing of it. */
    return waited && error == ACME_STORE_TIMEOUT ? ACME_STORE_BUSY : error;
}
