/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_digest.h"

#include <string.h>

#include <apr_encode.h>
#include <apr_lib.h>

#include <openssl/sha.h>

#define TOKEN_MIN           22
#define BASE64URL_LENGTH    43
#define HEX_LENGTH          64
#define COLONED_HEX_LENGTH  95
#define BASE64URL_TAIL_BITS "AEIMQUYcgkosw048"

static int digest_is_base64url(const char *text, apr_size_t length)
{
    apr_size_t i;

    for (i = 0; i < length; i++) {
        unsigned char character = (unsigned char)text[i];

        if (character > 127 ||
            (!apr_isalnum(character) && character != '-' && character != '_')) {
            return 0;
        }
    }
    return 1;
}

static acme_error_e digest_from_key_authorization(acme_digest_t *digest, const char *text,
                                                  apr_size_t length, apr_size_t token_length)
{
    const char *thumbprint = text + token_length + 1;
    apr_size_t thumbprint_length = length - token_length - 1;

    if (token_length < TOKEN_MIN || !digest_is_base64url(text, token_length) ||
        thumbprint_length != BASE64URL_LENGTH ||
        !digest_is_base64url(thumbprint, thumbprint_length)) {
        return ACME_VALUE_MALFORMED;
    }
    return SHA256((const unsigned char *)text, length, digest->bytes) ? ACME_OK
                                                                      : ACME_SYSTEM_ERROR;
}

static acme_error_e digest_from_base64url(acme_digest_t *digest, const char *text)
{
    apr_size_t size = 0;

    /* 43 characters are 258 bits: the two that are left over must be zero, or one digest
     * could be written in four ways. */
    if (!digest_is_base64url(text, BASE64URL_LENGTH) ||
        !strchr(BASE64URL_TAIL_BITS, text[BASE64URL_LENGTH - 1]) ||
        apr_decode_base64_binary(digest->bytes, text, BASE64URL_LENGTH, APR_ENCODE_NONE,
                                 &size) != APR_SUCCESS ||
        size != ACME_DIGEST_SIZE) {
        return ACME_VALUE_MALFORMED;
    }
    return ACME_OK;
}

/* `stride` is 2 for digits alone, 3 where a colon stands between two pairs of them. */
static acme_error_e digest_from_hex(acme_digest_t *digest, const char *text, apr_size_t length,
                                    apr_size_t stride)
{
    apr_size_t i, size = 0;

    for (i = 0; i < length; i++) {
        int is_right = i % stride == 2 ? text[i] == ':' : apr_isxdigit(text[i]);

        if (!is_right) {
            return ACME_VALUE_MALFORMED;
        }
    }
    if (apr_decode_base16_binary(digest->bytes, text, (apr_ssize_t)length,
                                 stride == 3 ? APR_ENCODE_COLON : APR_ENCODE_NONE,
                                 &size) != APR_SUCCESS ||
        size != ACME_DIGEST_SIZE) {
        return ACME_VALUE_MALFORMED;
    }
    return ACME_OK;
}

static apr_size_t digest_without_line_end(const char *value, apr_size_t length)
{
    if (length > 0 && value[length - 1] == '\n') {
        length--;
        if (length > 0 && value[length - 1] == '\r') {
            length--;
        }
    }
    return length;
}

static acme_error_e digest_from_line(acme_digest_t *digest, const char *line, apr_size_t length)
{
    const char *dot = memchr(line, '.', length);

    if (dot) {
        return digest_from_key_authorization(digest, line, length, (apr_size_t)(dot - line));
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

acme_error_e acme_digest_parse(acme_digest_t *digest, const char *value, apr_size_t length)
{
    acme_digest_t made;
    acme_error_e error;

    if (length > ACME_VALUE_MAX) {
        return ACME_ENTRY_TOO_LARGE;
    }
    length = digest_without_line_end(value, length);
    if (length == 0) {
        return ACME_VALUE_EMPTY;
    }
    if (memchr(value, '\n', length)) {
        return ACME_VALUE_LINES;
    }
    error = digest_from_line(&made, value, length);
    if (error == ACME_OK) {
        *digest = made;
    }
    return error;
}
