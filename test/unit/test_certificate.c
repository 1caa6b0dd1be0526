#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/objects.h>
#include <openssl/x509.h>

#include "acme_certificate.h"

/* 2026-01-15 12:00:00 UTC */
#define NOW apr_time_from_sec(1768478400)

#define LABEL_60 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz01234567"
#define LABEL_63 LABEL_60 "890"
#define NAME_130 LABEL_63 "." LABEL_63 ".cc"
#define NAME_253 LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_60 "8"

#define SNI_IPV6 "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"

/* What ends the to-be-signed part of every challenge certificate, byte by byte:
 *   [3] { SEQUENCE {
 *     SEQUENCE { OID 2.5.29.17, OCTET STRING { SEQUENCE { [2] name or [7] address } } }
 *     SEQUENCE { OID 1.3.6.1.5.5.7.1.31, BOOLEAN TRUE, OCTET STRING { OCTET STRING { 32 } } }
 *   } }
 * RFC 5280 section 4.2.1.6, RFC 8737 section 3, RFC 8738 section 3. */
#define OID_SAN   "\x06\x03\x55\x1d\x11"
#define ACME_HEAD "\x30\x31\x06\x08\x2b\x06\x01\x05\x05\x07\x01\x1f\x01\x01\xff\x04\x22\x04\x20"

typedef struct {
    const char *name;
    const char *sni;
    const char *head; /* from [3] up to the name's own bytes */
    apr_size_t head_length;
    const char *value; /* the name's own bytes */
    apr_size_t value_length;
} name_row_t;

static const name_row_t names[] = {
    {"DNS name", "example.com",
     BYTES("\xa3\x4d\x30\x4b\x30\x16" OID_SAN "\x04\x0f\x30\x0d\x82\x0b"),
     BYTES("example.com")},
    {"DNS name given in capitals", "EXAMPLE.com",
     BYTES("\xa3\x4d\x30\x4b\x30\x16" OID_SAN "\x04\x0f\x30\x0d\x82\x0b"),
     BYTES("example.com")},
    {"DNS name of one byte", "a",
     BYTES("\xa3\x43\x30\x41\x30\x0c" OID_SAN "\x04\x05\x30\x03\x82\x01"), BYTES("a")},
    {"DNS name of 130 bytes", NAME_130,
     BYTES("\xa3\x81\xc9\x30\x81\xc6\x30\x81\x90" OID_SAN
           "\x04\x81\x88\x30\x81\x85\x82\x81\x82"),
     BYTES(NAME_130)},
    {"DNS name of 253 bytes", NAME_253,
     BYTES("\xa3\x82\x01\x48\x30\x82\x01\x44\x30\x82\x01\x0d" OID_SAN
           "\x04\x82\x01\x04\x30\x82\x01\x00\x82\x81\xfd"),
     BYTES(NAME_253)},
    {"IPv4 address", "1.2.0.192.in-addr.arpa",
     BYTES("\xa3\x46\x30\x44\x30\x0f" OID_SAN "\x04\x08\x30\x06\x87\x04"),
     BYTES("\xc0\x00\x02\x01")},
    {"IPv4 address with a zero first", "1.2.0.0.in-addr.arpa",
     BYTES("\xa3\x46\x30\x44\x30\x0f" OID_SAN "\x04\x08\x30\x06\x87\x04"),
     BYTES("\x00\x00\x02\x01")},
    {"IPv6 address", SNI_IPV6,
     BYTES("\xa3\x52\x30\x50\x30\x1b" OID_SAN "\x04\x14\x30\x12\x87\x10"),
     BYTES("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\x05\x67\x89\xab")},
};

/* RFC 5280 section 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050 on. */
typedef struct {
    const char *name;
    apr_time_t now;
    const char *from;
    const char *until;
} validity_row_t;

static const validity_row_t validities[] = {
    {"valid from an hour ago for a week", NOW, "260115110000Z", "260122120000Z"},
    {"valid across the end of 2049", apr_time_from_sec(2524435200), "491229230000Z",
     "20500106000000Z"},
    {"a part of a second is dropped", NOW + 999999, "260115110000Z", "260122120000Z"},
};

