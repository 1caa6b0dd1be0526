/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two optional hooks of mod_ssl that the module uses. Debian's apache2-dev lacks
 * mod_ssl_openssl.h, so this file declares them where it is missing. Their signatures are the
 * same in every httpd from 2.4.48 to trunk.
 */
#ifndef MOD_ACME_ALPN_SSL_H
#define MOD_ACME_ALPN_SSL_H

#include <ap_release.h>
#include <httpd.h>

#include <openssl/opensslv.h>

#if !AP_MODULE_MAGIC_AT_LEAST(20120211, 105)
#error "mod_acme_alpn needs Apache httpd 2.4.48 or later"
#endif

#if defined(LIBRESSL_VERSION_NUMBER)
#error "this is LibreSSL; mod_acme_alpn needs OpenSSL 1.1.1 or later, in mod_ssl too"
#elif defined(OPENSSL_IS_AWSLC)
#error "this is AWS-LC; mod_acme_alpn needs OpenSSL 1.1.1 or later, in mod_ssl too"
#elif defined(OPENSSL_IS_BORINGSSL)
#error "this is BoringSSL; mod_acme_alpn needs OpenSSL 1.1.1 or later, in mod_ssl too"
#elif OPENSSL_VERSION_NUMBER < 0x10101000L
#error "this is an older OpenSSL; mod_acme_alpn needs OpenSSL 1.1.1 or later, in mod_ssl too"
#endif

#include <openssl/ssl.h>
#if __has_include(<mod_ssl_openssl.h>)
#include <mod_ssl_openssl.h>
#else
#include <mod_ssl.h>

APR_DECLARE_EXTERNAL_HOOK(ssl, SSL, int, init_server,
                          (server_rec * s, apr_pool_t *p, int is_proxy, SSL_CTX *ctx))
APR_DECLARE_EXTERNAL_HOOK(ssl, SSL, int, pre_handshake, (conn_rec * c, SSL *ssl, int is_proxy))
#endif

#endif
