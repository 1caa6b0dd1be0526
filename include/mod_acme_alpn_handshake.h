/*
 * The TLS side: notice a ClientHello that offers acme-tls/1 alone, and give such a handshake
 * the challenge certificate (RFC 8737 section 3).
 */
#ifndef MOD_ACME_ALPN_HANDSHAKE_H
#define MOD_ACME_ALPN_HANDSHAKE_H

#include "mod_acme_alpn_ssl.h"

/* A TLS vhost is being set up, in post_config. */
void acme_alpn_handshake_prepare(SSL_CTX *context);

/* A connection is about to begin its first handshake. `widens`: a client that offers acme-tls/1
 * alone may get a group that its vhost, which is not known yet, does not have. */
void acme_alpn_handshake_watch(conn_rec *c, SSL *ssl, int widens);

#endif
