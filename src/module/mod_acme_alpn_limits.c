/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL chooses groups and TLS 1.3 cipher suites right after mod_ssl has chosen the vhost,
 * without a callback in between. But it first asks the security callback of the vhost's SSL_CTX
 * whether the TLS version is secure enough. There the module lifts the limits of a challenge
 * handshake, and takes its callback out of the connection.
 *
 * Earlier the vhost is not known, and SSL_set_ciphersuites would copy the TLS 1.2 ciphers of
 * the listener's first vhost into the SSL, where they stay.
 */
#include "mod_acme_alpn_limits.h"

#include <openssl/err.h>

#include "mod_acme_alpn_connection.h"

typedef int (*callback_t)(const SSL *ssl, const SSL_CTX *context, int operation, int bits,
                          int nid, void *other, void *extra);

/* The context's previous callback, which limits_on_security still calls. */
typedef struct {
    callback_t callback;
    void *extra;
} security_t;

/* From OpenSSL 3.5 on, where "?" marks a group that the library may lack. */
#define GROUPS                                                                                 \
    "?X25519:?P-256:?P-384:?P-521:?X448:?X25519MLKEM768:?SecP256r1MLKEM768:"                   \
    "?SecP384r1MLKEM1024:?MLKEM768:?MLKEM1024:?MLKEM512:?ffdhe2048:?ffdhe3072:"                \
    "?ffdhe4096:?ffdhe6144:?ffdhe8192:?brainpoolP256r1:?brainpoolP384r1:"                      \
    "?brainpoolP512r1:?brainpoolP256r1tls13:?brainpoolP384r1tls13:?brainpoolP512r1tls13"

/* The highest that allows RSA-2048. */
#define SECURITY_LEVEL 2

/* RFC 8446 section B.4, without the short-tag suite that OpenSSL disables by default. */
#define TLS_1_3_CIPHERS                                                                        \
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:"              \
    "TLS_AES_128_CCM_SHA256"

static void limits_set_groups(SSL *ssl)
{
    static int groups[] = {
        NID_X25519,
        NID_X9_62_prime256v1,
        NID_secp384r1,
        NID_secp521r1,
        NID_X448,
        NID_brainpoolP256r1,
        NID_brainpoolP384r1,
        NID_brainpoolP512r1,
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
        NID_ffdhe2048,
        NID_ffdhe3072,
        NID_ffdhe4096,
        NID_ffdhe6144,
        NID_ffdhe8192,
#endif
    };

    if (OpenSSL_version_num() < 0x30500000L || !SSL_set1_groups_list(ssl, GROUPS)) {
        SSL_set1_groups(ssl, groups, sizeof(groups) / sizeof(groups[0]));
    }
}

/* All that OpenSSL can sign with: without a common one it ends the handshake before the ALPN
 * callback can refuse it with a reason. */
static void limits_set_signature_algorithms(SSL *ssl)
{
    static const int pairs[] = {
        NID_sha256, EVP_PKEY_EC,      NID_sha256, EVP_PKEY_RSA_PSS, NID_sha256, EVP_PKEY_RSA,
        NID_sha384, EVP_PKEY_EC,      NID_sha384, EVP_PKEY_RSA_PSS, NID_sha384, EVP_PKEY_RSA,
        NID_sha512, EVP_PKEY_EC,      NID_sha512, EVP_PKEY_RSA_PSS, NID_sha512, EVP_PKEY_RSA,
        NID_undef,  EVP_PKEY_ED25519, NID_undef,  EVP_PKEY_ED448,   NID_sha224, EVP_PKEY_EC,
        NID_sha224, EVP_PKEY_RSA,     NID_sha1,   EVP_PKEY_EC,      NID_sha1,   EVP_PKEY_RSA};

    SSL_set1_sigalgs(ssl, pairs, sizeof(pairs) / sizeof(pairs[0]));
}

/* The cheapest first, whatever the client prefers. The certificate callback sets the ciphers of
 * TLS 1.2. */
static void limits_lift(SSL *ssl)
{
    ERR_set_mark();
    limits_set_groups(ssl);
    limits_set_signature_algorithms(ssl);
    SSL_set_ciphersuites(ssl, TLS_1_3_CIPHERS);
    SSL_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
    if (SSL_get_security_level(ssl) > SECURITY_LEVEL) {
        SSL_set_security_level(ssl, SECURITY_LEVEL);
    }
    ERR_pop_to_mark();
}

static int limits_on_security(const SSL *ssl, const SSL_CTX *context, int operation, int bits,
                              int nid, void *other, void *extra)
{
    const security_t *before = extra;
    conn_rec *c = ssl && operation == SSL_SECOP_VERSION ? SSL_get_app_data(ssl) : NULL;
    acme_alpn_connection_t *connection = c ? acme_alpn_connection_get(c) : NULL;

    if (connection && connection->has_hello &&
        SSL_get_security_callback(ssl) == limits_on_security) {
        SSL_set_security_callback(connection->ssl, before->callback);
        SSL_set0_security_ex_data(connection->ssl, before->extra);
        if (connection->offered && !connection->over &&
            acme_alpn_connection_answers(connection)) {
            connection->concerned = 1;
            limits_lift(connection->ssl);
        }
    }
    return before->callback(ssl, context, operation, bits, nid, other, before->extra);
}

void acme_alpn_limits_prepare(apr_pool_t *pool, SSL_CTX *context)
{
    security_t *before = apr_palloc(pool, sizeof(*before));

    before->callback = SSL_CTX_get_security_callback(context);
    before->extra = SSL_CTX_get0_security_ex_data(context);
    SSL_CTX_set_security_callback(context, limits_on_security);
    SSL_CTX_set0_security_ex_data(context, before);
}
