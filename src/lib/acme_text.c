/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_text.h"

#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

/* Besides letters and digits; not the characters between the fields of a log line. */
#define IN_WORDS "-._~:/*"

/* The longest encoding of a byte. */
#define ENCODED 3

static int text_is_plain(char byte, int is_word)
{
    /* apr_isalnum goes by the locale, which a module such as mod_perl may set. */
    if (byte < ' ' || byte > '~') {
        return 0;
    }
    return is_word ? apr_isalnum(byte) || strchr(IN_WORDS, byte) : byte != '%';
}

static void text_encode(char *to, apr_size_t size, const char *text, int is_word)
{
    const char *end = to + size - ENCODED;

    for (; *text && to < end; text++) {
        if (text_is_plain(*text, is_word)) {
            *to++ = *text;
        } else {
            to += apr_snprintf(to, ENCODED + 1, "%%%02x", (unsigned int)(unsigned char)*text);
        }
    }
    *to = '\0';
}

static const char *text_make(apr_pool_t *pool, const char *text, int is_word)
{
    apr_size_t size = ENCODED * (strlen(text) + 1);
    char *to = apr_palloc(pool, size);

    text_encode(to, size, text, is_word);
    return to;
}

const char *acme_text_phrase(apr_pool_t *pool, const char *text)
{
    return text_make(pool, text, 0);
}

const char *acme_text_word(apr_pool_t *pool, const char *text)
{
    return text_make(pool, text, 1);
}

void acme_text_copy(char *to, apr_size_t size, const char *text)
{
    text_encode(to, size, text, 0);
}

apr_uint64_t acme_text_hash(apr_uint64_t hash, const void *bytes, apr_size_t length)
{
    const unsigned char *byte = bytes, *end = byte + length;

    for (; byte < end; byte++) {
        hash = (hash ^ *byte) * APR_UINT64_C(1099511628211);
    }
    return hash;
}
