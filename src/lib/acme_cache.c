/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_cache.h"

#include <stdlib.h>
#include <string.h>

#include <apr_hash.h>
#include <apr_strings.h>
#include <apr_thread_mutex.h>

/* Direct-mapped: two certificates that share a slot replace each other. This sometimes costs a
 * minting and saves a list in order of use. */
typedef struct {
    X509 *certificate;
    apr_time_t until;
    acme_digest_t digest;
    acme_key_type_e type;
    char name[ACME_IDENTIFIER_MAX + 1];
} entry_t;

struct acme_cache_t {
    apr_thread_mutex_t *mutex;
    apr_size_t slots;
    entry_t **slot; /* allocated at its first use */
};

static apr_status_t cache_cleanup(void *data)
{
    acme_cache_t *cache = data;
    apr_size_t i;

    for (i = 0; i < cache->slots; i++) {
        if (cache->slot[i]) {
            X509_free(cache->slot[i]->certificate);
            free(cache->slot[i]);
        }
    }
    return APR_SUCCESS;
}

acme_cache_t *acme_cache_create(apr_pool_t *pool, apr_size_t slots)
{
    acme_cache_t *cache = apr_pcalloc(pool, sizeof(*cache));

    if (apr_thread_mutex_create(&cache->mutex, APR_THREAD_MUTEX_DEFAULT, pool) != APR_SUCCESS) {
        return NULL;
    }
    cache->slots = slots;
    cache->slot = apr_pcalloc(pool, slots * sizeof(*cache->slot));
    apr_pool_cleanup_register(pool, cache, cache_cleanup, apr_pool_cleanup_null);
    return cache;
}

static entry_t **cache_find(acme_cache_t *cache, const acme_identifier_t *identifier,
                            acme_key_type_e type)
{
    apr_ssize_t length = APR_HASH_KEY_STRING;
    unsigned int hash = apr_hashfunc_default(identifier->name, &length);

    return &cache->slot[(hash * ACME_KEY_TYPES + type) % cache->slots];
}

X509 *acme_cache_get(acme_cache_t *cache, const acme_identifier_t *identifier,
                     const acme_digest_t *digest, acme_key_type_e type, apr_time_t now)
{
    entry_t **slot = cache_find(cache, identifier, type), *entry;
    X509 *certificate = NULL;

    apr_thread_mutex_lock(cache->mutex);
    entry = *slot;
    if (entry && entry->type == type && now < entry->until &&
        memcmp(entry->digest.bytes, digest->bytes, sizeof(digest->bytes)) == 0 &&
        strcmp(entry->name, identifier->name) == 0 && X509_up_ref(entry->certificate)) {
        certificate = entry->certificate;
    }
    apr_thread_mutex_unlock(cache->mutex);
    return certificate;
}

void acme_cache_put(acme_cache_t *cache, const acme_identifier_t *identifier,
                    const acme_digest_t *digest, acme_key_type_e type, apr_time_t now,
                    X509 *certificate)
{
    entry_t **slot = cache_find(cache, identifier, type), *entry;
    X509 *dropped = NULL;

    apr_thread_mutex_lock(cache->mutex);
    if (!*slot) {
        *slot = calloc(1, sizeof(**slot));
    }
    entry = *slot;
    if (entry && X509_up_ref(certificate)) {
        dropped = entry->certificate;
        entry->certificate = certificate;
        entry->until = now + ACME_CACHE_LIFETIME;
        entry->digest = *digest;
        entry->type = type;
        apr_cpystrn(entry->name, identifier->name, sizeof(entry->name));
    }
    apr_thread_mutex_unlock(cache->mutex);
    X509_free(dropped);
}
