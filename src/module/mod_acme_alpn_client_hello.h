/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the ClientHello says, seen extension by extension before anything is chosen: whether it
 * offers acme-tls/1 alone (RFC 8737 section 3), and for which name.
 */
#ifndef MOD_ACME_ALPN_CLIENT_HELLO_H
#define MOD_ACME_ALPN_CLIENT_HELLO_H

#include "mod_acme_alpn_ssl.h"

/* A connection is about to begin its first handshake. */
void acme_alpn_client_hello_watch(conn_rec *c, SSL *ssl);

#endif
