/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared stores of a server (AcmeAlpnStore): the connections of each child, and what all
 * children know of a store that fails.
 */
#ifndef MOD_ACME_ALPN_STORE_H
#define MOD_ACME_ALPN_STORE_H

#include <httpd.h>

#include <http_config.h>

#include "mod_acme_alpn_connection.h"

/* A store as a directive names it; the same directive in several servers is one store. */
typedef struct acme_alpn_store_t acme_alpn_store_t;

/* AcmeAlpnStore in the server's list (an array of acme_alpn_store_t *). Returns NULL, or what
 * is wrong, for configtest. */
const char *acme_alpn_store_configure(cmd_parms *command, apr_array_header_t *stores, int count,
                                      char *const arguments[]);

/* The store's URL as it may be shown, and whether its last call, by any child, has failed. */
const char *acme_alpn_store_name(const acme_alpn_store_t *store);
int acme_alpn_store_is_down(const acme_alpn_store_t *store);

/* In the parent, at each start and reload, after the guard's. Returns whether httpd can start.
 */
int acme_alpn_store_init(apr_pool_t *config_pool, server_rec *server);

/* In a child, before its first connection. */
void acme_alpn_store_child_init(apr_pool_t *pool, const server_rec *server);

/* Ask the store, unless it timed out a moment ago; a failure is logged, once a minute for all
 * children. Returns what acme_store_find does, or ACME_STORE_BUSY or ACME_STORE_BACKOFF. */
acme_error_e acme_alpn_store_ask(acme_alpn_challenge_t *challenge, acme_alpn_store_t *store,
                                 apr_pool_t *pool);

#endif
