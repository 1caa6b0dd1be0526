#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "acme_certificate.h"

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#define EVP_PKEY_eq EVP_PKEY_cmp
#endif

/* 2026-01-15 12:00:00 UTC */
#define NOW apr_time_from_sec(1768478400)

#define LABEL_60 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz01234567"
#define LABEL_63 LABEL_60 "890"
#define NAME_130 LABEL_63 "." LABEL_63 ".cc"
#define NAME_253 LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_60 "8"

/* What ends the to-be-signed part of every challenge certificate, byte by byte:
 *   [3] { SEQUENCE {
 *     SEQUENCE { OID 2.5.29.17, OCTET STRING { SEQUENCE { [2] name or [7] address } } }
 *     SEQUENCE { OID 1.3.6.1.5.5.7.1.31, BOOLEAN TRUE, OCTET STRING { OCTET STRING { 32 } } }
 *   } }
 * RFC 5280 section 4.2.1.6, RFC 8737 section 3, RFC 8738 section 3. */
#define OID_SAN "\x06\x03\x55\x1d\x11"
#define BYTES_32                                                                               \
    "0123456789abcdef\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa\xfb\xfc\xfd\xfe\xff"
#define ACME                                                                                   \
    "\x30\x31\x06\x08\x2b\x06\x01\x05\x05\x07\x01\x1f\x01\x01\xff\x04\x22\x04\x20" BYTES_32
#define IPV4_HEAD    "\xa3\x46\x30\x44\x30\x0f" OID_SAN "\x04\x08\x30\x06\x87\x04"
#define EXAMPLE_HEAD "\xa3\x4d\x30\x4b\x30\x16" OID_SAN "\x04\x0f\x30\x0d\x82\x0b"

typedef struct {
    const char *text;
    const char *tail; /* from [3] on */
    size_t length;
} name_row_t;

