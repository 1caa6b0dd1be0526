/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The module's state of one TLS connection, from its first ClientHello to its end. It is in the
 * connection's pool, and one thread uses it at a time.
 */
#ifndef MOD_ACME_ALPN_CONNECTION_H
#define MOD_ACME_ALPN_CONNECTION_H

#include <httpd.h>

#include <openssl/ssl.h>

#include "acme_digest.h"
#include "acme_error.h"
#include "acme_identifier.h"
#include "acme_key.h"

#define ACME_ALPN_PROTOCOL "acme-tls/1"

/* Which source answered. */
typedef enum {
    ACME_ALPN_SOURCE_NONE, /* none was asked: there was no valid name */
    ACME_ALPN_SOURCE_SPOOL,
    ACME_ALPN_SOURCE_MODULE, /* another module of httpd, such as mod_md */
    ACME_ALPN_SOURCE_STORE,
    ACME_ALPN_SOURCE_UPSTREAM,
    ACME_ALPN_SOURCES
} acme_alpn_source_e;

/* For logs: lower case, static, never NULL. */
const char *acme_alpn_source_name(acme_alpn_source_e source);

/* The result of the look-up, once for each connection. */
typedef struct {
    server_rec *server; /* the vhost whose configuration applies */
    const char *tls;    /* the negotiated version, as OpenSSL calls it */
    const char *sni;    /* as the client sent it; NULL if it sent none */
    acme_alpn_source_e source;
    const char *file;     /* path or key of the entry; NULL if none was looked up */
    const char *upstream; /* the one that was asked last, or NULL */
    const char *detail;   /* OpenSSL's or the system's message on a failure, or NULL */
    int relayed;          /* another server's relay asks */
    acme_error_e outcome; /* ACME_OK: identifier and digest are set */
    apr_status_t status;  /* errno, with ACME_SYSTEM_ERROR */
    acme_identifier_t identifier;
    acme_digest_t digest;
    acme_key_type_e key_type; /* of the certificate, once one is installed */
} acme_alpn_challenge_t;

typedef struct {
    SSL *ssl;                         /* mod_ssl's; valid until the first handshake ends */
    acme_alpn_challenge_t *challenge; /* NULL until looked up */
    const char *sni;                  /* from the ClientHello, for the record alone; or NULL */
    apr_time_t begun;                 /* when the ClientHello's offer was seen, or 0 */
    int alert;                        /* that ended the handshake (RFC 8446 section 6), or 0 */
    unsigned int excluded;            /* types of key (1 << type) that the client rejects */
    unsigned int alert_sent : 1;      /* by this server; else by the client */
    unsigned int has_hello : 1;       /* a ClientHello with extensions has come */
    unsigned int offered : 1;         /* the ClientHello offers acme-tls/1 and nothing else */
    unsigned int concerned : 1;       /* offered, and the vhost answers challenges */
    unsigned int relayed : 1;         /* the ClientHello comes from another server's relay */
    unsigned int asking : 1;          /* the other modules are being asked */
    unsigned int asked : 1;           /* they have been */
    unsigned int switched : 1;        /* this module has negotiated acme-tls/1 */
    unsigned int installed : 1;       /* the SSL has the challenge certificate */
    unsigned int refused : 1;         /* by this module, which has logged the reason */
    unsigned int complete : 1;        /* the handshake with this certificate has succeeded */
    unsigned int unserved : 1;        /* the vhost has the placeholder certificate */
    unsigned int over : 1;            /* the first handshake has ended */
} acme_alpn_connection_t;

acme_alpn_connection_t *acme_alpn_connection_create(conn_rec *c, SSL *ssl);

/* For a connection that does not begin with TLS. An upgrade to TLS in a request (RFC 2817)
 * answers no challenge, since application data follows. */
void acme_alpn_connection_skip(conn_rec *c);

/* NULL on a connection that the module does not handle. */
acme_alpn_connection_t *acme_alpn_connection_get(const conn_rec *c);

/* The vhost whose TLS settings the connection has: the listener's first where the vhost of the
 * SNI has no SSLEngine. */
server_rec *acme_alpn_connection_server(const acme_alpn_connection_t *connection);

/* Whether that vhost answers acme-tls/1. */
int acme_alpn_connection_answers(const acme_alpn_connection_t *connection);

#endif
