/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_ssl owns OpenSSL's ClientHello and ALPN callbacks, which cannot be chained. So the module
 * uses three others, which OpenSSL calls in this order:
 *
 * - the SSL's extension debug callback, with each extension of the ClientHello: it marks a
 *   connection that offers acme-tls/1 alone (mod_acme_alpn_client_hello.c);
 * - the SSL_CTX's security callback, once mod_ssl has chosen the vhost: it lifts the vhost's
 *   limits on a marked connection (mod_acme_alpn_limits.c);
 * - the SSL_CTX's certificate callback: it serves the challenge certificate on a marked
 *   connection with a challenge.
 *
 * httpd's ALPN hooks (mod_acme_alpn_alpn.c) accept or refuse acme-tls/1; in TLS 1.3 before the
 * certificate callback, in TLS 1.2 after it.
 *
 * OpenSSL calls the three again after a HelloRetryRequest and in a renegotiation. In the latter
 * they do nothing, or they would cancel the client certificate that a directory demands.
 *
 * SSL_get_app_data returns mod_ssl's conn_rec, as mod_ssl's own hooks expect.
 */
#include "mod_acme_alpn_cert_callback.h"

#include <string.h>

#include <http_log.h>

#include <openssl/err.h>

#include "acme_probe.h"
#include "mod_acme_alpn_certificates.h"
#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_connection.h"
#include "mod_acme_alpn_limits.h"
#include "mod_acme_alpn_lookup.h"
#include "mod_acme_alpn_outcome.h"

APLOG_USE_MODULE(acme_alpn);

/* Results of a certificate callback. */
#define GO_ON          1
#define FAIL_HANDSHAKE 0

/* In TLS 1.3 the scheme names curve and digest (RFC 8446 section 4.2.3). */
static int cert_callback_has_scheme(SSL *ssl, acme_key_type_e type)
{
    unsigned char scheme[2];
    int i;

    for (i = 0; SSL_get_shared_sigalgs(ssl, i, NULL, NULL, NULL, &scheme[1], &scheme[0]) > 0;
         i++) {
        if (memcmp(scheme, acme_key_scheme(type), sizeof(scheme)) == 0) {
            return 1;
        }
    }
    return 0;
}

/* SSL_use_cert_and_key ignores the client's signature algorithms. The signature of the
 * certificate does not matter, since it is self-signed (RFC 8446 section 4.4.2.2).
 * SSL_check_chain costs more, and ignores the curve in TLS 1.3. */
static int cert_callback_client_accepts(SSL *ssl, acme_key_type_e type, X509 *certificate,
                                        EVP_PKEY *key, STACK_OF(X509) * chain)
{
    const int right = CERT_PKEY_EE_PARAM | CERT_PKEY_SIGN;

    if (SSL_version(ssl) == TLS1_3_VERSION && type != ACME_KEY_RSA2048) {
        return cert_callback_has_scheme(ssl, type);
    }
    return (SSL_check_chain(ssl, certificate, key, chain) & right) == right;
}

/* Frees the certificate. Returns ACME_NO_KEY_TYPE where the client or the security level
 * rejects it, ACME_SYSTEM_ERROR where it is NULL. */
static acme_error_e cert_callback_install_certificate(SSL *ssl, acme_key_type_e type,
                                                      X509 *certificate)
{
    EVP_PKEY *key = acme_alpn_certificates_key(type);
    /* Empty, not NULL: OpenSSL would send the vhost's chain. */
    STACK_OF(X509) *chain = sk_X509_new_null();
    acme_error_e error = certificate ? ACME_NO_KEY_TYPE : ACME_SYSTEM_ERROR;

    if (certificate && chain &&
        cert_callback_client_accepts(ssl, type, certificate, key, chain) &&
        SSL_use_cert_and_key(ssl, certificate, key, chain, 1) == 1) {
        error = ACME_OK;
    }
    sk_X509_free(chain);
    X509_free(certificate);
    return error;
}

