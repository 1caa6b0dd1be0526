/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_digest.h"

#include <string.h>
#include <strings.h>

#include <apr_encode.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include <openssl/sha.h>

#define TOKEN_MIN           22
#define BASE64URL_LENGTH    43
#define HEX_LENGTH          64
#define COLONED_HEX_LENGTH  95
#define BASE64URL_TAIL_BITS "AEIMQUYcgkosw048"

static int digest_is_base64url(const char *text, apr_size_t length)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    apr_size_t i;

    for (i = 0; i < length; i++) {
        if (!memchr(alphabet, text[i], sizeof(alphabet) - 1)) {
            return 0;
        }
    }
    return 1;
}

static acme_error_e digest_check_key_authorization(const char *text, apr_size_t length,
                                                   apr_size_t token_length)
{
    return token_length >= TOKEN_MIN && length - token_length - 1 == BASE64URL_LENGTH &&
                   digest_is_base64url(text, token_length) &&
                   digest_is_base64url(text + token_length + 1, BASE64URL_LENGTH)
               ? ACME_OK
               : ACME_VALUE_MALFORMED;
}

/* The last of the 43 characters has two surplus bits. They must be zero, so that each digest
 * has one text. */
static acme_error_e digest_from_base64url(acme_digest_t *digest, const char *text)
{
    if (!digest_is_base64url(text, BASE64URL_LENGTH) ||
        !strchr(BASE64URL_TAIL_BITS, text[BASE64URL_LENGTH - 1]) ||
        apr_decode_base64_binary(digest->bytes, text, BASE64URL_LENGTH, APR_ENCODE_NONE,
                                 NULL) != APR_SUCCESS) {
        return ACME_VALUE_MALFORMED;
    }
    return ACME_OK;
}

/* `stride` is 2 for digits alone, 3 where a colon stands between two pairs of them. */
static acme_error_e digest_from_hex(acme_digest_t *digest, const char *text, apr_size_t length,
                                    apr_size_t stride)
{
    apr_size_t i;

    for (i = 0; i < length; i++) {
        if (i % stride == 2 ? text[i] != ':' : !apr_isxdigit(text[i])) {
            return ACME_VALUE_MALFORMED;
        }
    }
    return apr_decode_base16_binary(digest->bytes, text, (apr_ssize_t)length,
                                    stride == 3 ? APR_ENCODE_COLON : APR_ENCODE_NONE,
                                    NULL) == APR_SUCCESS
               ? ACME_OK
               : ACME_VALUE_MALFORMED;
}

static acme_error_e digest_from_line(acme_digest_t *digest, const char *line, apr_size_t length,
                                     const char *dot)
{
    if (dot) {
        return digest_check_key_authorization(line, length, (apr_size_t)(dot - line));
    }
    switch (length) {
    case BASE64URL_LENGTH:
        return digest_from_base64url(digest, line);
    case HEX_LENGTH:
        return digest_from_hex(digest, line, length, 2);
    case COLONED_HEX_LENGTH:
        return digest_from_hex(digest, line, length, 3);
    default:
        return ACME_VALUE_MALFORMED;
    }
}

/* Without LF or CRLF at its end. */
static apr_size_t digest_line_length(const char *value, apr_size_t length)
{
    if (length > 0 && value[length - 1] == '\n') {
        length -= length > 1 && value[length - 2] == '\r' ? 2 : 1;
    }
    return length;
}

acme_error_e acme_digest_check(acme_digest_t *digest, const char *value, apr_size_t length)
{
    const char *dot;
    acme_error_e error;

    if (length > ACME_VALUE_MAX) {
        return ACME_ENTRY_TOO_LARGE;
    }
    length = digest_line_length(value, length);
    if (length == 0) {
        return ACME_VALUE_EMPTY;
    }
    if (memchr(value, '\n', length)) {
        return ACME_VALUE_LINES;
    }
    dot = memchr(value, '.', length);
    error = digest_from_line(digest, value, length, dot);
    if (error == ACME_OK) {
        apr_cpystrn(digest->account, dot ? dot + 1 : "", sizeof(digest->account));
    }
    return error;
}

acme_error_e acme_digest_parse(acme_digest_t *digest, const char *value, apr_size_t length)
{
    acme_digest_t found;
    acme_error_e error = acme_digest_check(&found, value, length);

    if (error == ACME_OK && found.account[0] &&
        !SHA256((const unsigned char *)value, digest_line_length(value, length), found.bytes)) {
        error = ACME_SYSTEM_ERROR;
    }
    if (error == ACME_OK) {
        *digest = found;
    }
    return error;
}

/* All thumbprints have the same length, so strstr finds whole words only. */
acme_error_e acme_digest_check_account(const acme_digest_t *digest, const char *accounts)
{
    if (!accounts || strcmp(accounts, ACME_ACCOUNT_ANY) == 0) {
        return ACME_OK;
    }
    if (!digest->account[0]) {
        return ACME_ACCOUNT_UNKNOWN;
    }
    return strstr(accounts, digest->account) ? ACME_OK : ACME_ACCOUNT_OTHER;
}

/* A thumbprint is a SHA-256 in base64url, as a bare digest may be. */
int acme_digest_add_account(apr_pool_t *pool, const char **accounts, const char *word)
{
    int is_any = strcasecmp(word, ACME_ACCOUNT_ANY) == 0;
    acme_digest_t digest;

    if (is_any ? *accounts != NULL
               : (*accounts && strcmp(*accounts, ACME_ACCOUNT_ANY) == 0) ||
                     strlen(word) != BASE64URL_LENGTH ||
                     digest_from_base64url(&digest, word) != ACME_OK) {
        return 0;
    }
    *accounts = *accounts ? apr_pstrcat(pool, *accounts, " ", word, NULL)
                          : (is_any ? ACME_ACCOUNT_ANY : word);
    return 1;
}
