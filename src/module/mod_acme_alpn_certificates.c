/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_certificates.h"

#include <pthread.h>

#include <http_log.h>
#include <http_main.h>

#include <openssl/err.h>

#include "acme_cache.h"
#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_outcome.h"

APLOG_USE_MODULE(acme_alpn);

/* About 2 KiB each, for the names that are validated at the same time. */
#define CACHE_SLOTS 1024

/* Never freed: a worker may use them until the process ends. */
static EVP_PKEY *keys[ACME_KEY_TYPES], *public_keys[ACME_KEY_TYPES];
static X509 *unsent[ACME_KEY_TYPES];

static acme_cache_t *cache;

static void certificates_generate(acme_key_type_e type)
{
    char text[256];

    keys[type] = acme_key_generate(type);
    public_keys[type] = acme_key_public(keys[type], type);
    if (keys[type]) {
        acme_certificate_mint_placeholder(&unsent[type], type, keys[type], apr_time_now());
    } else {
        ERR_error_string_n(ERR_peek_last_error(), text, sizeof(text));
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, ap_server_conf,
                     "AALPN0006: libcrypto generated no %s key, so challenge certificates use "
                     "the other key types: %s",
                     acme_key_name(type), text);
    }
}

void acme_alpn_certificates_child_init(apr_pool_t *pool, server_rec *server)
{
    cache = acme_cache_create(pool, CACHE_SLOTS);
    if (!cache) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, server,
                     "AALPN0007: no memory for the cache of challenge certificates, so this "
                     "child mints one for each handshake");
    }
}

/* Generated at its first use: RSA takes about 100 ms, which would delay each start, and few
 * clients need it. Each type has a lock, so that P-256 does not wait for RSA. */
EVP_PKEY *acme_alpn_certificates_key(acme_key_type_e type)
{
    static pthread_mutex_t locks[ACME_KEY_TYPES] = {
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER};
    static int is_tried[ACME_KEY_TYPES];

    pthread_mutex_lock(&locks[type]);
    if (!is_tried[type]) {
        is_tried[type] = 1;
        certificates_generate(type);
    }
    pthread_mutex_unlock(&locks[type]);
    return keys[type];
}

X509 *acme_alpn_certificates_unsent(acme_key_type_e type)
{
    X509 *certificate = acme_alpn_certificates_key(type) ? unsent[type] : NULL;

    if (certificate) {
        X509_up_ref(certificate);
    }
    return certificate;
}

static X509 *certificates_mint(const acme_identifier_t *identifier, const acme_digest_t *digest,
                               acme_key_type_e type, apr_time_t now)
{
    EVP_PKEY *key = acme_alpn_certificates_key(type);
    X509 *certificate = NULL;

    if (key && acme_certificate_mint(&certificate, identifier, digest, type, key,
                                     public_keys[type], now) == ACME_OK) {
        acme_record_count(acme_alpn_record_get(), ACME_RECORD_MINTED);
        if (cache) {
            acme_cache_put(cache, identifier, digest, type, now, certificate);
        }
    }
    return certificate;
}

X509 *acme_alpn_certificates_get(const acme_identifier_t *identifier,
                                 const acme_digest_t *digest, acme_key_type_e type,
                                 const char **origin)
{
    apr_time_t now = apr_time_now();
    X509 *certificate = cache ? acme_cache_get(cache, identifier, digest, type, now) : NULL;

    if (certificate) {
        acme_record_count(acme_alpn_record_get(), ACME_RECORD_CACHED);
        *origin = "cached";
        return certificate;
    }
    certificate = certificates_mint(identifier, digest, type, now);
    if (certificate) {
        *origin = "minted";
    }
    return certificate;
}
