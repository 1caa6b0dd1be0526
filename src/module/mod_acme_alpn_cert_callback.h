/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificate callback: serves the challenge certificate in a challenge handshake (RFC 8737
 * section 3).
 */
#ifndef MOD_ACME_ALPN_CERT_CALLBACK_H
#define MOD_ACME_ALPN_CERT_CALLBACK_H

#include "mod_acme_alpn_ssl.h"

/* For the context of a TLS vhost, in post_config. */
void acme_alpn_cert_callback_set(SSL_CTX *context);
#endif
