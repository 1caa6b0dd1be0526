/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_alpn.h"

#include <string.h>

#include <apr_strings.h>

#include <openssl/ssl.h>

#include <http_connection.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_ssl.h>

#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_connection.h"
#include "mod_acme_alpn_lookup.h"
#include "mod_acme_alpn_outcome.h"

APLOG_USE_MODULE(acme_alpn);

/* The Protocols of each server */

/* alpn_allow adds this one, whose address no word of the configuration has. */
static const char added[] = ACME_ALPN_PROTOCOL;

/*
 * core's Upgrade header lists the protocols that precede the connection's own in Protocols, or
 * all of them where the list lacks that one. So http/1.1 goes before acme-tls/1. With
 * ProtocolsHonorOrder Off an added http/1.1 would change what clients negotiate, unless the
 * list is empty. There acme_alpn_alpn_hide corrects the header instead.
 */
static void alpn_allow(apr_pool_t *pool, server_rec *server)
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

static int alpn_is_added(const server_rec *server)
{
    const core_server_config *core = ap_get_core_module_config(server->module_config);
    int count = core->protocols->nelts;

    return count > 0 && APR_ARRAY_IDX(core->protocols, count - 1, const char *) == added;
}

void acme_alpn_alpn_allow(apr_pool_t *pool, server_rec *servers)
{
    for (; servers; servers = servers->next) {
        alpn_allow(pool, servers);
    }
}

int acme_alpn_alpn_hide(request_rec *r)
{
    static const char last[] = "," ACME_ALPN_PROTOCOL;
    const core_server_config *core = ap_get_core_module_config(r->server->module_config);
    const char *upgrade;
    apr_size_t length;

    if (!alpn_is_added(r->server) ||
        ap_array_str_contains(core->protocols, AP_PROTOCOL_HTTP1)) {
        return DECLINED;
    }
    upgrade = apr_table_get(r->headers_out, "Upgrade");
    length = upgrade ? strlen(upgrade) : 0;
    if (length > sizeof(last) - 1 && strcmp(upgrade + length - (sizeof(last) - 1), last) == 0) {
        apr_table_setn(r->headers_out, "Upgrade",
                       apr_pstrmemdup(r->pool, upgrade, length - (sizeof(last) - 1)));
    }
    return DECLINED;
}

/* Negotiation */

/* mod_ssl sends the alert no_application_protocol for all but OK, DONE and DECLINED. */
#define REFUSED HTTP_MISDIRECTED_REQUEST

/* NULL in an HTTP Upgrade, without TLS, after the handshake, and with AcmeAlpnEngine Off. */
static acme_alpn_connection_t *alpn_negotiating(const conn_rec *c, const request_rec *r)
{
    acme_alpn_connection_t *connection = r ? NULL : acme_alpn_connection_get(c);

    return connection && !connection->over && acme_alpn_connection_answers(connection)
               ? connection
               : NULL;
}

int acme_alpn_alpn_propose(conn_rec *c, request_rec *r, server_rec *server,
                           const apr_array_header_t *offers, apr_array_header_t *proposals)
{
    const acme_alpn_connection_t *connection = alpn_negotiating(c, r);

    (void)server;
    (void)offers;
    if (!connection || !connection->offered) {
        return DECLINED;
    }
    APR_ARRAY_PUSH(proposals, const char *) = ACME_ALPN_PROTOCOL;
    return OK;
}

int acme_alpn_alpn_withdraw(conn_rec *c, request_rec *r, server_rec *server,
                            const apr_array_header_t *offers, apr_array_header_t *proposals)
{
    const acme_alpn_connection_t *connection = alpn_negotiating(c, r);
    int from, to = 0;

    (void)offers;
    if (connection ? connection->offered : !alpn_is_added(server)) {
        return DECLINED;
    }
    for (from = 0; from < proposals->nelts; from++) {
        const char *proposal = APR_ARRAY_IDX(proposals, from, const char *);

        if (strcmp(proposal, ACME_ALPN_PROTOCOL) != 0) {
            APR_ARRAY_IDX(proposals, to++, const char *) = proposal;
        }
    }
    proposals->nelts = to;
    return OK;
}

/* httpd logs two errors for each refused protocol switch, and any client could fill the log
 * with them. So httpd stops logging for this connection. */
