/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the module knows of one TLS connection, from its first ClientHello to its end.
 * Allocated from the connection's pool; used by one thread at a time, as the connection is.
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
    ACME_ALPN_SOURCE_NONE, /* none was asked: no name was valid */
    ACME_ALPN_SOURCE_SPOOL,
    ACME_ALPN_SOURCE_MODULE, /* another one of httpd, such as mod_md */
    ACME_ALPN_SOURCE_STORE,
    ACME_ALPN_SOURCE_UPSTREAM,
    ACME_ALPN_SOURCES
} acme_alpn_source_e;

/* For logs: lower case, static, never NULL. */
const char *acme_alpn_source_name(acme_alpn_source_e source);

/* The answer to "is there a challenge for this connection?", found once. */
typedef struct {
    server_rec *server; /* the vhost whose configuration counted */
    const char *tls;    /* the negotiated version, as OpenSSL calls it */
    const char *sni;    /* as the client sent it; NULL if it sent none */
    acme_alpn_source_e source;
    const char *file;     /* the entry that was looked for; NULL where no name was valid */
    const char *upstream; /* the one that was asked last, or NULL */
    const char
        *detail; /* what its answer was like, in OpenSSL's or the system's words, or NULL */
    int relayed; /* another server's relay asks */
    acme_error_e outcome; /* ACME_OK: identifier and digest are set */
    apr_status_t status;  /* errno, with ACME_SYSTEM_ERROR */
    acme_identifier_t identifier;
    acme_digest_t digest;
    acme_key_type_e key_type; /* of the certificate, once one is installed */
} acme_alpn_challenge_t;

typedef struct {
    SSL *ssl; /* mod_ssl's; only to be used while the first handshake goes on */
    acme_alpn_challenge_t *challenge; /* NULL until looked up */
    const char *sni;                  /* of the ClientHello, for the record alone; or NULL */
    apr_time_t begun;                 /* when the ClientHello's offer was seen, or 0 */
    int alert;                        /* that ended the handshake (RFC 8446 section 6), or 0 */
    unsigned int excluded;            /* types of key, 1 << type, that it cannot take */
    unsigned int alert_sent : 1;      /* by us; otherwise by the client */
    unsigned int has_hello : 1;       /* a ClientHello with extensions has come */
    unsigned int offered : 1;         /* the ClientHello offers acme-tls/1 and nothing else */
    unsigned int concerned : 1;       /* the client has offered it, and the vhost answers */
    unsigned int relayed : 1;         /* the ClientHello is another server's relay's */
    unsigned int asking : 1;          /* the other modules are being asked */
    unsigned int asked : 1;           /* they have been */
    unsigned int switched : 1;        /* we have taken the connection over */
    unsigned int installed : 1;       /* the SSL has our challenge certificate */
    unsigned int refused : 1;         /* by this module, and the log says why */
    unsigned int complete : 1;        /* the handshake that got our certificate has succeeded */
    unsigned int unserved : 1;        /* the TLS is that of a vhost with the placeholder */
    unsigned int over : 1;            /* the first handshake is over, well or badly */
} acme_alpn_connection_t;

acme_alpn_connection_t *acme_alpn_connection_create(conn_rec *c, SSL *ssl);

/* The connection does not begin with TLS. Should it go over to it in a request (RFC 2817), that
 * handshake is not for challenges, since application data would follow. */
void acme_alpn_connection_skip(conn_rec *c);

/* NULL on a connection that is not ours to look at. */
acme_alpn_connection_t *acme_alpn_connection_get(const conn_rec *c);

/* The vhost whose TLS settings the connection has. Where the SNI names a vhost without
 * SSLEngine, mod_ssl keeps to those of the listener's first. */
server_rec *acme_alpn_connection_server(const acme_alpn_connection_t *connection);

/* Whether the vhost whose TLS settings the connection has answers acme-tls/1. */
int acme_alpn_connection_answers(const acme_alpn_connection_t *connection);

#endif
