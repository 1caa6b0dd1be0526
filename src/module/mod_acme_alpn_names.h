/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of all servers, from ServerName and ServerAlias.
 */
#ifndef MOD_ACME_ALPN_NAMES_H
#define MOD_ACME_ALPN_NAMES_H

#include <httpd.h>

#include "acme_identifier.h"

typedef struct acme_alpn_names_t acme_alpn_names_t;

/* In post_config, when httpd has set the names of all vhosts. Allocated from `pool`. */
acme_alpn_names_t *acme_alpn_names_make(apr_pool_t *pool, const server_rec *servers);

/* Whether one of the names is the identifier, or a wildcard that httpd would match with it. */
int acme_alpn_names_have(const acme_alpn_names_t *names, const acme_identifier_t *identifier);

#endif
