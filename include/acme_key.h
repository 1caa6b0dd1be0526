/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of challenge certificates. The protocol depends on none of them (RFC 8737 section
 * 3), so a process generates one of each type and uses it for all names.
 */
#ifndef ACME_KEY_H
#define ACME_KEY_H

#include <openssl/evp.h>

/* In the order in which they are tried: the cheapest first. */
typedef enum { ACME_KEY_P256, ACME_KEY_RSA2048, ACME_KEY_P384, ACME_KEY_TYPES } acme_key_type_e;

/* The name for logs: "EC-P256", "RSA-2048", "EC-P384". Static, never NULL. */
const char *acme_key_name(acme_key_type_e type);

/* The hash that a key of this type signs its certificate with. Static. */
const EVP_MD *acme_key_digest(acme_key_type_e type);

/* The two bytes by which TLS names that signature (RFC 8446 section 4.2.3). For an EC key,
 * TLS 1.3 names the signature of a handshake the same. Static. */
const unsigned char *acme_key_scheme(acme_key_type_e type);

/* A new key, which the caller frees with EVP_PKEY_free, or NULL (see OpenSSL's error queue).
 * RSA takes some 100 ms. */
EVP_PKEY *acme_key_generate(acme_key_type_e type);

/*
 * The public half of an EC key as X509_set_pubkey encodes it quickest. For a provider's key
 * OpenSSL 3 looks for an encoder and a decoder each time, which is most of the cost of minting;
 * a key that was built from its point has an encoding of its own.
 *
 * The caller frees it with EVP_PKEY_free. For RSA, and where the copy fails, it is the key
 * itself, with a reference of its own; NULL for NULL.
 */
EVP_PKEY *acme_key_public(EVP_PKEY *key, acme_key_type_e type);

#endif