typedef struct {
    const char *name;
    acme_key_type_e type;
    int signature;
} key_row_t;

static const key_row_t key_types[] = {
    {"signed with P-256 and SHA-256", ACME_KEY_P256, NID_ecdsa_with_SHA256},
    {"signed with RSA-2048 and SHA-256", ACME_KEY_RSA2048, NID_sha256WithRSAEncryption},
    {"signed with P-384 and SHA-384", ACME_KEY_P384, NID_ecdsa_with_SHA384},
};

/* one of each type, for the whole run: RSA takes its time */
static EVP_PKEY *keys[ACME_KEY_TYPES], *public_keys[ACME_KEY_TYPES];

static acme_digest_t digest_of(unsigned char first)
{
    acme_digest_t digest;
    size_t i;

    for (i = 0; i < sizeof(digest.bytes); i++) {
        digest.bytes[i] = (unsigned char)(first + i);
    }
    return digest;
}

/* The caller frees it with X509_free. */
static X509 *mint(const char *sni, const acme_digest_t *digest, acme_key_type_e type,
                  apr_time_t now)
{
    acme_identifier_t identifier;
    X509 *certificate = NULL;

    assert_reason(acme_identifier_from_sni(&identifier, sni, strlen(sni)), ACME_OK);
    assert_reason(acme_certificate_mint(&certificate, &identifier, digest, type, keys[type],
                                        public_keys[type], now),
                  ACME_OK);
    assert_non_null(certificate);
    return certificate;
}

static X509 *mint_example(acme_key_type_e type)
{
    acme_digest_t digest = digest_of(1);

    return mint("example.com", &digest, type, NOW);
}

/* The part of a certificate that is signed, as it would go over the wire; allocated. */
static unsigned char *to_be_signed(X509 *certificate, size_t *length)
{
    unsigned char *whole = NULL, *part = NULL;
    const unsigned char *at;
    int whole_length = i2d_X509(certificate, &whole), part_length;
    X509 *read;

    assert_true(whole_length > 0);
    at = whole;
    read = d2i_X509(NULL, &at, whole_length);
    assert_non_null(read);
    assert_ptr_equal(at, whole + whole_length);
    part_length = i2d_re_X509_tbs(read, &part);
    assert_true(part_length > 0);
    X509_free(read);
    OPENSSL_free(whole);
    *length = (size_t)part_length;
    return part;
}

/* Extensions come last, so equal tails of the signed part leave no room for a third one. */
static void assert_extensions(X509 *certificate, const name_row_t *row,
                              const acme_digest_t *digest)
{
    unsigned char expected[512];
    size_t length, size = 0;
    unsigned char *part = to_be_signed(certificate, &length);

    memcpy(expected, row->head, row->head_length);
    size += row->head_length;
    memcpy(expected + size, row->value, row->value_length);
    size += row->value_length;
    memcpy(expected + size, ACME_HEAD, sizeof(ACME_HEAD) - 1);
    size += sizeof(ACME_HEAD) - 1;
    memcpy(expected + size, digest->bytes, sizeof(digest->bytes));
    size += sizeof(digest->bytes);

    assert_true(length > size);
    assert_memory_equal(part + length - size, expected, size);
    OPENSSL_free(part);
}

static void test_extensions(void **state)
{
    const name_row_t *row = *state;
    acme_digest_t digest = digest_of(1), high = digest_of(0xf0);
    int type;

    for (type = 0; type < ACME_KEY_TYPES; type++) {
        X509 *certificate = mint(row->sni, &digest, (acme_key_type_e)type, NOW);

        assert_extensions(certificate, row, &digest);
        assert_int_equal(X509_get_ext_count(certificate), 2);
        X509_free(certificate);

        certificate = mint(row->sni, &high, (acme_key_type_e)type, NOW);
        assert_extensions(certificate, row, &high);
        X509_free(certificate);
    }
}

