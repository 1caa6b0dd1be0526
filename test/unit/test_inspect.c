#include "unit.h"

#include <string.h>

#include <openssl/asn1.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "acme_certificate.h"

/* Certificates as a careless responder makes them: a right one, spoilt in one way and signed
 * again, so that nothing else is wrong with it. Boulder's and RFC 8737 section 3's rules. */

#define NOW              apr_time_from_sec(1768478400)
#define SAN_OID          "2.5.29.17"
#define ACME_OID         "1.3.6.1.5.5.7.1.31"
#define BYTES_31         "0123456789abcdef0123456789abcde"
#define BYTES_32         BYTES_31 "f"
#define EXAMPLE_SAN      "\x30\x0d\x82\x0b" EXAMPLE_NAME
#define EXAMPLE_NAME     "example.com"
#define EXAMPLE_ACME     "\x04\x20" BYTES_32
#define CRITICAL         1
#define NOT_CRITICAL     0
#define TWO_NAMES_SAN    "\x30\x1a\x82\x0b" EXAMPLE_NAME "\x82\x0b" EXAMPLE_NAME
#define CAPITALS_SAN     "\x30\x0d\x82\x0bExample.com"
#define EMAIL_SAN        "\x30\x0d\x81\x0b" EXAMPLE_NAME
#define LONG_LENGTH_SAN  "\x30\x81\x0d\x82\x0b" EXAMPLE_NAME
#define EMPTY_SAN        "\x30\x00"
#define LONG_LENGTH_ACME "\x04\x81\x20" BYTES_32

static EVP_PKEY *key;

static void drop(X509 *certificate, const char *oid_text)
{
    ASN1_OBJECT *oid = OBJ_txt2obj(oid_text, 1);
    int position = X509_get_ext_by_OBJ(certificate, oid, -1);

    assert_true(position >= 0);
    X509_EXTENSION_free(X509_delete_ext(certificate, position));
    ASN1_OBJECT_free(oid);
}

static void add(X509 *certificate, const char *oid_text, int critical, const char *der,
                size_t length)
{
    ASN1_OBJECT *oid = OBJ_txt2obj(oid_text, 1);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION *extension;

    assert_int_equal(ASN1_OCTET_STRING_set(value, (const unsigned char *)der, (int)length), 1);
    extension = X509_EXTENSION_create_by_OBJ(NULL, oid, critical, value);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(oid);
}

static void rename_issuer(X509 *certificate, int type, const char *common_name)
{
    X509_NAME *name = X509_NAME_new();

    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", type,
                                                (const unsigned char *)common_name, -1, -1, 0),
                     1);
    assert_int_equal(X509_set_issuer_name(certificate, name), 1);
    X509_NAME_free(name);
}

typedef struct {
    const char *name;
    const char *dropped; /* an extension's OID, or NULL */
    const char *added;   /* the same */
    int critical;
    const char *der;
    size_t length;
    acme_error_e reason;
} defect_row_t;

