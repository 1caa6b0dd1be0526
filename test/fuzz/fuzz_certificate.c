/*
 * Any bytes as the certificate that an upstream serves, in DER. It is looked at as it comes,
 * and once more with a right signature, which no fuzzer finds. What is said of that one is
 * compared with what its extensions say when they are all looked at, one after the other.
 */
#include "fuzz.h"

#include <string.h>

#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>

#include "acme_certificate.h"

#define NAME     "fuzz.test"
#define OID_SIZE 256

static const unsigned char alternative_name[] = "\x30\x0b\x82\x09" NAME;

/* Whether it could be made one that is signed by itself. */
static int sign(X509 *certificate)
{
    static EVP_PKEY *key;

    if (!key) {
        key = acme_key_generate(ACME_KEY_P256);
        REQUIRE(key);
    }
    return X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) &&
           X509_set_pubkey(certificate, key) && X509_sign(certificate, key, EVP_sha256()) > 0;
}

static void oid_of(char *oid, X509 *certificate, int position)
{
    OBJ_obj2txt(oid, OID_SIZE, X509_EXTENSION_get_object(X509_get_ext(certificate, position)),
                1);
}

/* How many extensions have this number; *last is the position of the last of them. */
static int count(X509 *certificate, const char *oid, int *last)
{
    char other[OID_SIZE];
    int i, found = 0;

    for (i = 0; i < X509_get_ext_count(certificate); i++) {
        oid_of(other, certificate, i);
        if (strcmp(oid, other) == 0) {
            *last = i;
            found++;
        }
    }
    return found;
}

static int is_repeated(X509 *certificate)
{
    char oid[OID_SIZE];
    int i, last, repeated = 0;

    for (i = 0; i < X509_get_ext_count(certificate); i++) {
        oid_of(oid, certificate, i);
        repeated |= count(certificate, oid, &last) > 1;
    }
    return repeated;
}

/* Whether an extension's value is of this size and begins so; *data gets it. */
static int begins(X509 *certificate, int position, size_t size, const void *begin,
                  size_t length, const unsigned char **data)
{
    const ASN1_OCTET_STRING *value =
        X509_EXTENSION_get_data(X509_get_ext(certificate, position));

    *data = ASN1_STRING_get0_data(value);
    return (size_t)ASN1_STRING_length(value) == size && memcmp(*data, begin, length) == 0;
}

static acme_error_e judge(X509 *certificate, const unsigned char **digest)
{
    static const unsigned char octets[] = {V_ASN1_OCTET_STRING, ACME_DIGEST_SIZE};
    const size_t size = sizeof(alternative_name) - 1;
    const unsigned char *value;
    int names, identifier;

    if (!count(certificate, "1.3.6.1.5.5.7.1.31", &identifier)) {
        return ACME_CERTIFICATE_ORDINARY;
    }
    if (is_repeated(certificate)) {
        return ACME_CERTIFICATE_REPEATED_EXTENSION;
    }
    if (!count(certificate, "2.5.29.17", &names) ||
        !begins(certificate, names, size, alternative_name, size, &value)) {
        return ACME_CERTIFICATE_WRONG_NAME;
    }
    if (!X509_EXTENSION_get_critical(X509_get_ext(certificate, identifier))) {
        return ACME_CERTIFICATE_NOT_CRITICAL;
    }
    if (!begins(certificate, identifier, sizeof(octets) + ACME_DIGEST_SIZE, octets,
                sizeof(octets), &value)) {
        return ACME_CERTIFICATE_MALFORMED;
    }
    *digest = value + sizeof(octets);
    return ACME_OK;
}

/* The reason, after making sure that the digest is only there with ACME_OK. */
static acme_error_e inspect(acme_digest_t *digest, X509 *certificate)
{
    acme_identifier_t identifier;
    acme_digest_t untouched;
    acme_error_e reason;

    REQUIRE(acme_identifier_from_text(&identifier, NAME) == ACME_OK);
    memset(&untouched, 0xa5, sizeof(untouched));
    *digest = untouched;
    reason = acme_certificate_inspect(digest, certificate, &identifier);
    REQUIRE(reason == ACME_OK || memcmp(digest, &untouched, sizeof(untouched)) == 0);
    return reason;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const unsigned char *der = data, *expected = NULL;
    X509 *certificate = d2i_X509(NULL, &der, (long)size), *again;
    acme_error_e reason;
    acme_digest_t digest;

    if (!certificate) {
        return 0;
    }
    inspect(&digest, certificate);
    /* A copy, since what was read is kept. */
    again = X509_dup(certificate);
    if (again && sign(again)) {
        reason = judge(again, &expected);
        REQUIRE(inspect(&digest, again) == reason);
        REQUIRE(reason != ACME_OK || memcmp(digest.bytes, expected, sizeof(digest.bytes)) == 0);
    }
    X509_free(again);
    X509_free(certificate);
    return 0;
}