/* A TLS 1.2 cipher names the type of key. SSL_check_chain ignores the client's ciphers. */
static int cert_callback_has_cipher(SSL *ssl, acme_key_type_e type)
{
    const int signer = type == ACME_KEY_RSA2048 ? NID_auth_rsa : NID_auth_ecdsa;
    STACK_OF(SSL_CIPHER) *ours = SSL_get_ciphers(ssl);
    const STACK_OF(SSL_CIPHER) *offered = SSL_get_client_ciphers(ssl);
    int i, count = offered ? sk_SSL_CIPHER_num(offered) : 0;

    /* A cipher with an EC key needs a common group. */
    if (signer == NID_auth_ecdsa && SSL_get_shared_group(ssl, 0) == 0) {
        return 0;
    }
    for (i = 0; i < count; i++) {
        const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(offered, i);

        if (SSL_CIPHER_get_auth_nid(cipher) == signer &&
            sk_SSL_CIPHER_find(ours, cipher) >= 0) {
            return 1;
        }
    }
    return 0;
}

static int cert_callback_may_be_accepted(SSL *ssl, const acme_alpn_connection_t *connection,
                                         acme_key_type_e type)
{
    return !(connection->excluded & 1U << type) &&
           (SSL_version(ssl) == TLS1_3_VERSION || cert_callback_has_cipher(ssl, type));
}

/* Returns ACME_NO_KEY_TYPE where the client accepts none, ACME_SYSTEM_ERROR where libcrypto
 * made none that the client would accept. */
static acme_error_e cert_callback_install(SSL *ssl, const acme_alpn_connection_t *connection)
{
    const conn_rec *c = SSL_get_app_data(ssl);
    acme_alpn_challenge_t *challenge = connection->challenge;
    acme_error_e result = ACME_NO_KEY_TYPE;
    int i;

    for (i = 0; i < ACME_KEY_TYPES; i++) {
        const acme_key_type_e type = (acme_key_type_e)i;
        const char *origin = "-";
        acme_error_e error = ACME_NO_KEY_TYPE;

        if (cert_callback_may_be_accepted(ssl, connection, type)) {
            X509 *certificate = acme_alpn_certificates_get(&challenge->identifier,
                                                           &challenge->digest, type, &origin);

            error = cert_callback_install_certificate(ssl, type, certificate);
        }
        ap_log_cserror(APLOG_MARK, APLOG_DEBUG, 0, c, challenge->server,
                       "AALPN0204: tried: key=%s result=%s certificate=%s", acme_key_name(type),
                       acme_error_slug(error), origin);
        if (error == ACME_OK) {
            challenge->key_type = type;
            return ACME_OK;
        }
        if (error == ACME_SYSTEM_ERROR) {
            result = error;
        }
    }
    return result;
}

/* TLS 1.2 chooses a cipher before the ALPN callback refuses. A client that accepts no key of
 * the vhost would get alert 40 instead of 120. So this sets a key that it accepts; the
 * certificate is never sent. */
static void cert_callback_install_for_refusal(SSL *ssl,
                                              const acme_alpn_connection_t *connection)
{
    int i, installed = 0;

    for (i = 0; i < ACME_KEY_TYPES && !installed; i++) {
        const acme_key_type_e type = (acme_key_type_e)i;

        installed = cert_callback_may_be_accepted(ssl, connection, type) &&
                    cert_callback_install_certificate(
                        ssl, type, acme_alpn_certificates_unsent(type)) == ACME_OK;
    }
}

static int cert_callback_never_resumable(SSL *ssl, int is_forward_secure)
{
    (void)ssl;
    (void)is_forward_secure;
    return 1;
}

/* Replaces mod_ssl's, which guards against renegotiation: this connection forbids it. */
static void cert_callback_on_progress(const SSL *ssl, int where, int result)
{
    const conn_rec *c = SSL_get_app_data(ssl);

    (void)result;
    if (where & SSL_CB_HANDSHAKE_DONE) {
        /* A resumed handshake sends no certificate. A second ClientHello may resume where the
         * first did not. */
        acme_alpn_connection_get(c)->complete = SSL_session_reused(ssl) ? 0 : 1;
    }
}

