#include "mod_acme_alpn_protocol.h"

#include <string.h>

#include <openssl/ssl.h>

#include <http_connection.h>
#include <http_protocol.h>
#include <http_ssl.h>

#include "mod_acme_alpn_connection.h"
#include "mod_acme_alpn_log.h"
#include "mod_acme_alpn_lookup.h"
#include "mod_acme_alpn_outcome.h"
#include "mod_acme_alpn_protocols.h"

/* mod_ssl turns whatever is not OK, DONE or DECLINED into the alert no_application_protocol. */
#define REFUSED HTTP_MISDIRECTED_REQUEST

/* NULL where the module has no say: in an HTTP Upgrade, on a connection without TLS, and where
 * the TLS is that of a vhost with AcmeAlpnEngine Off. */
static acme_alpn_connection_t *concerned(const conn_rec *c, const request_rec *r)
{
    acme_alpn_connection_t *connection = r ? NULL : acme_alpn_connection_get(c);

    return connection && !connection->over && acme_alpn_connection_answers(connection)
               ? connection
               : NULL;
}

int acme_alpn_protocol_propose(conn_rec *c, request_rec *r, server_rec *server,
                               apr_array_header_t *proposals)
{
    const acme_alpn_connection_t *connection = concerned(c, r);

    (void)server;
    if (!connection || !connection->offered) {
        return DECLINED;
    }
    APR_ARRAY_PUSH(proposals, const char *) = ACME_ALPN_PROTOCOL;
    return OK;
}

int acme_alpn_protocol_withdraw(conn_rec *c, request_rec *r, server_rec *server,
                                apr_array_header_t *proposals)
{
    const acme_alpn_connection_t *connection = concerned(c, r);
    int from, to = 0;

    if (connection ? connection->offered : !acme_alpn_protocols_are_ours(server)) {
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

static int refuse(conn_rec *c, acme_alpn_connection_t *connection, acme_error_e reason)
{
    connection->refused = 1;
    acme_alpn_outcome(c, connection, ACME_RECORD_REFUSED, reason);
    acme_alpn_log_silence(c);
    return REFUSED;
}

int acme_alpn_protocol_switch(conn_rec *c, request_rec *r, server_rec *server,
                              const char *protocol)
{
    acme_alpn_connection_t *connection = concerned(c, r);
    const acme_alpn_challenge_t *challenge;

    (void)server;
    if (!connection || connection->asking || strcmp(protocol, ACME_ALPN_PROTOCOL) != 0) {
        return DECLINED;
    }
    challenge = acme_alpn_lookup(c, connection);
    /* A session that is resumed sends no certificate, so it would prove nothing. */
    if (SSL_session_reused(connection->ssl)) {
        return refuse(c, connection, ACME_SESSION_RESUMED);
    }
    c->keepalive = AP_CONN_CLOSE;
    if (connection->offered && challenge->outcome == ACME_OK) {
        connection->switched = 1;
        acme_alpn_log_negotiated(c, challenge);
        return OK;
    }
    return refuse(c, connection, challenge->outcome);
}

/* Another module may have taken acme-tls/1 when it was asked for a challenge; mod_ssl would
 * then find it negotiated, and would not ask us. */
const char *acme_alpn_protocol_get(const conn_rec *c)
{
    const acme_alpn_connection_t *connection = acme_alpn_connection_get(c);

    if (!connection || !(connection->switched || connection->asked)) {
        return NULL;
    }
    return connection->switched ? ACME_ALPN_PROTOCOL : AP_PROTOCOL_HTTP1;
}

/* Say what became of a handshake that was not refused. */
static void say_end(conn_rec *c, const acme_alpn_connection_t *connection)
{
    if (connection->complete && connection->switched) {
        acme_alpn_outcome(c, connection, ACME_RECORD_ANSWERED, ACME_OK);
    } else if (!connection->refused) {
        acme_alpn_outcome(c, connection, ACME_RECORD_INCOMPLETE, ACME_OK);
    }
}

/* Whether the client came for a challenge. If so, the vhost's limits may have been lifted, and
 * nothing else is to come of the connection, whatever a second ClientHello offers. */
static int is_about_challenge(const acme_alpn_connection_t *connection)
{
    return connection->installed || connection->refused || connection->concerned;
}

/* Without lingering: the client has its proof or its alert, and sends nothing before it has
 * read that. To wait for its close_notify would hold a child of prefork for up to two seconds,
 * and wake two threads of the other MPMs. */
static void close_at_once(conn_rec *c)
{
    c->keepalive = AP_CONN_CLOSE;
    ap_flush_conn(c); /* sends our close_notify */
    c->aborted = 1;
    if (c->cs) {
        c->cs->state = CONN_STATE_LINGER;
    }
}

int acme_alpn_protocol_close(conn_rec *c)
{
    acme_alpn_connection_t *connection = acme_alpn_connection_get(c);

    if (!connection) {
        acme_alpn_connection_forgo(c);
        return DECLINED;
    }
    if (connection->over) {
        return DECLINED;
    }
    /* Only now: mod_ssl may end the SSL under a request's feet. */
    if (ap_ssl_conn_is_ssl(c)) {
        connection->unserved = acme_alpn_connection_has_placeholder(connection) ? 1 : 0;
    }
    connection->over = 1;
    if (!is_about_challenge(connection)) {
        return DECLINED;
    }
    say_end(c, connection);
    acme_alpn_log_closed(c, connection->challenge);
    close_at_once(c);
    return DONE;
}
