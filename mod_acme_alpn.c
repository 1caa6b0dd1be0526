/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_acme_alpn: answers ACME's tls-alpn-01 challenges (RFC 8737, RFC 8738) from a spool
 * directory, in the TLS vhosts of mod_ssl.
 *
 * This file only wires: the module record, the directives and the hooks. What a handshake goes
 * through is told in src/module/mod_acme_alpn_cert_callback.c and
 * src/module/mod_acme_alpn_alpn.c.
 */
#include "mod_acme_alpn_ssl.h"

#include <http_config.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <http_ssl.h>
#include <mod_status.h>

#include <apr_optional_hooks.h>

#include "acme_version.h"
#include "mod_acme_alpn_alpn.h"
#include "mod_acme_alpn_certificates.h"
#include "mod_acme_alpn_check.h"
#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_directives.h"
#include "mod_acme_alpn_guard.h"
#include "mod_acme_alpn_cert_callback.h"
#include "mod_acme_alpn_client_hello.h"
#include "mod_acme_alpn_limits.h"
#include "mod_acme_alpn_log.h"
#include "mod_acme_alpn_modules.h"
#include "mod_acme_alpn_placeholder.h"
#include "mod_acme_alpn_outcome.h"
#include "mod_acme_alpn_store.h"
#include "mod_acme_alpn_relay.h"
#include "mod_acme_alpn_report.h"
#include "mod_acme_alpn_status.h"
#include "mod_acme_alpn_watch.h"

APLOG_USE_MODULE(acme_alpn);

/* The TLS vhosts of this configuration that answer challenges: of server_rec *. */
static apr_array_header_t *vhosts;

/* All TLS vhosts, for the status page. */
static apr_array_header_t *tls_vhosts;

static int hook_pre_config(apr_pool_t *config_pool, apr_pool_t *log_pool, apr_pool_t *temp_pool)
{
    (void)log_pool;
    (void)temp_pool;
    vhosts = apr_array_make(config_pool, 8, sizeof(server_rec *));
    tls_vhosts = apr_array_make(config_pool, 8, sizeof(server_rec *));
    return OK;
}

/* At configtest, when it is not known which of them have TLS. */
static apr_array_header_t *hook_all_that_answer(apr_pool_t *pool, server_rec *server)
{
    apr_array_header_t *found = apr_array_make(pool, 8, sizeof(server_rec *));

    for (; server; server = server->next) {
        if (acme_alpn_server_answers(server)) {
            APR_ARRAY_PUSH(found, server_rec *) = server;
        }
    }
    return found;
}

static int hook_check_config(apr_pool_t *config_pool, apr_pool_t *log_pool,
                             apr_pool_t *temp_pool, server_rec *server)
{
    (void)config_pool;
    (void)log_pool;
    if (ap_state_query(AP_SQ_RUN_MODE) == AP_SQ_RM_CONFIG_TEST) {
        acme_alpn_check_spools(temp_pool, server, hook_all_that_answer(temp_pool, server));
        acme_alpn_placeholder_check(temp_pool, server);
    }
    return acme_alpn_check_openssl(temp_pool, server) ? OK : HTTP_INTERNAL_SERVER_ERROR;
}

/* mod_ssl calls this for each TLS vhost, in its own post_config. */
static int hook_init_server(server_rec *server, apr_pool_t *pool, int is_proxy,
                            SSL_CTX *context)
{
    if (is_proxy) {
        return DECLINED;
    }
    acme_alpn_cert_callback_set(context);
    acme_alpn_limits_prepare(pool, context);
    APR_ARRAY_PUSH(tls_vhosts, server_rec *) = server;
    if (acme_alpn_server_answers(server)) {
        APR_ARRAY_PUSH(vhosts, server_rec *) = server;
    }
    return OK;
}

static int hook_start_watch(apr_pool_t *config_pool, apr_pool_t *log_pool,
                            apr_pool_t *temp_pool, server_rec *server)
{
    (void)log_pool;
    (void)temp_pool;
    (void)server;
    if (ap_state_query(AP_SQ_CONFIG_GEN) != ACME_ALPN_FIRST_OF_START && vhosts->nelts > 0) {
        acme_alpn_watch_init(config_pool, vhosts);
    }
    return OK;
}

/* What all processes share. Returns whether httpd can start; if not, the log says why. */
static int hook_init_shared(apr_pool_t *config_pool, server_rec *server)
{
    return acme_alpn_log_init(server) && acme_alpn_guard_init(config_pool, server) &&
           acme_alpn_store_init(config_pool, server) &&
           acme_alpn_relay_init(config_pool, server, vhosts);
}

/* For the status page, whether or not there is a TLS vhost. */
static int hook_init_report(server_rec *server)
{
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, server,
                 "AALPN0009: mod_acme_alpn/" ACME_VERSION ", built with " OPENSSL_VERSION_TEXT);
    if (!ap_find_linked_module("mod_ssl.c")) {
        ap_log_error(
            APLOG_MARK, APLOG_NOTICE, 0, server,
            "AALPN0001: mod_ssl is not loaded, so httpd answers no challenge; load it");
    }
    acme_alpn_report_init(tls_vhosts);
    return acme_alpn_record_init(server);
}