static const name_row_t names[] = {
    {"example.com", BYTES(EXAMPLE_HEAD "example.com" ACME)},
    {"EXAMPLE.com", BYTES(EXAMPLE_HEAD "example.com" ACME)},
    {"a", BYTES("\xa3\x43\x30\x41\x30\x0c" OID_SAN "\x04\x05\x30\x03\x82\x01"
                "a" ACME)},
    {NAME_130, BYTES("\xa3\x81\xc9\x30\x81\xc6\x30\x81\x90" OID_SAN
                     "\x04\x81\x88\x30\x81\x85\x82\x81\x82" NAME_130 ACME)},
    {NAME_253, BYTES("\xa3\x82\x01\x48\x30\x82\x01\x44\x30\x82\x01\x0d" OID_SAN
                     "\x04\x82\x01\x04\x30\x82\x01\x00\x82\x81\xfd" NAME_253 ACME)},
    {"192.0.2.1", BYTES(IPV4_HEAD "\xc0\x00\x02\x01" ACME)},
    {"0.0.2.1", BYTES(IPV4_HEAD "\x00\x00\x02\x01" ACME)},
    {"2001:db8::567:89ab", BYTES("\xa3\x52\x30\x50\x30\x1b" OID_SAN "\x04\x14\x30\x12\x87\x10"
                                 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\x05\x67\x89\xab" ACME)},
};

/* one of each type, for the whole run: RSA takes its time */
static EVP_PKEY *keys[ACME_KEY_TYPES], *public_keys[ACME_KEY_TYPES];

static acme_identifier_t identifier_of(const char *text)
{
    acme_identifier_t identifier;

    assert_reason(acme_identifier_from_text(&identifier, text), ACME_OK);
    return identifier;
}

/* With the digest BYTES_32. The caller frees it with X509_free. */
static X509 *mint(const char *text, acme_key_type_e type, apr_time_t now)
{
    acme_identifier_t identifier = identifier_of(text);
    acme_digest_t digest;
    X509 *certificate = NULL;

    memcpy(digest.bytes, BYTES_32, sizeof(digest.bytes));
    assert_reason(acme_certificate_mint(&certificate, &identifier, &digest, type, keys[type],
                                        public_keys[type], now),
                  ACME_OK);
    return certificate;
}

/* The certificate as it comes over the wire; takes the place of the one that was made. */
static X509 *received(X509 *certificate)
{
    unsigned char *encoded = NULL;
    const unsigned char *at;
    int length = i2d_X509(certificate, &encoded);
    X509 *read;

    assert_true(length > 0);
    at = encoded;
    read = d2i_X509(NULL, &at, length);
    assert_non_null(read);
    assert_ptr_equal(at, encoded + length);
    OPENSSL_free(encoded);
    X509_free(certificate);
    return read;
}

/* Extensions come last, so equal tails of the signed part leave no room for a third one. And
 * what is minted is what a CA wants to see, for this name. */
static void test_name(void **state)
{
    const name_row_t *row = *state;
    acme_identifier_t identifier = identifier_of(row->text);
    int type;

    for (type = 0; type < ACME_KEY_TYPES; type++) {
        X509 *certificate = received(mint(row->text, (acme_key_type_e)type, NOW));
        acme_digest_t digest;
        unsigned char *part = NULL;
        size_t length = (size_t)i2d_re_X509_tbs(certificate, &part);

        assert_true(length > row->length);
        assert_memory_equal(part + length - row->length, row->tail, row->length);
        assert_int_equal(X509_get_ext_count(certificate), 2);
        OPENSSL_free(part);

        assert_reason(acme_certificate_inspect(&digest, certificate, &identifier), ACME_OK);
        assert_memory_equal(digest.bytes, BYTES_32, sizeof(digest.bytes));
        identifier.type =
            identifier.type == ACME_IDENTIFIER_IP ? ACME_IDENTIFIER_DNS : ACME_IDENTIFIER_IP;
        assert_reason(acme_certificate_inspect(&digest, certificate, &identifier),
                      ACME_CERTIFICATE_WRONG_NAME);
        identifier = identifier_of(row->text);
        X509_free(certificate);
    }
}

static void assert_time(const ASN1_TIME *got, int type, const char *expected)
{
    assert_int_equal(ASN1_STRING_type(got), type);
    assert_string_equal((const char *)ASN1_STRING_get0_data(got), expected);
}

/* An hour ago to a week ahead. RFC 5280 section 4.1.2.5: UTCTime through 2049,
 * GeneralizedTime from 2050 on. */
static void test_validity(void **state)
{
    X509 *one = mint("a.test", ACME_KEY_P256, NOW + 999999);
    X509 *last = mint("a.test", ACME_KEY_P256, apr_time_from_sec(INT32_MAX));
    X509 *other;

    (void)state;
    assert_time(X509_get0_notBefore(one), V_ASN1_UTCTIME, "260115110000Z");
    assert_time(X509_get0_notAfter(one), V_ASN1_UTCTIME, "260122120000Z");
    assert_time(X509_get0_notAfter(last), V_ASN1_UTCTIME, "380126031407Z");
    if (sizeof(time_t) > 4) {
        other = mint("a.test", ACME_KEY_P256, apr_time_from_sec(2524435200));
        assert_time(X509_get0_notBefore(other), V_ASN1_UTCTIME, "491229230000Z");
        assert_time(X509_get0_notAfter(other), V_ASN1_GENERALIZEDTIME, "20500106000000Z");
        X509_free(other);
    }
    X509_free(one);
    X509_free(last);
}

typedef struct {
    const char *name;
    acme_key_type_e type;
    int hash, signature;
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
static const key_row_t key_rows[ACME_KEY_TYPES] = {
    {"EC-P256", ACME_KEY_P256, NID_sha256, NID_ecdsa_with_SHA256,
     BYTES("\x30\x59\x30\x13" EC_KEY_OID P256_OID "\x03\x42\x00\x04")},
    {"RSA-2048", ACME_KEY_RSA2048, NID_sha256, NID_sha256WithRSAEncryption,
     BYTES("\x30\x82\x01\x22\x30\x0d" RSA_OID RSA_BIT_STRING)},
    {"EC-P384", ACME_KEY_P384, NID_sha384, NID_ecdsa_with_SHA384,
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
    X509 *certificate = received(mint("a.test", row->type, NOW));
    EVP_PKEY *public_key;

    assert_int_equal(X509_verify(certificate, X509_get0_pubkey(certificate)), 1);
    assert_int_equal(X509_verify(certificate, keys[row->type]), 1);
    assert_int_equal(X509_get_signature_nid(certificate), row->signature);
    X509_free(certificate);

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

/* 16 random bytes of which the first is 0x40 to 0x7f, so positive and in its shortest form
 * (RFC 5280 section 4.1.2.2, X.690 section 8.3); the version is X.509 v3's. */
static void test_version_and_serial(void **state)
{
    unsigned char last[16] = {0};
    int i;

    (void)state;
    for (i = 0; i < 20; i++) {
        X509 *certificate = mint("a.test", ACME_KEY_P256, NOW);
        const ASN1_INTEGER *serial = X509_get0_serialNumber(certificate);
        const unsigned char *bytes = ASN1_STRING_get0_data(serial);

        assert_int_equal(X509_get_version(certificate), 2);
        assert_int_equal(ASN1_STRING_type(serial), V_ASN1_INTEGER);
        assert_int_equal(ASN1_STRING_length(serial), sizeof(last));
        assert_uint_in_range(bytes[0], 0x40, 0x7f);
        assert_memory_not_equal(bytes + 1, last + 1, sizeof(last) - 1);
        memcpy(last, bytes, sizeof(last));
        X509_free(certificate);
    }
}

/* Boulder wants subject and issuer to be the same; RFC 5280 appendix A, ub-common-name: 64. */
static void test_subject_is_issuer_and_constant(void **state)
{
    X509 *one = mint("example.com", ACME_KEY_P256, NOW);
    X509 *other = mint(NAME_253, ACME_KEY_RSA2048, NOW);
    const X509_NAME *subject = X509_get_subject_name(one);

    (void)state;
    assert_int_equal(X509_NAME_cmp(subject, X509_get_issuer_name(one)), 0);
    assert_int_equal(X509_NAME_cmp(subject, X509_get_subject_name(other)), 0);
    assert_int_equal(X509_NAME_cmp(subject, X509_get_issuer_name(other)), 0);
    assert_int_equal(X509_NAME_entry_count(subject), 1);
    X509_free(one);
    X509_free(other);
}

/* A key without its private half cannot sign. */
static void test_failure_leaves_the_certificate_untouched(void **state)
{
    acme_identifier_t identifier = identifier_of("a.test");
    acme_digest_t digest = {{0}, ""};
    X509 *untouched = X509_new(), *certificate = untouched;

    (void)state;
    assert_reason(acme_certificate_mint(&certificate, &identifier, &digest, ACME_KEY_P256,
                                        public_keys[ACME_KEY_P256], public_keys[ACME_KEY_P256],
                                        NOW),
                  ACME_SYSTEM_ERROR);
    assert_ptr_equal(certificate, untouched);
    X509_free(untouched);
}

/* What else a CA refuses is in the corpus of the fuzz target, which signs all of it rightly. */
static void test_not_self_signed(void **state)
{
    /* X509_NAME_cmp takes all but the first for the same name, Boulder does not. */
    static const struct {
        int type;
        const char *issuer; /* NULL: the right one, and the key is another's */
    } rows[] = {
        {MBSTRING_ASC, "another"},
        {V_ASN1_UTF8STRING, "acme challenge"},
        {V_ASN1_UTF8STRING, "ACME  challenge"},
        {V_ASN1_PRINTABLESTRING, "ACME challenge"},
        {0, NULL},
    };
    EVP_PKEY *stranger = acme_key_generate(ACME_KEY_P256);
    acme_identifier_t identifier = identifier_of("a.test");
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(rows); i++) {
        X509 *certificate = mint("a.test", ACME_KEY_P256, NOW);
        const unsigned char *issuer = (const unsigned char *)rows[i].issuer;
        X509_NAME *name = X509_NAME_new();
        acme_digest_t digest;

        if (issuer) {
            assert_true(
                X509_NAME_add_entry_by_txt(name, "CN", rows[i].type, issuer, -1, -1, 0) &&
                X509_set_issuer_name(certificate, name));
        }
        X509_sign(certificate, issuer ? keys[ACME_KEY_P256] : stranger, EVP_sha256());
        certificate = received(certificate);
        assert_reason(acme_certificate_inspect(&digest, certificate, &identifier),
                      ACME_CERTIFICATE_NOT_SELF_SIGNED);
        X509_NAME_free(name);
        X509_free(certificate);
    }
    EVP_PKEY_free(stranger);
}

int main(void)
{
    int type;

    for (type = 0; type < ACME_KEY_TYPES; type++) {
        keys[type] = acme_key_generate((acme_key_type_e)type);
        public_keys[type] = acme_key_public(keys[type], (acme_key_type_e)type);
    }
    UNIT_ADD_ROWS(test_name, names);
    UNIT_ADD(test_validity);
    UNIT_ADD_ROWS(test_key, key_rows);
    UNIT_ADD(test_version_and_serial);
    UNIT_ADD(test_subject_is_issuer_and_constant);
    UNIT_ADD(test_failure_leaves_the_certificate_untouched);
    UNIT_ADD(test_not_self_signed);
    return cmocka_run_group_tests_name("certificate", unit_tests, NULL, NULL);
}
