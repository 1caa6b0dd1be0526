/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_client_hello.h"

#include <string.h>

#include <apr_strings.h>

#include "acme_probe.h"
#include "mod_acme_alpn_connection.h"
#include "mod_acme_alpn_outcome.h"

/* The first bytes of a ServerNameList (RFC 6066 section 3): the length of the list, the type
 * and the length of its only name. */
#define SNI_HEADER    5
#define SNI_HOST_NAME 0

/* RFC 8737 section 3: the list MUST contain the single value "acme-tls/1". */
static int client_hello_offers_acme_alone(const unsigned char *extension, int length)
{
    static const unsigned char offer[] = "\x00\x0b\x0a" ACME_ALPN_PROTOCOL;

    return length == (int)sizeof(offer) - 1 && memcmp(extension, offer, sizeof(offer) - 1) == 0;
}

/* OpenSSL has not parsed the extension yet, and refuses any other form later. */
static const char *client_hello_server_name(const conn_rec *c, const unsigned char *extension,
                                            int length)
{
    return length > SNI_HEADER && extension[2] == SNI_HOST_NAME
               ? apr_pstrmemdup(c->pool, (const char *)extension + SNI_HEADER,
                                (apr_size_t)(length - SNI_HEADER))
               : NULL;
}

/* Keeps the alert that ends the handshake, sent by httpd or by the client. */
static void client_hello_on_message(int is_sent, int version, int type, const void *message,
                                    size_t length, SSL *ssl, void *argument)
{
    acme_alpn_connection_t *connection = argument;
    const unsigned char *alert = message;

    (void)version;
    (void)ssl;
    if (type == SSL3_RT_ALERT && length == 2 && alert[0] == SSL3_AL_FATAL &&
        !connection->over) {
        connection->alert = alert[1];
        connection->alert_sent = is_sent ? 1 : 0;
        connection->concerned = acme_alpn_connection_answers(connection) ? 1 : 0;
    }
}

/* The types of key whose certificate signature is not in a SignatureSchemeList: two bytes of
 * length, two for each scheme (RFC 8446 section 4.2.3). OpenSSL ends the handshake if
 * signature_algorithms_cert lacks it, and in TLS 1.2 SSL_check_chain does not check that. */
static unsigned int client_hello_excluded_types(const unsigned char *data, int length)
{
    unsigned int type, excluded = (1U << ACME_KEY_TYPES) - 1;
    int i;

    for (i = 2; i + 2 <= length; i += 2) {
        for (type = 0; type < ACME_KEY_TYPES; type++) {
            if (memcmp(data + i, acme_key_scheme((acme_key_type_e)type), 2) == 0) {
                excluded &= ~(1U << type);
            }
        }
    }
    return excluded;
}

/* OpenSSL calls this for each extension of a ClientHello, in the client's order. */
static void client_hello_on_extension(SSL *ssl, int from_server, int type,
                                      const unsigned char *data, int length, void *argument)
{
    acme_alpn_connection_t *connection = argument;

    (void)from_server;
    if (connection->over) {
        return; /* a renegotiation */
    }
    connection->has_hello = 1;
    switch (type) {
    case ACME_PROBE_RELAYED:
        connection->relayed = 1;
        break;
    case TLSEXT_TYPE_signature_algorithms_cert:
        connection->excluded = client_hello_excluded_types(data, length);
        break;
    case TLSEXT_TYPE_server_name:
        connection->sni = client_hello_server_name(SSL_get_app_data(ssl), data, length);
        break;
    case TLSEXT_TYPE_application_layer_protocol_negotiation:
        connection->offered = client_hello_offers_acme_alone(data, length) ? 1 : 0;
        if (connection->offered) {
            acme_alpn_outcome_begin(SSL_get_app_data(ssl), connection);
            SSL_set_msg_callback(ssl, client_hello_on_message);
            SSL_set_msg_callback_arg(ssl, connection);
        }
        break;
    default:
        break;
    }
}

void acme_alpn_client_hello_watch(conn_rec *c, SSL *ssl)
{
    acme_alpn_connection_t *connection;

    if (acme_alpn_connection_get(c)) {
        return;
    }
    connection = acme_alpn_connection_create(c, ssl);
    SSL_set_tlsext_debug_callback(ssl, client_hello_on_extension);
    SSL_set_tlsext_debug_arg(ssl, connection);
}
