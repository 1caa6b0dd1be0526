/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stores of a server (AcmeAlpnStore): each child's connections, and the state of a failing
 * store that all children share.
 */
#ifndef MOD_ACME_ALPN_STORE_H
#define MOD_ACME_ALPN_STORE_H

#include <httpd.h>

#include <http_config.h>

#include "mod_acme_alpn_connection.h"

/* A store as a directive names it; the same directive in several servers is one store. */
typedef struct acme_alpn_store_t acme_alpn_store_t;

/* AcmeAlpnStore: adds to the server's list (an array of acme_alpn_store_t *). Returns NULL, or
 * the error for configtest. */
const char *acme_alpn_store_configure(cmd_parms *command, apr_array_header_t *stores, int count,
                                      char *const arguments[]);

/* The store's URL without a password; and whether its last call, by any child, has failed. */
const char *acme_alpn_store_name(const acme_alpn_store_t *store);
int acme_alpn_store_is_down(const acme_alpn_store_t *store);

/* In the parent, at each start and reload, after the guard's. Returns 0, after a log line,
 * where httpd cannot start. */
int acme_alpn_store_init(apr_pool_t *config_pool, server_rec *server);

/* In a child, before its first connection. */
void acme_alpn_store_child_init(apr_pool_t *pool, const server_rec *server);

/* Asks the store, unless it timed out a moment ago, and logs a failure once a minute for all
 * children. Returns what acme_store_find does, or ACME_STORE_BUSY or ACME_STORE_BACKOFF. */
acme_error_e acme_alpn_store_ask(acme_alpn_challenge_t *challenge, acme_alpn_store_t *store,
                                 apr_pool_t *pool);

#endif
