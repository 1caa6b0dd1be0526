/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the ClientHello before mod_ssl chooses the vhost: does it offer acme-tls/1 alone (RFC
 * 8737 section 3), and for which name?
 */
#ifndef MOD_ACME_ALPN_CLIENT_HELLO_H
#define MOD_ACME_ALPN_CLIENT_HELLO_H

#include "mod_acme_alpn_ssl.h"

/* For each TLS connection, before its first handshake. */
void acme_alpn_client_hello_watch(conn_rec *c, SSL *ssl);

#endif
