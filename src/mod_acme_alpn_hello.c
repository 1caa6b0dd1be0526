#include "mod_acme_alpn_hello.h"

#include <string.h>

#include <apr_strings.h>

#include <openssl/err.h>

#include "acme_probe.h"
#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_connection.h"
#include "mod_acme_alpn_names.h"
#include "mod_acme_alpn_outcome.h"

/* The first bytes of a ServerNameList (RFC 6066 section 3): the length of the list, the type
 * and the length of its only name. */
#define SNI_HEADER    5
#define SNI_HOST_NAME 0

#define TLS_1_3_CIPHERS                                                                        \
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

/* The TLS vhosts where some of them have AcmeAlpnEngine Off, else NULL. */
static const apr_array_header_t *mixed_vhosts;

void acme_alpn_hello_init(const apr_array_header_t *tls_vhosts)
{
    int i;

    mixed_vhosts = NULL;
    for (i = 0; i < tls_vhosts->nelts; i++) {
        if (!acme_alpn_server_answers(APR_ARRAY_IDX(tls_vhosts, i, server_rec *))) {
            mixed_vhosts = tls_vhosts;
        }
    }
}

/* RFC 8737 section 3: the list MUST contain the single value "acme-tls/1". */
static int offers_acme_alone(const unsigned char *extension, int length)
{
    static const unsigned char offer[] = "\x00\x0b\x0a" ACME_ALPN_PROTOCOL;

    return length == (int)sizeof(offer) - 1 && memcmp(extension, offer, sizeof(offer) - 1) == 0;
}

/* OpenSSL has not looked at it yet, and refuses what is not of this form. */
static const char *server_name(apr_pool_t *pool, const unsigned char *extension, int length)
{
    return length > SNI_HEADER && extension[2] == SNI_HOST_NAME
               ? apr_pstrmemdup(pool, (const char *)extension + SNI_HEADER,
                                (apr_size_t)(length - SNI_HEADER))
               : NULL;
}

static int has_tls(const server_rec *server)
{
    int i;

    for (i = 0; i < mixed_vhosts->nelts; i++) {
        if (APR_ARRAY_IDX(mixed_vhosts, i, const server_rec *) == server) {
            return 1;
        }
    }
    return 0;
}

/* Whether the vhost that mod_ssl is going to choose answers challenges. */
static int will_answer(conn_rec *c, const char *sni)
{
    const server_rec *server;

    if (!mixed_vhosts) {
        return 1;
    }
    server = sni ? acme_alpn_names_vhost(c, sni) : NULL;
    return acme_alpn_server_answers(server && has_tls(server) ? server : c->base_server);
}

/* Whoever validates must find a group and a cipher suite, whatever the vhost is restricted to:
 * there is nothing to protect in this handshake. So the cheapest comes first, and the client's
 * order does not count. (The ciphers of TLS 1.2 go with the certificate.) */
static void widen(SSL *ssl)
{
    static int groups[] = {NID_X25519, NID_X9_62_prime256v1, NID_secp384r1, NID_secp521r1};

    ERR_set_mark();
    SSL_set1_groups(ssl, groups, sizeof(groups) / sizeof(groups[0]));
    SSL_set_ciphersuites(ssl, TLS_1_3_CIPHERS);
    SSL_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
    ERR_pop_to_mark();
}

/* Keeps the alert that ends the handshake, whoever sends it. */
static void on_message(int is_sent, int version, int type, const void *message, size_t length,
                       SSL *ssl, void *argument)
{
    acme_alpn_connection_t *connection = argument;
    const unsigned char *alert = message;

    (void)version;
    (void)ssl;
    if (type == SSL3_RT_ALERT && length == 2 && alert[0] == SSL3_AL_FATAL &&
        !connection->over) {
        connection->alert = alert[1];
        connection->alert_sent = is_sent ? 1 : 0;
    }
}

static void note_offer(SSL *ssl, conn_rec *c, acme_alpn_connection_t *connection)
{
    acme_alpn_outcome_begin(c, connection);
    SSL_set_msg_callback(ssl, on_message);
    SSL_set_msg_callback_arg(ssl, connection);
}

/* In a SignatureSchemeList (RFC 8446 section 4.2.3): two bytes of length, and two for each. */
static int is_listed(const unsigned char *scheme, const unsigned char *data, int length)
{
    int i;

    for (i = 2; i + 2 <= length; i += 2) {
        if (memcmp(data + i, scheme, 2) == 0) {
            return 1;
        }
    }
    return 0;
}

/* OpenSSL ends the handshake if what we sign certificates with is not there, though nobody
 * validates a self-signed one by its signature; with TLS 1.2 SSL_check_chain does not tell. */
static unsigned int excluded_types(const unsigned char *data, int length)
{
    unsigned int type, excluded = 0;

    for (type = 0; type < ACME_KEY_TYPES; type++) {
        if (!is_listed(acme_key_scheme((acme_key_type_e)type), data, length)) {
            excluded |= 1U << type;
        }
    }
    return excluded;
}

static void look_at(SSL *ssl, acme_alpn_connection_t *connection, int type,
                    const unsigned char *data, int length)
{
    conn_rec *c = SSL_get_app_data(ssl);

    if (type == TLSEXT_TYPE_server_name) {
        connection->sni = server_name(c->pool, data, length);
    } else {
        connection->offered = offers_acme_alone(data, length) ? 1 : 0;
        if (connection->offered) {
            note_offer(ssl, c, connection);
        }
    }
    if (connection->offered) {
        connection->concerned = will_answer(c, connection->sni) ? 1 : 0;
        if (connection->concerned && connection->sni) {
            widen(ssl);
        }
    }
}

/* For each extension of each ClientHello, in the order in which the client has them. */
static void on_extension(SSL *ssl, int from_server, int type, const unsigned char *data,
                         int length, void *argument)
{
    acme_alpn_connection_t *connection = argument;

    (void)from_server;
    switch (type) {
    case ACME_PROBE_RELAYED:
    case TLSEXT_TYPE_signature_algorithms_cert:
    case TLSEXT_TYPE_server_name:
    case TLSEXT_TYPE_application_layer_protocol_negotiation:
        break;
    default:
        return;
    }
    if (!acme_alpn_connection_is_first_handshake(connection)) {
        return;
    }
    if (type == ACME_PROBE_RELAYED) {
        connection->relayed = 1;
    } else if (type == TLSEXT_TYPE_signature_algorithms_cert) {
        connection->excluded = excluded_types(data, length);
    } else {
        look_at(ssl, connection, type, data, length);
    }
}

void acme_alpn_hello_watch(conn_rec *c, SSL *ssl)
{
    acme_alpn_connection_t *connection;

    if (acme_alpn_connection_get(c)) {
        return;
    }
    connection = acme_alpn_connection_create(c, ssl);
    SSL_set_tlsext_debug_callback(ssl, on_extension);
    SSL_set_tlsext_debug_arg(ssl, connection);
}