static const defect_row_t defects[] = {
    {"signed again", NULL, NULL, 0, NULL, 0, ACME_OK},
    {"written by hand", ACME_OID, ACME_OID, CRITICAL, BYTES(EXAMPLE_ACME), ACME_OK},
    {"critical subjectAltName", SAN_OID, SAN_OID, CRITICAL, BYTES(EXAMPLE_SAN), ACME_OK},
    {"another extension", NULL, "1.2.3.4", NOT_CRITICAL, BYTES(EXAMPLE_ACME), ACME_OK},

    {"no acmeIdentifier", ACME_OID, NULL, 0, NULL, 0, ACME_CERTIFICATE_ORDINARY},
    {"acmeIdentifier twice", NULL, ACME_OID, CRITICAL, BYTES(EXAMPLE_ACME),
     ACME_CERTIFICATE_REPEATED_EXTENSION},
    {"subjectAltName twice", NULL, SAN_OID, NOT_CRITICAL, BYTES(EXAMPLE_SAN),
     ACME_CERTIFICATE_REPEATED_EXTENSION},

    {"no subjectAltName", SAN_OID, NULL, 0, NULL, 0, ACME_CERTIFICATE_WRONG_NAME},
    {"empty subjectAltName", SAN_OID, SAN_OID, NOT_CRITICAL, BYTES(EMPTY_SAN),
     ACME_CERTIFICATE_WRONG_NAME},
    {"subjectAltName with two names", SAN_OID, SAN_OID, NOT_CRITICAL, BYTES(TWO_NAMES_SAN),
     ACME_CERTIFICATE_WRONG_NAME},
    {"subjectAltName in capitals", SAN_OID, SAN_OID, NOT_CRITICAL, BYTES(CAPITALS_SAN),
     ACME_CERTIFICATE_WRONG_NAME},
    {"subjectAltName of another type", SAN_OID, SAN_OID, NOT_CRITICAL, BYTES(EMAIL_SAN),
     ACME_CERTIFICATE_WRONG_NAME},
    {"subjectAltName in BER", SAN_OID, SAN_OID, NOT_CRITICAL, BYTES(LONG_LENGTH_SAN),
     ACME_CERTIFICATE_WRONG_NAME},

    {"subjectAltName with bytes behind it", SAN_OID, SAN_OID, NOT_CRITICAL,
     BYTES(EXAMPLE_SAN "!"), ACME_CERTIFICATE_WRONG_NAME},

    {"acmeIdentifier not critical", ACME_OID, ACME_OID, NOT_CRITICAL, BYTES(EXAMPLE_ACME),
     ACME_CERTIFICATE_NOT_CRITICAL},
    {"acmeIdentifier of 31 bytes", ACME_OID, ACME_OID, CRITICAL, BYTES("\x04\x1f" BYTES_31),
     ACME_CERTIFICATE_MALFORMED},
    {"acmeIdentifier of 33 bytes", ACME_OID, ACME_OID, CRITICAL, BYTES("\x04\x21" BYTES_32 "!"),
     ACME_CERTIFICATE_MALFORMED},
    {"acmeIdentifier whose length is wrong", ACME_OID, ACME_OID, CRITICAL,
     BYTES("\x04\x1f" BYTES_32), ACME_CERTIFICATE_MALFORMED},
    {"acmeIdentifier that ends early", ACME_OID, ACME_OID, CRITICAL, BYTES("\x04\x20" BYTES_31),
     ACME_CERTIFICATE_MALFORMED},
    {"acmeIdentifier with bytes behind it", ACME_OID, ACME_OID, CRITICAL,
     BYTES(EXAMPLE_ACME "!"), ACME_CERTIFICATE_MALFORMED},
    {"acmeIdentifier without its OCTET STRING", ACME_OID, ACME_OID, CRITICAL, BYTES(BYTES_32),
     ACME_CERTIFICATE_MALFORMED},
    {"acmeIdentifier as a BIT STRING", ACME_OID, ACME_OID, CRITICAL, BYTES("\x03\x20" BYTES_32),
     ACME_CERTIFICATE_MALFORMED},
    {"acmeIdentifier in BER", ACME_OID, ACME_OID, CRITICAL, BYTES(LONG_LENGTH_ACME),
     ACME_CERTIFICATE_MALFORMED},
    {"empty acmeIdentifier", ACME_OID, ACME_OID, CRITICAL, BYTES(""),
     ACME_CERTIFICATE_MALFORMED},
};

static acme_identifier_t identifier_of(const char *text)
{
    acme_identifier_t identifier;

    assert_reason(acme_identifier_from_text(&identifier, text), ACME_OK);
    return identifier;
}

/* A right certificate whose digest is BYTES_32; the caller frees it. */
static X509 *mint(const char *text)
{
    acme_identifier_t identifier = identifier_of(text);
    acme_digest_t digest;
    X509 *certificate;

    memcpy(digest.bytes, BYTES_32, sizeof(digest.bytes));
    assert_reason(
        acme_certificate_mint(&certificate, &identifier, &digest, ACME_KEY_P256, key, key, NOW),
        ACME_OK);
    return certificate;
}

