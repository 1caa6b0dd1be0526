/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_certificate.h"

#include <string.h>

#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/x509v3.h>

#define ACME_IDENTIFIER_OID  "1.3.6.1.5.5.7.1.31"
#define SUBJECT_ALT_NAME_OID "2.5.29.17"

/* Not the identifier: a common name ends at 64 bytes (RFC 5280 appendix A, ub-common-name). */
#define COMMON_NAME "ACME challenge"

/* A browser shows it to the visitor. */
#define PLACEHOLDER_NAME "Placeholder until there is a certificate"

/* Positive and of 127 bits, so 16 bytes in DER (RFC 5280 section 4.1.2.2 allows 20). */
#define SERIAL_BITS 127

static int certificate_set_serial(X509 *certificate)
{
    BIGNUM *number = BN_new();
    int done = number && BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
               BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));

    BN_free(number);
    return done;
}

static int certificate_set_names(X509 *certificate, const char *common_name)
{
    X509_NAME *name = X509_NAME_new();
    int done = X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                                          (const unsigned char *)common_name, -1, -1, 0) &&
               X509_set_subject_name(certificate, name) &&
               X509_set_issuer_name(certificate, name);

    X509_NAME_free(name);
    return done;
}

/* All but the extensions and the signature. A time_t of 32 bits need not hold the end. */
static int certificate_set_fields(X509 *certificate, const char *common_name, EVP_PKEY *key,
                                  apr_time_t now, apr_interval_time_t lifetime)
{
    time_t second = (time_t)apr_time_sec(now);
    long before = (long)apr_time_sec(-ACME_CERTIFICATE_BACKDATE);
    long after = (long)apr_time_sec(lifetime);

    return X509_set_version(certificate, 2) && certificate_set_serial(certificate) &&
           certificate_set_names(certificate, common_name) &&
           ASN1_TIME_adj(X509_getm_notBefore(certificate), second, 0, before) &&
           ASN1_TIME_adj(X509_getm_notAfter(certificate), second, 0, after) &&
           X509_set_pubkey(certificate, key);
}

/* The identifier alone; the caller frees it. */
static GENERAL_NAMES *certificate_alternative_name(const acme_identifier_t *identifier)
{
    int is_ip = identifier->type == ACME_IDENTIFIER_IP;
    const void *bytes = is_ip ? (const void *)identifier->address : identifier->name;
    size_t size = is_ip ? identifier->address_size : strlen(identifier->name);
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *value = ASN1_STRING_type_new(is_ip ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);

    if (!names || !name || !value || !ASN1_STRING_set(value, bytes, (int)size) ||
        !sk_GENERAL_NAME_push(names, name)) {
        ASN1_STRING_free(value);
        GENERAL_NAME_free(name);
        GENERAL_NAMES_free(names);
        return NULL;
    }
    GENERAL_NAME_set0_value(name, is_ip ? GEN_IPADD : GEN_DNS, value);
    return names;
}

static int certificate_add_alternative_name(X509 *certificate,
                                            const acme_identifier_t *identifier)
{
    GENERAL_NAMES *names = certificate_alternative_name(identifier);
    int done = names && X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0,
                                          X509V3_ADD_APPEND) == 1;

    GENERAL_NAMES_free(names);
    return done;
}

/* The OCTET STRING of an extension holds DER: here that of another OCTET STRING. */
static int certificate_add_acme_identifier(X509 *certificate, const acme_digest_t *digest)
{
    unsigned char der[2 + ACME_DIGEST_SIZE] = {V_ASN1_OCTET_STRING, ACME_DIGEST_SIZE};
    ASN1_OBJECT *oid = OBJ_txt2obj(ACME_IDENTIFIER_OID, 1);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION *extension = NULL;
    int done;

    memcpy(der + 2, digest->bytes, ACME_DIGEST_SIZE);
    if (oid && value && ASN1_OCTET_STRING_set(value, der, sizeof(der))) {
        extension = X509_EXTENSION_create_by_OBJ(NULL, oid, 1, value);
    }
    done = extension && X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(oid);
    return done;
}

acme_error_e acme_certificate_mint(X509 **certificate, const acme_identifier_t *identifier,
                                   const acme_digest_t *digest, acme_key_type_e type,
                                   EVP_PKEY *key, EVP_PKEY *public_key, apr_time_t now)
{
    X509 *minted = X509_new();

    if (!minted ||
        !certificate_set_fields(minted, COMMON_NAME, public_key, now,
                                ACME_CERTIFICATE_LIFETIME) ||
        !certificate_add_alternative_name(minted, identifier) ||
        !certificate_add_acme_identifier(minted, digest) ||
        X509_sign(minted, key, acme_key_digest(type)) <= 0) {
        X509_free(minted);
        return ACME_SYSTEM_ERROR;
    }
    *certificate = minted;
    return ACME_OK;
}

