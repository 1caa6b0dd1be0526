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

/* What alpn_allow adds: its address tells it from what the administrator wrote. */
static const char added[] = ACME_ALPN_PROTOCOL;

/*
 * core announces in the Upgrade header what stands before the protocol of the connection in the
 * list, or the whole list where that protocol is not in it. So http/1.1 goes before acme-tls/1.
 * That changes nothing else where the list is empty, which allows http/1.1 alone, or where the
 * server's order counts; with ProtocolsHonorOrder Off a client that prefers http/1.1 to what
 * the list has would now get it, so there the header is mended instead.
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

/* mod_ssl turns whatever is not OK, DONE or DECLINED into the alert no_application_protocol. */
#define REFUSED HTTP_MISDIRECTED_REQUEST

/* NULL where the module has no say: in an HTTP Upgrade, on a connection without TLS, and where
 * the TLS is that of a vhost with AcmeAlpnEngine Off. */
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

/* From here on httpd logs nothing about this connection: it has two lines at level error for
 * each protocol switch that is refused, and any client could fill the log with them. */
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
    /* A session that is resumed sends no certificate, so it would prove nothing. */
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

/* acme_alpn_modules_ask lets another module switch to acme-tls/1. mod_ssl would then find it
 * negotiated, and not call acme_alpn_alpn_switch. So this says http/1.1 until this module has
 * switched. */
const char *acme_alpn_alpn_get(const conn_rec *c)
{
    const acme_alpn_connection_t *connection = acme_alpn_connection_get(c);

    if (!connection || !(connection->switched || connection->asked)) {
        return NULL;
    }
    return connection->switched ? ACME_ALPN_PROTOCOL : AP_PROTOCOL_HTTP1;
}

/* Say what became of a handshake that was not refused, and, also where the log is silenced,
 * that the connection ends with it. */
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

/* Without lingering: the client has its proof or its alert, and sends nothing before it has
 * read that. To wait for its close_notify would hold a child of prefork for up to two seconds,
 * and wake two threads of the other MPMs. */
static void alpn_close_connection(conn_rec *c)
{
    c->keepalive = AP_CONN_CLOSE;
    ap_flush_conn(c); /* sends our close_notify */
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
    /* While there is an SSL: mod_ssl may free it during a request. */
    if (ap_ssl_conn_is_ssl(c)) {
        const server_rec *server = acme_alpn_connection_server(connection);

        connection->unserved = acme_alpn_server_get(server)->has_placeholder ? 1 : 0;
    }
    connection->over = 1;
    if (!connection->installed && !connection->refused && !connection->concerned) {
        return DECLINED;
    }
    /* The client came for a challenge, so the vhost's limits may have been lifted. Nothing else
     * is to come of the connection, whatever a second ClientHello offered. */
    alpn_log_end(c, connection);
    alpn_close_connection(c);
    return DONE;
}
