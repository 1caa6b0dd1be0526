#include "acme_text.h"

#include <string.h>

#include <apr_strings.h>

/* The longest that one byte becomes. */
#define ENCODED 3

static void text_encode(char *to, apr_size_t size, const char *text, char first)
{
    const char *end = to + size - ENCODED;

    for (; *text && to < end; text++) {
        if (*text >= first && *text <= '~' && *text != '%') {
            *to++ = *text;
        } else {
            to += apr_snprintf(to, ENCODED + 1, "%%%02x", (unsigned int)(unsigned char)*text);
        }
    }
    *to = '\0';
}

static const char *text_make(apr_pool_t *pool, const char *text, char first)
{
    apr_size_t size = ENCODED * (strlen(text) + 1);
    char *to = apr_palloc(pool, size);

    text_encode(to, size, text, first);
    return to;
}

const char *acme_text_phrase(apr_pool_t *pool, const char *text)
{
    return text_make(pool, text, ' ');
}

const char *acme_text_word(apr_pool_t *pool, const char *text)
{
    return text_make(pool, text, '!');
}

void acme_text_copy(char *to, apr_size_t size, const char *text)
{
    text_encode(to, size, text, ' ');
}
