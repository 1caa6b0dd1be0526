/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of challenge certificates. The CA does not check them (RFC 8737 section 3), so a
 * process generates one of each type and uses it for all names. */
#ifndef ACME_KEY_H
#define ACME_KEY_H

#include <openssl/evp.h>

/* In the order in which they are tried: the cheapest first. */
typedef enum { ACME_KEY_P256, ACME_KEY_RSA2048, ACME_KEY_P384, ACME_KEY_TYPES } acme_key_type_e;

/* The name for logs: "EC-P256", "RSA-2048", "EC-P384". Static, never NULL. */
const char *acme_key_name(acme_key_type_e type);

/* The hash that a key of this type signs its certificate with. Static. */
const EVP_MD *acme_key_digest(acme_key_type_e type);

/* The two bytes of that signature's SignatureScheme (RFC 8446 section 4.2.3). An EC key signs
 * TLS 1.3 handshakes by the same scheme. Static. */
const unsigned char *acme_key_scheme(acme_key_type_e type);

/* A new key, which the caller frees with EVP_PKEY_free, or NULL (see OpenSSL's error queue).
 * RSA needs 100 to 400 ms. */
EVP_PKEY *acme_key_generate(acme_key_type_e type);

/*
 * A copy of an EC key's public half that X509_set_pubkey encodes fast. For a provider's key
 * OpenSSL 3 fetches an encoder and a decoder each time, which is most of the cost of minting.
 *
 * The caller frees it with EVP_PKEY_free. For RSA, or if the copy fails, it is a new reference
 * to the key itself; NULL for NULL.
 */
EVP_PKEY *acme_key_public(EVP_PKEY *key, acme_key_type_e type);

#endif
