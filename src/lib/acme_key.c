/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_key.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/rsa.h>

/* The schemes are ecdsa_secp256r1_sha256, rsa_pkcs1_sha256 and ecdsa_secp384r1_sha384. */
static const struct {
    const char *name;
    unsigned char scheme[2];
    int algorithm;
    int curve;
    int bits;
} keys[ACME_KEY_TYPES] = {
    [ACME_KEY_P256] = {"EC-P256", {0x04, 0x03}, EVP_PKEY_EC, NID_X9_62_prime256v1, 0},
    [ACME_KEY_RSA2048] = {"RSA-2048", {0x04, 0x01}, EVP_PKEY_RSA, 0, 2048},
    [ACME_KEY_P384] = {"EC-P384", {0x05, 0x03}, EVP_PKEY_EC, NID_secp384r1, 0},
};

const char *acme_key_name(acme_key_type_e type)
{
    return keys[type].name;
}

/* OpenSSL's security level 4 demands 192 bits of the signature, so P-384 needs SHA-384. */
const EVP_MD *acme_key_digest(acme_key_type_e type)
{
    return type == ACME_KEY_P384 ? EVP_sha384() : EVP_sha256();
}

const unsigned char *acme_key_scheme(acme_key_type_e type)
{
    return keys[type].scheme;
}

static int key_set_parameters(EVP_PKEY_CTX *context, acme_key_type_e type)
{
    if (keys[type].algorithm == EVP_PKEY_RSA) {
        return EVP_PKEY_CTX_set_rsa_keygen_bits(context, keys[type].bits) > 0;
    }
    return EVP_PKEY_CTX_set_ec_paramgen_curve_nid(context, keys[type].curve) > 0 &&
           EVP_PKEY_CTX_set_ec_param_enc(context, OPENSSL_EC_NAMED_CURVE) > 0;
}

EVP_PKEY *acme_key_generate(acme_key_type_e type)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(keys[type].algorithm, NULL);

    if (!context || EVP_PKEY_keygen_init(context) <= 0 || !key_set_parameters(context, type) ||
        EVP_PKEY_keygen(context, &key) <= 0) {
        key = NULL;
    }
    EVP_PKEY_CTX_free(context);
    return key;
}

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#define EVP_PKEY_get1_encoded_public_key EVP_PKEY_get1_tls_encodedpoint
#define EVP_PKEY_set1_encoded_public_key EVP_PKEY_set1_tls_encodedpoint
#define EVP_PKEY_eq                      EVP_PKEY_cmp
#endif

static int key_copy_public(EVP_PKEY *copy, EVP_PKEY *key, acme_key_type_e type)
{
    unsigned char *point = NULL;
    size_t length = EVP_PKEY_get1_encoded_public_key(key, &point);
    int done = length > 0 && EVP_PKEY_set_type(copy, keys[type].algorithm) &&
               EVP_PKEY_copy_parameters(copy, key) == 1 &&
               EVP_PKEY_set1_encoded_public_key(copy, point, length) == 1 &&
               EVP_PKEY_eq(copy, key) == 1;

    OPENSSL_free(point);
    return done;
}

EVP_PKEY *acme_key_public(EVP_PKEY *key, acme_key_type_e type)
{
    EVP_PKEY *copy = NULL;

    ERR_set_mark();
    if (key && keys[type].algorithm == EVP_PKEY_EC) {
        copy = EVP_PKEY_new();
    }
    if (copy && !key_copy_public(copy, key, type)) {
        EVP_PKEY_free(copy);
        copy = NULL;
    }
    ERR_pop_to_mark();
    if (copy) {
        return copy;
    }
    return key && EVP_PKEY_up_ref(key) ? key : NULL;
}
