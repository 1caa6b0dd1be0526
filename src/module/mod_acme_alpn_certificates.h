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

/* The key of this type, which stays the module's. It is made at the first call, which takes
 * some 100 ms for RSA. NULL, and reported, where libcrypto refuses to make one. */
EVP_PKEY *acme_alpn_certificates_key(acme_key_type_e type);

/* A challenge certificate with that key, which the caller frees with X509_free, or NULL (see
 * OpenSSL's error queue), when *origin stays as it is; otherwise it is "cached" or "minted". */
X509 *acme_alpn_certificates_get(const acme_identifier_t *identifier,
                                 const acme_digest_t *digest, acme_key_type_e type,
                                 const char **origin);

/* A certificate with that key and without a name, for a handshake that ends before one is sent.
 * The caller frees it with X509_free. NULL if there is none. */
X509 *acme_alpn_certificates_unsent(acme_key_type_e type);

#endif
