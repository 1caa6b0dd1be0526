/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_names.h"

#include <string.h>

#include <apr_hash.h>
#include <apr_strings.h>

#include <http_config.h>

struct acme_alpn_names_t {
    apr_hash_t *exact;        /* canonical forms */
    apr_array_header_t *wild; /* patterns, const char * */
};

/* httpd keeps the brackets of an IPv6 address. A name that is no identifier never matches. */
static void names_add(acme_alpn_names_t *names, apr_pool_t *pool, const char *name)
{
    apr_size_t length = strlen(name);
    acme_identifier_t identifier;

    if (length > 2 && name[0] == '[' && name[length - 1] == ']') {
        name = apr_pstrmemdup(pool, name + 1, length - 2);
    }
    if (acme_identifier_from_text(&identifier, name) == ACME_OK) {
        apr_hash_set(names->exact, apr_pstrdup(pool, identifier.name), APR_HASH_KEY_STRING, "");
    }
}

static void names_add_server(acme_alpn_names_t *names, apr_pool_t *pool,
                             const server_rec *server)
{
    int i;

    if (server->server_hostname) {
        names_add(names, pool, server->server_hostname);
    }
    for (i = 0; server->names && i < server->names->nelts; i++) {
        if (APR_ARRAY_IDX(server->names, i, const char *)) {
            names_add(names, pool, APR_ARRAY_IDX(server->names, i, const char *));
        }
    }
    for (i = 0; server->wild_names && i < server->wild_names->nelts; i++) {
        if (APR_ARRAY_IDX(server->wild_names, i, const char *)) {
            APR_ARRAY_PUSH(names->wild, const char *) =
                APR_ARRAY_IDX(server->wild_names, i, const char *);
        }
    }
}

acme_alpn_names_t *acme_alpn_names_make(apr_pool_t *pool, const server_rec *servers)
{
    acme_alpn_names_t *names = apr_palloc(pool, sizeof(*names));

    names->exact = apr_hash_make(pool);
    names->wild = apr_array_make(pool, 4, sizeof(const char *));
    for (; servers; servers = servers->next) {
        names_add_server(names, pool, servers);
    }
    return names;
}

int acme_alpn_names_have(const acme_alpn_names_t *names, const acme_identifier_t *identifier)
{
    int i;

    if (apr_hash_get(names->exact, identifier->name, APR_HASH_KEY_STRING)) {
        return 1;
    }
    for (i = 0; i < names->wild->nelts; i++) {
        if (ap_strcasecmp_match(identifier->name,
                                APR_ARRAY_IDX(names->wild, i, const char *)) == 0) {
            return 1;
        }
    }
    return 0;
}