/* The handshake serves the validation alone: no client certificate, no resumption. */
static void cert_callback_restrict_connection(SSL *ssl)
{
    SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
    SSL_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
    SSL_set_num_tickets(ssl, 0);
    SSL_set_not_resumable_session_callback(ssl, cert_callback_never_resumable);
    SSL_set_info_callback(ssl, cert_callback_on_progress);
}

static int cert_callback_answer(SSL *ssl, conn_rec *c, acme_alpn_connection_t *connection)
{
    acme_alpn_challenge_t *challenge = acme_alpn_lookup(c, connection);
    acme_error_e error;

    if (SSL_version(ssl) < TLS1_3_VERSION) {
        SSL_set_cipher_list(ssl, ACME_ALPN_TLS_1_2_CIPHERS);
    }
    if (challenge->outcome != ACME_OK) {
        cert_callback_install_for_refusal(ssl, connection);
        return GO_ON;
    }
    SSL_certs_clear(ssl);
    error = cert_callback_install(ssl, connection);
    if (error != ACME_OK) {
        if (error == ACME_SYSTEM_ERROR) {
            challenge->detail = ERR_reason_error_string(ERR_peek_last_error());
        }
        connection->refused = 1;
        acme_alpn_outcome(c, connection, ACME_RECORD_REFUSED, error);
        return FAIL_HANDSHAKE;
    }
    connection->installed = 1;
    cert_callback_restrict_connection(ssl);
    return GO_ON;
}

static int cert_callback_is_negotiated(const SSL *ssl)
{
    const unsigned char *selected;
    unsigned int length;

    SSL_get0_alpn_selected(ssl, &selected, &length);
    return length == sizeof(ACME_ALPN_PROTOCOL) - 1 &&
           memcmp(selected, ACME_ALPN_PROTOCOL, length) == 0;
}

/* TLS 1.3 has negotiated the protocol; TLS 1.2 will. The offer is not enough: a second
 * ClientHello without ALPN reaches neither client_hello_on_extension nor the ALPN callback. */
static int cert_callback_is_for_challenge(const SSL *ssl,
                                          const acme_alpn_connection_t *connection)
{
    return connection->offered &&
           (SSL_version(ssl) < TLS1_3_VERSION || cert_callback_is_negotiated(ssl));
}

static int cert_callback_run(SSL *ssl, void *argument)
{
    conn_rec *c = SSL_get_app_data(ssl);
    acme_alpn_connection_t *connection = c ? acme_alpn_connection_get(c) : NULL;
    int result = GO_ON;

    (void)argument;
    if (!connection || connection->over || SSL_num_renegotiations(ssl) != 0) {
        return GO_ON;
    }
    if (connection->installed) {
        /* The second ClientHello after a HelloRetryRequest must offer what the first did (RFC
         * 8446 section 4.1.2). */
        return cert_callback_is_for_challenge(ssl, connection) ? GO_ON : FAIL_HANDSHAKE;
    }
    if (!acme_alpn_connection_answers(connection)) {
        /* AcmeAlpnEngine Off: ignore the offer. */
        connection->offered = 0;
    }
    if (cert_callback_is_for_challenge(ssl, connection)) {
        /* An error that is left in the queue would make mod_ssl fail a later call. */
        ERR_set_mark();
        result = cert_callback_answer(ssl, c, connection);
        ERR_pop_to_mark();
    }
    return result;
}

void acme_alpn_cert_callback_set(SSL_CTX *context)
{
    SSL_CTX_set_cert_cb(context, cert_callback_run, NULL);
    /* client_hello_on_extension gets registered extensions only. This one is never sent. */
    SSL_CTX_add_custom_ext(context, ACME_PROBE_RELAYED, SSL_EXT_CLIENT_HELLO, NULL, NULL, NULL,
                           NULL, NULL);
}