static void assert_time(const ASN1_TIME *got, const char *expected)
{
    const ASN1_STRING *string = got;

    assert_int_equal(ASN1_STRING_type(string), strlen(expected) == strlen("260115110000Z")
                                                   ? V_ASN1_UTCTIME
                                                   : V_ASN1_GENERALIZEDTIME);
    assert_int_equal(ASN1_STRING_length(string), strlen(expected));
    assert_memory_equal(ASN1_STRING_get0_data(string), expected, strlen(expected));
}

static void test_validity(void **state)
{
    const validity_row_t *row = *state;
    acme_digest_t digest = digest_of(1);
    X509 *certificate = mint("example.com", &digest, ACME_KEY_P256, row->now);

    assert_time(X509_get0_notBefore(certificate), row->from);
    assert_time(X509_get0_notAfter(certificate), row->until);
    X509_free(certificate);
}

/* The certificate with one byte of its signed part changed. */
static X509 *tampered(X509 *certificate)
{
    static const char name[] = "example.com";
    unsigned char *whole = NULL, *at;
    const unsigned char *start;
    int length = i2d_X509(certificate, &whole);
    X509 *read;

    assert_true(length > 0);
    at = memmem(whole, (size_t)length, name, sizeof(name) - 1);
    assert_non_null(at);
    *at = 'E';
    start = whole;
    read = d2i_X509(NULL, &start, length);
    assert_non_null(read);
    OPENSSL_free(whole);
    return read;
}

static void test_self_signature(void **state)
{
    const key_row_t *row = *state;
    X509 *certificate = mint_example(row->type), *changed = tampered(certificate);
    EVP_PKEY *stranger = acme_key_generate(row->type);

    assert_int_equal(X509_verify(certificate, X509_get0_pubkey(certificate)), 1);
    assert_int_equal(X509_verify(certificate, keys[row->type]), 1);
    assert_int_equal(X509_get_signature_nid(certificate), row->signature);
    assert_int_equal(OBJ_obj2nid(X509_get0_tbs_sigalg(certificate)->algorithm), row->signature);

    assert_int_not_equal(X509_verify(certificate, stranger), 1);
    assert_int_not_equal(X509_verify(changed, X509_get0_pubkey(changed)), 1);
    EVP_PKEY_free(stranger);
    X509_free(changed);
    X509_free(certificate);
}

/* The signed part starts with its own header, [0] { INTEGER 2 } for v3, and the serial: 16
 * bytes of which the first is 0x40 to 0x7f, so positive and in its shortest form (RFC 5280
 * section 4.1.2.2, X.690 section 8.3). */
static void test_version_and_serial(void **state)
{
    static const char start[] = "\xa0\x03\x02\x01\x02\x02\x10";
    X509 *certificate = mint_example(ACME_KEY_P256);
    size_t length;
    unsigned char *part = to_be_signed(certificate, &length);

    (void)state;
    assert_memory_equal(part, "\x30\x82", 2);
    assert_memory_equal(part + 4, start, sizeof(start) - 1);
    assert_in_range(part[4 + sizeof(start) - 1], 0x40, 0x7f);
    assert_int_equal(X509_get_version(certificate), 2);
    OPENSSL_free(part);
    X509_free(certificate);
}

#define SERIALS 200

static void test_serials_are_random(void **state)
{
    static unsigned char serials[SERIALS][16];
    static unsigned char seen[16]; /* the bits that differed from the first serial's */
    size_t i, other, byte;

    (void)state;
    for (i = 0; i < SERIALS; i++) {
        X509 *certificate = mint_example(ACME_KEY_P256);
        const ASN1_INTEGER *serial = X509_get0_serialNumber(certificate);

        assert_int_equal(serial->type, V_ASN1_INTEGER);
        assert_int_equal(serial->length, 16);
        memcpy(serials[i], serial->data, sizeof(serials[i]));
        for (other = 0; other < i; other++) {
            assert_memory_not_equal(serials[i], serials[other], sizeof(serials[i]));
        }
        for (byte = 0; byte < sizeof(seen); byte++) {
            seen[byte] |= serials[i][byte] ^ serials[0][byte];
        }
        X509_free(certificate);
    }
    assert_int_equal(seen[0], 0x3f);
    for (byte = 1; byte < sizeof(seen); byte++) {
        assert_int_equal(seen[byte], 0xff);
    }
}

