/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Challenge handshakes ignore the vhost's limits on groups, cipher suites and signature
 * algorithms: they carry nothing secret.
 */
#ifndef MOD_ACME_ALPN_LIMITS_H
#define MOD_ACME_ALPN_LIMITS_H

#include <apr_pools.h>

#include "mod_acme_alpn_ssl.h"

/* The cipher suites of TLS 1.2, for SSL_set_cipher_list: the cheapest first, then all that
 * authenticate. */
#define ACME_ALPN_TLS_1_2_CIPHERS                                                              \
    "ECDHE+AESGCM:ECDHE+CHACHA20:ALL:!aNULL:!eNULL:!PSK:!SRP:!aDSS"

/* For the context of a TLS vhost, in post_config. The pool must live as long as the context. */
void acme_alpn_limits_prepare(apr_pool_t *pool, SSL_CTX *context);

#endif
