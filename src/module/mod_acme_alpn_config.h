/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of a server. A vhost inherits from the main server what it does not set.
 */
#ifndef MOD_ACME_ALPN_CONFIG_H
#define MOD_ACME_ALPN_CONFIG_H

#include <httpd.h>
#include <http_config.h>

#include "acme_spool.h"

extern module AP_MODULE_DECLARE_DATA acme_alpn_module;

/* Values of ap_state_query(AP_SQ_CONFIG_GEN). A start configures httpd twice, and detaches in
 * between. apachectl then expects the pid file, so slow work belongs into the first pass. */
enum { ACME_ALPN_FIRST_OF_START, ACME_ALPN_SECOND_OF_START };

typedef struct {
    /* As configured: NULL or -1 where the server does not set it. */
    int engine;
    const char *spool_directory;
    apr_interval_time_t max_age;
    const char *accounts;          /* see acme_digest.h */
    apr_array_header_t *stores;    /* of acme_alpn_store_t *, in their order */
    apr_array_header_t *upstreams; /* of acme_alpn_upstream_t * */
    int placeholder;
    int has_certificate; /* by SSLOpenSSLConfCmd */

    /* Set in post_config: the vhost has the placeholder certificate. */
    int has_placeholder;
} acme_alpn_server_t;

void *acme_alpn_server_create(apr_pool_t *pool, server_rec *server);
void *acme_alpn_server_merge(apr_pool_t *pool, void *base, void *vhost);

acme_alpn_server_t *acme_alpn_server_get(const server_rec *server);

/* Whether this server answers acme-tls/1 (AcmeAlpnEngine). */
int acme_alpn_server_answers(const server_rec *server);

/* Whether it gets a placeholder certificate if it has no other (AcmeAlpnPlaceholder). */
int acme_alpn_server_wants_placeholder(const server_rec *server);

/* The spool of this server, with the defaults filled in. */
acme_spool_t acme_alpn_server_spool(const server_rec *server);

#endif
