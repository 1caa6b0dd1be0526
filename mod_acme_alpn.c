/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_acme_alpn answers ACME's tls-alpn-01 challenges (RFC 8737, RFC 8738) in mod_ssl's TLS
 * vhosts, from a spool directory.
 *
 * This file holds the module record and the hooks. mod_acme_alpn_cert_callback.c, in
 * src/module, describes the path of a handshake.
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

/* Arrays of server_rec *: the TLS vhosts that answer challenges, and all TLS vhosts. */
static apr_array_header_t *vhosts, *tls_vhosts;

static int hook_pre_config(apr_pool_t *config_pool, apr_pool_t *log_pool, apr_pool_t *temp_pool)
{
    (void)log_pool;
    (void)temp_pool;
    vhosts = apr_array_make(config_pool, 8, sizeof(server_rec *));
    tls_vhosts = apr_array_make(config_pool, 8, sizeof(server_rec *));
    return OK;
}

/* For configtest, where no module can tell yet which servers have TLS. */
static apr_array_header_t *hook_answering_servers(apr_pool_t *pool, server_rec *server)
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
        acme_alpn_check_spools(temp_pool, server, hook_answering_servers(temp_pool, server));
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

/* Memory that all processes share. Returns 0, after a log line, where httpd cannot start. */
static int hook_init_shared(apr_pool_t *config_pool, server_rec *server)
{
    return acme_alpn_log_init(server) && acme_alpn_guard_init(config_pool, server) &&
           acme_alpn_store_init(config_pool, server) &&
           acme_alpn_relay_init(config_pool, server, vhosts);
}

/* The status page needs these on a server without TLS vhosts, too. */
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
    /* First, ahead of mod_md, which accepts acme-tls/1 for any name. */
    ap_hook_protocol_propose(acme_alpn_alpn_propose, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_protocol_switch(acme_alpn_alpn_switch, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_protocol_get(acme_alpn_alpn_get, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_ssl_answer_challenge(acme_alpn_modules_exclude, NULL, NULL, APR_HOOK_FIRST);

    /* Last, after all other proposals. */
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

    /* Before mod_watchdog starts the watch's thread. */
    ap_hook_child_init(hook_child_init, NULL, before_watchdog, APR_HOOK_MIDDLE);

    /* Last: mod_ssl calls init_server in its own post_config, and mod_md changes the challenge
     * type of its domains where it finds acme-tls/1 in Protocols. */
    ap_hook_post_config(hook_post_config, after_ssl_and_md, NULL, APR_HOOK_REALLY_LAST);

    /* After mod_ssl's calls of init_server, before mod_watchdog sets up its callbacks. */
    ap_hook_post_config(hook_start_watch, NULL, before_watchdog, APR_HOOK_LAST);

    APR_OPTIONAL_HOOK(ssl, init_server, hook_init_server, NULL, NULL, APR_HOOK_MIDDLE);
    APR_OPTIONAL_HOOK(ssl, pre_handshake, hook_pre_handshake, NULL, NULL, APR_HOOK_MIDDLE);

    hook_register_protocol_hooks();

    /* After mod_ssl's hook, which runs the handshake, and before all that read from a
     * connection. APR_HOOK_FIRST would pull mod_ssl's hook ahead of mod_reqtimeout's. */
    ap_hook_process_connection(acme_alpn_alpn_close, ssl, NULL, APR_HOOK_MIDDLE - 1);

    /* Last, so that mod_md serves its own domains: mod_ssl stops at the first answer. */
    ap_hook_ssl_add_fallback_cert_files(acme_alpn_placeholder_add, NULL, NULL, APR_HOOK_LAST);

    /* Before mod_ssl's hook, whose 503 has no explanation and depends on the SNI. */
    ap_hook_post_read_request(acme_alpn_placeholder_refuse, NULL, ssl, APR_HOOK_MIDDLE);

    /* Right after core, which sets the Upgrade header in these two hooks at REALLY_FIRST. As a
     * predecessor, core would also mean its last handler, which writes the response. */
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
