/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys and the challenge certificates of a process.
 */
#ifndef MOD_ACME_ALPN_CERTIFICATES_H
#define MOD_ACME_ALPN_CERTIFICATES_H

#include <httpd.h>

#include "acme_certificate.h"

/* In a child, before its first connection. */
void acme_alpn_certificates_child_init(apr_pool_t *pool, server_rec *server);

/* The key of this type, which the caller must not free. The first call generates it, in about
 * 100 ms for RSA. Returns NULL, after a log line, where libcrypto cannot. */
EVP_PKEY *acme_alpn_certificates_key(acme_key_type_e type);

/* A challenge certificate with that key, which the caller frees with X509_free; *origin becomes
 * "cached" or "minted". Returns NULL, with *origin unchanged and an OpenSSL error queued. */
X509 *acme_alpn_certificates_get(const acme_identifier_t *identifier,
                                 const acme_digest_t *digest, acme_key_type_e type,
                                 const char **origin);

/* A certificate with that key and without a name, for a handshake that ends before it is sent.
 * The caller frees it with X509_free. NULL if there is no key. */
X509 *acme_alpn_certificates_unsent(acme_key_type_e type);

#endif