static int hook_post_config(apr_pool_t *config_pool, apr_pool_t *log_pool,
                            apr_pool_t *temp_pool, server_rec *server)
{
    int generation = ap_state_query(AP_SQ_CONFIG_GEN);

    (void)log_pool;
    if (generation != ACME_ALPN_FIRST_OF_START && !hook_init_report(server)) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (vhosts->nelts == 0) {
        return OK;
    }
    if (!hook_init_shared(config_pool, server)) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (generation != ACME_ALPN_SECOND_OF_START) {
        acme_alpn_check_spools(temp_pool, server, vhosts);
    }
    if (generation != ACME_ALPN_FIRST_OF_START) {
        acme_alpn_alpn_allow(config_pool, server);
    }
    return OK;
}

static void hook_child_init(apr_pool_t *pool, server_rec *server)
{
    if (vhosts->nelts > 0) {
        acme_alpn_certificates_child_init(pool, server);
        acme_alpn_store_child_init(pool, server);
        acme_alpn_relay_child_init(server);
    }
}

static int hook_pre_handshake(conn_rec *c, SSL *ssl, int is_proxy)
{
    if (is_proxy || vhosts->nelts == 0) {
        return DECLINED;
    }
    acme_alpn_client_hello_watch(c, ssl);
    return OK;
}

static void hook_register_protocol_hooks(void)
{
    /* First, ahead of mod_md, which would take acme-tls/1 for any name. */
    ap_hook_protocol_propose(acme_alpn_alpn_propose, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_protocol_switch(acme_alpn_alpn_switch, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_protocol_get(acme_alpn_alpn_get, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_ssl_answer_challenge(acme_alpn_modules_exclude, NULL, NULL, APR_HOOK_FIRST);

    /* Last, when all proposals are there. */
    ap_hook_protocol_propose(acme_alpn_alpn_withdraw, NULL, NULL, APR_HOOK_REALLY_LAST);
}

static void register_hooks(apr_pool_t *pool)
{
    static const char *const ssl[] = {"mod_ssl.c", NULL};
    static const char *const before_watchdog[] = {"mod_watchdog.c", NULL};
    static const char *const after_ssl_and_md[] = {"mod_ssl.c", "mod_md.c", NULL};

    (void)pool;
    ap_hook_pre_config(hook_pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(hook_check_config, NULL, NULL, APR_HOOK_MIDDLE);

    /* Before mod_watchdog's, which starts the thread of the watch. */
    ap_hook_child_init(hook_child_init, NULL, before_watchdog, APR_HOOK_MIDDLE);

    /* Last, since mod_ssl calls init_server in its own, and since mod_md would change the
     * challenge type of its domains if it saw acme-tls/1 in the Protocols. */
    ap_hook_post_config(hook_post_config, after_ssl_and_md, NULL, APR_HOOK_REALLY_LAST);

    /* When mod_ssl has told of its vhosts, and before mod_watchdog makes what its callbacks
     * need, at the same place. */
    ap_hook_post_config(hook_start_watch, NULL, before_watchdog, APR_HOOK_LAST);

    APR_OPTIONAL_HOOK(ssl, init_server, hook_init_server, NULL, NULL, APR_HOOK_MIDDLE);
    APR_OPTIONAL_HOOK(ssl, pre_handshake, hook_pre_handshake, NULL, NULL, APR_HOOK_MIDDLE);

    hook_register_protocol_hooks();

    /* After mod_ssl's hook, in which the handshake takes place, and before all others that take
     * a connection and read from it. Not at APR_HOOK_FIRST, where mod_ssl's would be drawn
     * along and come before mod_reqtimeout's, which limits the time of the handshake. */
    ap_hook_process_connection(acme_alpn_alpn_close, ssl, NULL, APR_HOOK_MIDDLE - 1);

    /* Last, so that mod_md gives its own domains what it has for them: mod_ssl asks no further.
     */
    ap_hook_ssl_add_fallback_cert_files(acme_alpn_placeholder_add, NULL, NULL, APR_HOOK_LAST);

    /* Before mod_ssl's hook, which would say 503 without an explanation, or nothing at all to a
     * client that named no server. */
    ap_hook_post_read_request(acme_alpn_placeholder_refuse, NULL, ssl, APR_HOOK_MIDDLE);

    /* Right after core, which sets the Upgrade header in these two hooks at
     * APR_HOOK_REALLY_FIRST, and before a handler that writes the response. (core as a
     * predecessor would not do: that means all of its hooks, and its last handler writes the
     * response.) */
    ap_hook_map_to_storage(acme_alpn_alpn_hide, NULL, NULL, APR_HOOK_REALLY_FIRST + 1);
    ap_hook_handler(acme_alpn_status_handler, NULL, NULL, APR_HOOK_MIDDLE);
    APR_OPTIONAL_HOOK(ap, status_hook, acme_alpn_status_section, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(acme_alpn_alpn_hide, NULL, NULL, APR_HOOK_REALLY_FIRST + 1);
}

module AP_MODULE_DECLARE_DATA acme_alpn_module = {
    STANDARD20_MODULE_STUFF,
    NULL, /* per-directory configuration */
    NULL,
    acme_alpn_server_create,
    acme_alpn_server_merge,
    acme_alpn_directives,
    register_hooks,
#if defined(AP_MODULE_FLAG_NONE)
    AP_MODULE_FLAG_NONE,
#endif
};
