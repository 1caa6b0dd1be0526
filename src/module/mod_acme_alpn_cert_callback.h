/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TLS side: give a handshake whose ClientHello offers acme-tls/1 alone the challenge
 * certificate (RFC 8737 section 3).
 */
#ifndef MOD_ACME_ALPN_CERT_CALLBACK_H
#define MOD_ACME_ALPN_CERT_CALLBACK_H

#include "mod_acme_alpn_ssl.h"

/* A TLS vhost is being set up, in post_config. */
void acme_alpn_cert_callback_set(SSL_CTX *context);
#endif
