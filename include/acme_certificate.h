/* SPDX-License-Identifier: Apache-2.0 */
/* Challenge certificates (RFC 8737 section 3, RFC 8738 section 3), and placeholders. */
#ifndef ACME_CERTIFICATE_H
#define ACME_CERTIFICATE_H

#include <apr_time.h>

#include <openssl/x509.h>

#include "acme_digest.h"
#include "acme_error.h"
#include "acme_identifier.h"
#include "acme_key.h"

/* How long before and after the moment of minting a certificate is valid. */
#define ACME_CERTIFICATE_BACKDATE apr_time_from_sec(60 * 60)
#define ACME_CERTIFICATE_LIFETIME apr_time_from_sec(7 * 24 * 60 * 60)

/*
 * Mint the challenge certificate of an identifier: X.509 v3, self-signed, with exactly two
 * extensions: a subjectAltName with the identifier alone, and the critical acmeIdentifier
 * (1.3.6.1.5.5.7.1.31) whose value is the digest as an ASN.1 OCTET STRING.
 *
 * `key` is of type `type`, and `public_key` is acme_key_public's of it, or the key itself; both
 * stay the caller's. `now` sets the validity.
 * Returns ACME_OK with *certificate, which the caller frees with X509_free, or
 * ACME_SYSTEM_ERROR (see OpenSSL's error queue) with *certificate untouched.
 */
acme_error_e acme_certificate_mint(X509 **certificate, const acme_identifier_t *identifier,
                                   const acme_digest_t *digest, acme_key_type_e type,
                                   EVP_PKEY *key, EVP_PKEY *public_key, apr_time_t now);

/* How long a placeholder is valid. Each start of httpd writes a new one. */
#define ACME_CERTIFICATE_PLACEHOLDER_LIFETIME apr_time_from_sec(365 * 24 * 60 * 60)

/* Mint a self-signed certificate for no host, not a CA's. Otherwise as acme_certificate_mint.
 */
acme_error_e acme_certificate_mint_placeholder(X509 **certificate, acme_key_type_e type,
                                               EVP_PKEY *key, apr_time_t now);

/*
 * Check a certificate as a CA does: signed with its own key, no extension twice, a
 * subjectAltName that is byte for byte the identifier alone, and a critical acmeIdentifier of
 * 32 bytes (RFC 8737 section 3).
 *
 * Returns ACME_OK with these bytes in *digest, or the first fault, one of ACME_CERTIFICATE_*.
 */
acme_error_e acme_certificate_inspect(acme_digest_t *digest, X509 *certificate,
                                      const acme_identifier_t *identifier);

#endif
