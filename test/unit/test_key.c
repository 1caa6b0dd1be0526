#include "unit.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "acme_key.h"

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#define EVP_PKEY_eq EVP_PKEY_cmp
#endif

typedef struct {
    const char *name;
    acme_key_type_e type;
    int hash;
    const char *start; /* of the SubjectPublicKeyInfo, up to the key's own bytes */
    size_t start_length;
} key_row_t;

#define EC_KEY_OID     "\x06\x07\x2a\x86\x48\xce\x3d\x02\x01"
#define P256_OID       "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"
#define P384_OID       "\x06\x05\x2b\x81\x04\x00\x22"
#define RSA_OID        "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00"
#define RSA_BIT_STRING "\x03\x82\x01\x0f\x00\x30\x82\x01\x0a\x02\x82\x01\x01\x00"

/* RFC 8737 section 3 leaves the key to the server; these are what clients accept. The bytes are
 * RFC 5480 section 2 (a named curve, an uncompressed point) and RFC 3279 section 2.3.1. */
static const key_row_t rows[ACME_KEY_TYPES] = {
    {"EC-P256", ACME_KEY_P256, NID_sha256,
     BYTES("\x30\x59\x30\x13" EC_KEY_OID P256_OID "\x03\x42\x00\x04")},
    {"RSA-2048", ACME_KEY_RSA2048, NID_sha256,
     BYTES("\x30\x82\x01\x22\x30\x0d" RSA_OID RSA_BIT_STRING)},
    {"EC-P384", ACME_KEY_P384, NID_sha384,
     BYTES("\x30\x76\x30\x10" EC_KEY_OID P384_OID "\x03\x62\x00\x04")},
};

static void assert_encoded(EVP_PKEY *key, const char *start, size_t length)
{
    unsigned char *encoded = NULL;

    assert_true(i2d_PUBKEY(key, &encoded) > (int)length);
    assert_memory_equal(encoded, start, length);
    OPENSSL_free(encoded);
}

/* The public key is the same to whoever encodes or verifies with it. */
static void test_key(void **state)
{
    const key_row_t *row = *state;
    EVP_PKEY *key = acme_key_generate(row->type), *other = acme_key_generate(row->type);
    EVP_PKEY *public_key;

    assert_string_equal(acme_key_name(row->type), row->name);
    assert_int_equal(EVP_MD_type(acme_key_digest(row->type)), row->hash);
    assert_encoded(key, row->start, row->start_length);
    assert_int_equal(EVP_PKEY_eq(key, other), 0);

    ERR_clear_error();
    public_key = acme_key_public(key, row->type);
    assert_int_equal(ERR_peek_error(), 0);
    assert_int_equal(EVP_PKEY_eq(public_key, key), 1);
    assert_int_equal(public_key == key, row->type == ACME_KEY_RSA2048);
    EVP_PKEY_free(key);
    assert_encoded(public_key, row->start, row->start_length);
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(other);
    assert_null(acme_key_public(NULL, row->type));
}

int main(void)
{
    UNIT_ADD_ROWS(test_key, rows);
    return cmocka_run_group_tests_name("key", unit_tests, NULL, NULL);
}