/* Looks at the certificate as it would come over the wire, and frees it. */
static void assert_judged(X509 *certificate, const char *text, acme_error_e reason)
{
    acme_identifier_t identifier = identifier_of(text);
    acme_digest_t digest = {{0}};
    unsigned char *encoded = NULL;
    const unsigned char *at;
    int length = i2d_X509(certificate, &encoded);
    X509 *received;

    assert_true(length > 0);
    at = encoded;
    received = d2i_X509(NULL, &at, length);
    assert_non_null(received);
    assert_reason(acme_certificate_inspect(&digest, received, &identifier), reason);
    if (reason == ACME_OK) {
        assert_memory_equal(digest.bytes, BYTES_32, sizeof(digest.bytes));
    }
    X509_free(received);
    OPENSSL_free(encoded);
    X509_free(certificate);
}

static void test_defect(void **state)
{
    const defect_row_t *row = *state;
    X509 *certificate = mint(EXAMPLE_NAME);

    if (row->dropped) {
        drop(certificate, row->dropped);
    }
    if (row->added) {
        add(certificate, row->added, row->critical, row->der, row->length);
    }
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    assert_judged(certificate, EXAMPLE_NAME, row->reason);
}

static void test_issuer_of_another_name(void **state)
{
    X509 *certificate = mint(EXAMPLE_NAME);

    (void)state;
    rename_issuer(certificate, MBSTRING_ASC, "another");
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    assert_judged(certificate, EXAMPLE_NAME, ACME_CERTIFICATE_NOT_SELF_SIGNED);
}

/* What X509_NAME_cmp takes for the same name, Boulder does not. */
static void test_issuer_is_the_subject_in_other_bytes(void **state)
{
    static const struct {
        int type;
        const char *common_name;
    } issuers[] = {{V_ASN1_UTF8STRING, "acme challenge"},
                   {V_ASN1_UTF8STRING, "ACME  challenge"},
                   {V_ASN1_PRINTABLESTRING, "ACME challenge"}};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(issuers) / sizeof(issuers[0]); i++) {
        X509 *certificate = mint(EXAMPLE_NAME);

        rename_issuer(certificate, issuers[i].type, issuers[i].common_name);
        assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
        assert_judged(certificate, EXAMPLE_NAME, ACME_CERTIFICATE_NOT_SELF_SIGNED);
    }
}

static void test_signed_with_another_key(void **state)
{
    X509 *certificate = mint(EXAMPLE_NAME);
    EVP_PKEY *stranger = acme_key_generate(ACME_KEY_P256);

    (void)state;
    assert_true(X509_sign(certificate, stranger, EVP_sha256()) > 0);
    assert_judged(certificate, EXAMPLE_NAME, ACME_CERTIFICATE_NOT_SELF_SIGNED);
    EVP_PKEY_free(stranger);
}

static void test_own_certificates_pass_and_others_do_not(void **state)
{
    static const char *const texts[] = {"example.com", "www.example.com", "192.0.2.1",
                                        "192.0.2.2",   "2001:db8::1",     "::"};
    size_t one, other;

    (void)state;
    for (one = 0; one < COUNT(texts); one++) {
        for (other = 0; other < COUNT(texts); other++) {
            assert_judged(mint(texts[one]), texts[other],
                          one == other ? ACME_OK : ACME_CERTIFICATE_WRONG_NAME);
        }
    }
}

static int make_key(void **state)
{
    (void)state;
    key = acme_key_generate(ACME_KEY_P256);
    return key ? 0 : -1;
}

static int free_key(void **state)
{
    (void)state;
    EVP_PKEY_free(key);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_issuer_of_another_name),
        cmocka_unit_test(test_issuer_is_the_subject_in_other_bytes),
        cmocka_unit_test(test_signed_with_another_key),
        cmocka_unit_test(test_own_certificates_pass_and_others_do_not),
    };
    struct CMUnitTest tests[COUNT(defects) + COUNT(others)];
    size_t i;

    for (i = 0; i < COUNT(defects); i++) {
        tests[i] = unit_case(defects[i].name, test_defect, &defects[i]);
    }
    memcpy(tests + i, others, sizeof(others));
    return cmocka_run_group_tests_name("inspect", tests, make_key, free_key);
}
