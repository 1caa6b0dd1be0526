#include "mod_acme_alpn_protocols.h"

#include <string.h>

#include <apr_strings.h>

#include <http_core.h>
#include <http_protocol.h>

#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_connection.h"

/* What `allow` adds: its address tells it from what the administrator wrote. */
static const char added[] = ACME_ALPN_PROTOCOL;

/*
 * core announces in the Upgrade header what stands before the protocol of the connection in the
 * list, or the whole list where that protocol is not in it. So http/1.1 goes before acme-tls/1.
 * That changes nothing else where the list is empty, which allows http/1.1 alone, or where the
 * server's order counts; with ProtocolsHonorOrder Off a client that prefers http/1.1 to what
 * the list has would now get it, so there the header is mended instead.
 */
static void allow(apr_pool_t *pool, server_rec *server)
{
    core_server_config *core = ap_get_core_module_config(server->module_config);
    int has_http1 = ap_array_str_contains(core->protocols, AP_PROTOCOL_HTTP1);
    int honors_order = core->protocols_honor_order != 0;

    if (ap_array_str_contains(core->protocols, ACME_ALPN_PROTOCOL)) {
        return;
    }
    core->protocols = apr_array_copy(pool, core->protocols);
    if (!has_http1 && (honors_order || core->protocols->nelts == 0)) {
        APR_ARRAY_PUSH(core->protocols, const char *) = AP_PROTOCOL_HTTP1;
    }
    APR_ARRAY_PUSH(core->protocols, const char *) = added;
}

static int is_added(const apr_array_header_t *protocols)
{
    return protocols->nelts > 0 &&
           APR_ARRAY_IDX(protocols, protocols->nelts - 1, const char *) == added;
}

void acme_alpn_protocols_allow(apr_pool_t *pool, server_rec *servers)
{
    server_rec *server;

    for (server = servers; server; server = server->next) {
        allow(pool, server);
    }
}

int acme_alpn_protocols_are_ours(const server_rec *server)
{
    const core_server_config *core = ap_get_core_module_config(server->module_config);

    return is_added(core->protocols);
}

void acme_alpn_protocols_hide(request_rec *r)
{
    static const char last[] = "," ACME_ALPN_PROTOCOL;
    const core_server_config *core = ap_get_core_module_config(r->server->module_config);
    const char *upgrade;
    apr_size_t length;

    if (!is_added(core->protocols) ||
        ap_array_str_contains(core->protocols, AP_PROTOCOL_HTTP1)) {
        return;
    }
    upgrade = apr_table_get(r->headers_out, "Upgrade");
    length = upgrade ? strlen(upgrade) : 0;
    if (length > sizeof(last) - 1 && strcmp(upgrade + length - (sizeof(last) - 1), last) == 0) {
        apr_table_setn(r->headers_out, "Upgrade",
                       apr_pstrmemdup(r->pool, upgrade, length - (sizeof(last) - 1)));
    }
}
