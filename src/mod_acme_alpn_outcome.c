#include "mod_acme_alpn_outcome.h"

#include <string.h>

#include <apr_strings.h>

#include "mod_acme_alpn_log.h"
#include "mod_acme_alpn_record.h"
#include "mod_acme_alpn_trace.h"

/* Beyond an hour it does not matter any more, and the clock may have been set. */
#define DURATION_MAX apr_time_from_sec(60 * 60)

void acme_alpn_outcome_begin(const conn_rec *c, acme_alpn_connection_t *connection)
{
    if (!connection->begun) {
        connection->begun = apr_time_now();
        acme_alpn_trace_offered(c);
    }
}

static apr_uint32_t duration(apr_time_t begun, apr_time_t ended)
{
    apr_interval_time_t took = begun ? ended - begun : 0;

    return took < 0 ? 0 : (apr_uint32_t)(took > DURATION_MAX ? DURATION_MAX : took);
}

static void describe_peer(acme_record_row_t *row, const conn_rec *c)
{
    int is_ipv6 = strchr(c->client_ip, ':') != NULL;

    apr_snprintf(row->peer, sizeof(row->peer), is_ipv6 ? "[%s]:%d" : "%s:%d", c->client_ip,
                 (int)c->client_addr->port);
}

static void describe_challenge(acme_record_row_t *row, const acme_alpn_challenge_t *challenge)
{
    row->is_identifier = challenge->identifier.name[0] != '\0';
    if (row->is_identifier) {
        apr_cpystrn(row->name, challenge->identifier.name, sizeof(row->name));
    } else if (challenge->sni) {
        apr_cpystrn(row->name, challenge->sni, sizeof(row->name));
    }
    if (challenge->server->server_hostname) {
        apr_cpystrn(row->vhost, challenge->server->server_hostname, sizeof(row->vhost));
    }
    apr_cpystrn(row->tls, challenge->tls, sizeof(row->tls));
    row->source = challenge->source;
    row->key_type = challenge->key_type;
}

/* It ended before the certificate callback. */
static void describe_hello(acme_record_row_t *row, const acme_alpn_connection_t *connection)
{
    if (connection->sni) {
        apr_cpystrn(row->name, connection->sni, sizeof(row->name));
    }
}

void acme_alpn_outcome(conn_rec *c, const acme_alpn_connection_t *connection,
                       acme_record_outcome_e outcome, acme_error_e reason)
{
    acme_record_row_t row;

    memset(&row, 0, sizeof(row));
    row.outcome = outcome;
    row.reason = reason;
    row.ended = apr_time_now();
    row.duration = duration(connection->begun, row.ended);
    describe_peer(&row, c);
    row.alert = connection->alert;
    row.alert_sent = connection->alert_sent;
    if (connection->challenge) {
        describe_challenge(&row, connection->challenge);
    } else {
        describe_hello(&row, connection);
    }
    acme_record_add(acme_alpn_record_get(), &row);
    acme_alpn_log_outcome(c, connection->challenge, &row);
}

const char *acme_alpn_outcome_alert_by(const acme_record_row_t *row)
{
    if (!row->alert) {
        return "";
    }
    return row->alert_sent ? "server" : "client";
}

const char *acme_alpn_outcome_end(apr_pool_t *pool, const acme_record_row_t *row)
{
    if (!row->alert) {
        return "the client went away before the handshake was complete, or took too long";
    }
    return apr_psprintf(pool, "%s ended the handshake with the alert %s (%d)",
                        row->alert_sent ? "this server" : "the client",
                        SSL_alert_desc_string_long(row->alert), row->alert);
}

const char *acme_alpn_outcome_tag(acme_record_outcome_e outcome)
{
    static const char *const tags[ACME_RECORD_OUTCOMES] = {"AALPN0101", "AALPN0102",
                                                           "AALPN0103"};

    return tags[outcome];
}
