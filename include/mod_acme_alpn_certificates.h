/*
 * The keys of the server, and the challenge certificates of a process.
 */
#ifndef MOD_ACME_ALPN_CERTIFICATES_H
#define MOD_ACME_ALPN_CERTIFICATES_H

#include <httpd.h>

#include "acme_certificate.h"

/* In the parent, at each start and reload: make the keys, or take those that the server has had
 * since it started. A key type that libcrypto refuses is reported and left out. */
void acme_alpn_certificates_init(apr_pool_t *config_pool, server_rec *server);

/* In a child, before its first connection. */
void acme_alpn_certificates_child_init(apr_pool_t *pool, server_rec *server);

/* The key of this type, NULL where there is none. It stays the module's. */
EVP_PKEY *acme_alpn_certificates_key(acme_key_type_e type);

/* A challenge certificate with that key, which the caller frees with X509_free, or NULL (see
 * OpenSSL's error queue), when *origin stays as it is; otherwise it is "cached" or "minted". */
X509 *acme_alpn_certificates_get(const acme_identifier_t *identifier,
                                 const acme_digest_t *digest, acme_key_type_e type,
                                 const char **origin);

#endif