/* Not a CA; critical (RFC 5280 section 4.2.1.9). */
static int certificate_add_basic_constraints(X509 *certificate)
{
    BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();
    int done = constraints && X509_add1_ext_i2d(certificate, NID_basic_constraints, constraints,
                                                1, X509V3_ADD_APPEND) == 1;

    BASIC_CONSTRAINTS_free(constraints);
    return done;
}

acme_error_e acme_certificate_mint_placeholder(X509 **certificate, acme_key_type_e type,
                                               EVP_PKEY *key, apr_time_t now)
{
    X509 *minted = X509_new();

    if (!minted ||
        !certificate_set_fields(minted, PLACEHOLDER_NAME, key, now,
                                ACME_CERTIFICATE_PLACEHOLDER_LIFETIME) ||
        !certificate_add_basic_constraints(minted) ||
        X509_sign(minted, key, acme_key_digest(type)) <= 0) {
        X509_free(minted);
        return ACME_SYSTEM_ERROR;
    }
    *certificate = minted;
    return ACME_OK;
}

/* Boulder compares the names' DER. X509_NAME_cmp ignores case and the type of a string. */
static int certificate_is_self_signed(X509 *certificate)
{
    EVP_PKEY *key = X509_get0_pubkey(certificate);
    const unsigned char *subject, *issuer;
    size_t length, issuer_length;

    return key && X509_verify(certificate, key) == 1 &&
           X509_NAME_get0_der(X509_get_subject_name(certificate), &subject, &length) &&
           X509_NAME_get0_der(X509_get_issuer_name(certificate), &issuer, &issuer_length) &&
           length == issuer_length && memcmp(subject, issuer, length) == 0;
}

static int certificate_has_repeated_extension(X509 *certificate)
{
    int i, count = X509_get_ext_count(certificate);

    for (i = 0; i < count; i++) {
        const ASN1_OBJECT *oid = X509_EXTENSION_get_object(X509_get_ext(certificate, i));

        if (X509_get_ext_by_OBJ(certificate, oid, i) >= 0) {
            return 1;
        }
    }
    return 0;
}

/* Its position, since OpenSSL's versions differ on whether an X509_EXTENSION is const. */
static int certificate_find_extension(X509 *certificate, const char *oid_text)
{
    ASN1_OBJECT *oid = OBJ_txt2obj(oid_text, 1);
    int position = oid ? X509_get_ext_by_OBJ(certificate, oid, -1) : -1;

    ASN1_OBJECT_free(oid);
    return position;
}

/* Compares the DER, as Boulder does. */
static int certificate_is_for(X509 *certificate, const acme_identifier_t *identifier)
{
    int position = certificate_find_extension(certificate, SUBJECT_ALT_NAME_OID);
    const ASN1_OCTET_STRING *found =
        position < 0 ? NULL : X509_EXTENSION_get_data(X509_get_ext(certificate, position));
    GENERAL_NAMES *names = certificate_alternative_name(identifier);
    unsigned char *expected = NULL;
    int length = names ? i2d_GENERAL_NAMES(names, &expected) : -1;
    int same = found && length > 0 && ASN1_STRING_length(found) == length &&
               memcmp(ASN1_STRING_get0_data(found), expected, (size_t)length) == 0;

    OPENSSL_free(expected);
    GENERAL_NAMES_free(names);
    return same;
}

acme_error_e acme_certificate_inspect(acme_digest_t *digest, X509 *certificate,
                                      const acme_identifier_t *identifier)
{
    int position = certificate_find_extension(certificate, ACME_IDENTIFIER_OID);
    const ASN1_OCTET_STRING *value;
    const unsigned char *der;

    if (position < 0) {
        return ACME_CERTIFICATE_ORDINARY;
    }
    if (!certificate_is_self_signed(certificate)) {
        return ACME_CERTIFICATE_NOT_SELF_SIGNED;
    }
    if (certificate_has_repeated_extension(certificate)) {
        return ACME_CERTIFICATE_REPEATED_EXTENSION;
    }
    if (!certificate_is_for(certificate, identifier)) {
        return ACME_CERTIFICATE_WRONG_NAME;
    }
    if (!X509_EXTENSION_get_critical(X509_get_ext(certificate, position))) {
        return ACME_CERTIFICATE_NOT_CRITICAL;
    }
    value = X509_EXTENSION_get_data(X509_get_ext(certificate, position));
    der = ASN1_STRING_get0_data(value);
    if (ASN1_STRING_length(value) != 2 + ACME_DIGEST_SIZE || der[0] != V_ASN1_OCTET_STRING ||
        der[1] != ACME_DIGEST_SIZE) {
        return ACME_CERTIFICATE_MALFORMED;
    }
    memcpy(digest->bytes, der + 2, ACME_DIGEST_SIZE);
    return ACME_OK;
}