static void alpn_silence_log(conn_rec *c)
{
    static const struct ap_logconf silent = {NULL, APLOG_EMERG};

    c->log = &silent;
}

static int alpn_refuse(conn_rec *c, acme_alpn_connection_t *connection, acme_error_e reason)
{
    connection->refused = 1;
    acme_alpn_outcome(c, connection, ACME_RECORD_REFUSED, reason);
    alpn_silence_log(c);
    return REFUSED;
}

int acme_alpn_alpn_switch(conn_rec *c, request_rec *r, server_rec *server, const char *protocol)
{
    acme_alpn_connection_t *connection = alpn_negotiating(c, r);
    const acme_alpn_challenge_t *challenge;

    (void)server;
    if (!connection || connection->asking || strcmp(protocol, ACME_ALPN_PROTOCOL) != 0) {
        return DECLINED;
    }
    challenge = acme_alpn_lookup(c, connection);
    /* A resumed session sends no certificate, so it proves nothing. */
    if (SSL_session_reused(connection->ssl)) {
        return alpn_refuse(c, connection, ACME_SESSION_RESUMED);
    }
    c->keepalive = AP_CONN_CLOSE;
    if (connection->offered && challenge->outcome == ACME_OK) {
        connection->switched = 1;
        ap_log_cserror(APLOG_MARK, APLOG_DEBUG, 0, c, challenge->server,
                       "AALPN0205: negotiated: acme-tls/1");
        return OK;
    }
    return alpn_refuse(c, connection, challenge->outcome);
}

/* acme_alpn_modules_ask lets another module switch to acme-tls/1. mod_ssl would then skip
 * acme_alpn_alpn_switch, so this returns http/1.1 until this module has switched. */
const char *acme_alpn_alpn_get(const conn_rec *c)
{
    const acme_alpn_connection_t *connection = acme_alpn_connection_get(c);

    if (!connection || !(connection->switched || connection->asked)) {
        return NULL;
    }
    return connection->switched ? ACME_ALPN_PROTOCOL : AP_PROTOCOL_HTTP1;
}

/* Logs the result unless the handshake was refused, and its end in any case. */
static void alpn_log_end(conn_rec *c, const acme_alpn_connection_t *connection)
{
    const acme_alpn_challenge_t *challenge = connection->challenge;
    const struct ap_logconf *log = c->log;

    if (connection->complete && connection->switched) {
        acme_alpn_outcome(c, connection, ACME_RECORD_ANSWERED, ACME_OK);
    } else if (!connection->refused) {
        acme_alpn_outcome(c, connection, ACME_RECORD_INCOMPLETE, ACME_OK);
    }
    c->log = NULL;
    ap_log_cserror(APLOG_MARK, APLOG_DEBUG, 0, c,
                   challenge ? challenge->server : c->base_server,
                   "AALPN0206: closed: no application data was read or sent");
    c->log = log;
}

/* Without lingering: the client sends nothing before it has read its proof or its alert.
 * Waiting for its close_notify would hold a child of prefork for up to two seconds, and wake
 * two threads of the other MPMs. */
static void alpn_close_connection(conn_rec *c)
{
    c->keepalive = AP_CONN_CLOSE;
    ap_flush_conn(c); /* sends close_notify */
    c->aborted = 1;
    if (c->cs) {
        c->cs->state = CONN_STATE_LINGER;
    }
}

int acme_alpn_alpn_close(conn_rec *c)
{
    acme_alpn_connection_t *connection = acme_alpn_connection_get(c);

    if (!connection) {
        acme_alpn_connection_skip(c);
        return DECLINED;
    }
    if (connection->over) {
        return DECLINED;
    }
    /* Now, since mod_ssl may free the SSL during a request. */
    if (ap_ssl_conn_is_ssl(c)) {
        const server_rec *server = acme_alpn_connection_server(connection);

        connection->unserved = acme_alpn_server_get(server)->has_placeholder ? 1 : 0;
    }
    connection->over = 1;
    if (!connection->installed && !connection->refused && !connection->concerned) {
        return DECLINED;
    }
    /* The vhost's limits may have been lifted for this connection, so it ends here, whatever a
     * second ClientHello offered. */
    alpn_log_end(c, connection);
    alpn_close_connection(c);
    return DONE;
}
