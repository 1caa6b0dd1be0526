#include "mod_acme_alpn_certificates.h"

#include <apr_strings.h>

#include <http_log.h>

#include <openssl/err.h>

#include "acme_cache.h"
#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_record.h"

APLOG_USE_MODULE(acme_alpn);

/* Some 2 KiB each, for the names that are validated at the same time. */
#define CACHE_SLOTS 1024

/* What outlives a reload. DER and not EVP_PKEY, since a reload may also replace the module,
 * mod_ssl or OpenSSL under the server. */
#define SAVED_KEYS "mod_acme_alpn:keys:1"

typedef struct {
    struct {
        unsigned char *der;
        long length;
    } key[ACME_KEY_TYPES];
} saved_keys_t;

static EVP_PKEY *keys[ACME_KEY_TYPES], *public_keys[ACME_KEY_TYPES];
static acme_cache_t *cache;

static apr_status_t free_keys(void *data)
{
    int type;

    (void)data;
    for (type = 0; type < ACME_KEY_TYPES; type++) {
        EVP_PKEY_free(public_keys[type]);
        EVP_PKEY_free(keys[type]);
        keys[type] = public_keys[type] = NULL;
    }
    return APR_SUCCESS;
}

static void report(server_rec *server, acme_key_type_e type)
{
    char text[256];

    ERR_error_string_n(ERR_get_error(), text, sizeof(text));
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, server,
                 "AALPN0006: no key of type %s for challenge certificates: %s",
                 acme_key_name(type), text);
    ERR_clear_error();
}

static void generate(saved_keys_t *saved, acme_key_type_e type, apr_pool_t *pool,
                     server_rec *server)
{
    unsigned char *der = NULL;
    EVP_PKEY *key = acme_key_generate(type);
    int length = key ? i2d_PrivateKey(key, &der) : -1;

    if (length > 0) {
        saved->key[type].der = apr_pmemdup(pool, der, (apr_size_t)length);
        saved->key[type].length = length;
        OPENSSL_clear_free(der, (size_t)length);
    } else {
        report(server, type);
    }
    EVP_PKEY_free(key);
}

static const saved_keys_t *saved_keys(server_rec *server)
{
    apr_pool_t *pool = server->process->pool;
    void *data = NULL;
    saved_keys_t *saved;
    int type;

    apr_pool_userdata_get(&data, SAVED_KEYS, pool);
    if (data) {
        return data;
    }
    saved = apr_pcalloc(pool, sizeof(*saved));
    for (type = 0; type < ACME_KEY_TYPES; type++) {
        generate(saved, (acme_key_type_e)type, pool, server);
    }
    /* Not _setn, which keeps the pointer to the name: the module may be elsewhere after a
     * reload. */
    apr_pool_userdata_set(saved, SAVED_KEYS, apr_pool_cleanup_null, pool);
    return saved;
}

void acme_alpn_certificates_init(apr_pool_t *config_pool, server_rec *server)
{
    const saved_keys_t *saved = saved_keys(server);
    int type;

    apr_pool_cleanup_register(config_pool, NULL, free_keys, apr_pool_cleanup_null);
    for (type = 0; type < ACME_KEY_TYPES; type++) {
        const unsigned char *der = saved->key[type].der;

        keys[type] = der ? d2i_AutoPrivateKey(NULL, &der, saved->key[type].length) : NULL;
        public_keys[type] = acme_key_public(keys[type], (acme_key_type_e)type);
        if (saved->key[type].der && !keys[type]) {
            report(server, (acme_key_type_e)type);
        }
    }
}

void acme_alpn_certificates_child_init(apr_pool_t *pool, server_rec *server)
{
    cache = acme_cache_create(pool, CACHE_SLOTS);
    if (!cache) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, server,
                     "AALPN0007: no memory for the cache of challenge certificates; "
                     "each handshake will mint its own");
    }
}

EVP_PKEY *acme_alpn_certificates_key(acme_key_type_e type)
{
    return keys[type];
}

static X509 *mint(const acme_identifier_t *identifier, const acme_digest_t *digest,
                  acme_key_type_e type, apr_time_t now)
{
    X509 *certificate = NULL;

    if (acme_certificate_mint(&certificate, identifier, digest, type, keys[type],
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
    certificate = mint(identifier, digest, type, now);
    if (certificate) {
        *origin = "minted";
    }
    return certificate;
}
