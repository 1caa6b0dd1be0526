#include "acme-alpn.h"

#include <stdio.h>

#include <apr_lib.h>
#include <apr_strings.h>

const char *acme_alpn_printable(apr_pool_t *pool, const char *text)
{
    char *copy = apr_pstrdup(pool, text), *character;

    for (character = copy; *character; character++) {
        if (!apr_isascii(*character) || !apr_isprint(*character)) {
            *character = '?';
        }
    }
    return copy;
}

json_t *acme_alpn_json_text(apr_pool_t *pool, const char *text)
{
    json_t *made = json_string(text);

    return made ? made : json_string(acme_alpn_printable(pool, text));
}

int acme_alpn_print_json(json_t *document)
{
    int done = json_dumpf(document, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER) == 0;

    putchar('\n');
    json_decref(document);
    return done;
}