/* Boulder wants subject and issuer to be the same; RFC 5280 appendix A, ub-common-name: 64. */
static void test_subject_is_issuer_and_constant(void **state)
{
    acme_digest_t digest = digest_of(1);
    X509 *one = mint_example(ACME_KEY_P256);
    X509 *other = mint(NAME_253, &digest, ACME_KEY_RSA2048, NOW);
    const X509_NAME *subject = X509_get_subject_name(one);
    char name[256];

    (void)state;
    assert_int_equal(X509_NAME_cmp(subject, X509_get_issuer_name(one)), 0);
    assert_int_equal(X509_NAME_cmp(subject, X509_get_subject_name(other)), 0);
    assert_int_equal(X509_NAME_cmp(subject, X509_get_issuer_name(other)), 0);
    assert_int_equal(X509_NAME_entry_count(subject), 1);
    assert_true(X509_NAME_get_text_by_NID((X509_NAME *)(uintptr_t)subject, NID_commonName, name,
                                          sizeof(name)) > 0);
    assert_in_range(strlen(name), 1, 64);
    assert_null(strstr(name, "example.com"));
    X509_free(one);
    X509_free(other);
}

/* A key without its private half cannot sign. */
static void test_failure_leaves_the_certificate_untouched(void **state)
{
    acme_identifier_t identifier;
    acme_digest_t digest = digest_of(1);
    X509 *untouched = X509_new(), *certificate = untouched;
    unsigned char *encoded = NULL;
    const unsigned char *at;
    int length = i2d_PUBKEY(keys[ACME_KEY_P256], &encoded);
    EVP_PKEY *half;

    (void)state;
    at = encoded;
    half = d2i_PUBKEY(NULL, &at, length);
    assert_non_null(half);
    assert_reason(acme_identifier_from_sni(&identifier, BYTES("example.com")), ACME_OK);
    assert_reason(acme_certificate_mint(&certificate, &identifier, &digest, ACME_KEY_P256, half,
                                        half, NOW),
                  ACME_SYSTEM_ERROR);
    assert_ptr_equal(certificate, untouched);
    EVP_PKEY_free(half);
    OPENSSL_free(encoded);
    X509_free(untouched);
}

static int make_keys(void **state)
{
    int type;

    (void)state;
    for (type = 0; type < ACME_KEY_TYPES; type++) {
        keys[type] = acme_key_generate((acme_key_type_e)type);
        public_keys[type] = acme_key_public(keys[type], (acme_key_type_e)type);
        if (!keys[type] || !public_keys[type]) {
            return -1;
        }
    }
    return 0;
}

static int free_keys(void **state)
{
    int type;

    (void)state;
    for (type = 0; type < ACME_KEY_TYPES; type++) {
        EVP_PKEY_free(public_keys[type]);
        EVP_PKEY_free(keys[type]);
    }
    return 0;
}

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_version_and_serial),
        cmocka_unit_test(test_serials_are_random),
        cmocka_unit_test(test_subject_is_issuer_and_constant),
        cmocka_unit_test(test_failure_leaves_the_certificate_untouched),
    };
    struct CMUnitTest
        tests[COUNT(names) + COUNT(validities) + COUNT(key_types) + COUNT(others)];
    size_t i, n = 0;

    for (i = 0; i < COUNT(names); i++) {
        tests[n++] = unit_case(names[i].name, test_extensions, &names[i]);
    }
    for (i = 0; i < COUNT(validities); i++) {
        tests[n++] = unit_case(validities[i].name, test_validity, &validities[i]);
    }
    for (i = 0; i < COUNT(key_types); i++) {
        tests[n++] = unit_case(key_types[i].name, test_self_signature, &key_types[i]);
    }
    memcpy(tests + n, others, sizeof(others));
    return cmocka_run_group_tests_name("certificate", tests, make_keys, free_keys);
}
