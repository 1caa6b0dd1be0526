/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_outcome.h"

#include <string.h>

#include <apr_strings.h>

#include <http_log.h>

#include "acme_text.h"
#include "acme_version.h"
#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_log.h"
#include "mod_acme_alpn_shm.h"

APLOG_USE_MODULE(acme_alpn);

/* A longer duration means that the clock was set. */
#define DURATION_MAX apr_time_from_sec(60 * 60)

static acme_record_t *outcome_record;

int acme_alpn_record_init(server_rec *server)
{
    /* By version: after a reload another one may give other meanings to the numbers. */
    outcome_record = acme_alpn_shm_get(server, "record:" ACME_VERSION, acme_record_size());
    if (outcome_record) {
        acme_record_begin(outcome_record, apr_time_now());
    }
    return outcome_record != NULL;
}

acme_record_t *acme_alpn_record_get(void)
{
    return outcome_record;
}

void acme_alpn_outcome_begin(const conn_rec *c, acme_alpn_connection_t *connection)
{
    if (!connection->begun) {
        connection->begun = apr_time_now();
        ap_log_cserror(APLOG_MARK, APLOG_DEBUG, 0, c, c->base_server,
                       "AALPN0201: ClientHello: offers acme-tls/1 and nothing else");
    }
}

static apr_uint32_t outcome_duration(apr_time_t begun, apr_time_t ended)
{
    apr_interval_time_t took = begun ? ended - begun : 0;

    return took < 0 ? 0 : (apr_uint32_t)(took > DURATION_MAX ? DURATION_MAX : took);
}

static void outcome_describe_challenge(acme_record_row_t *row,
                                       const acme_alpn_challenge_t *challenge)
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

const char *acme_alpn_outcome_end(apr_pool_t *pool, const acme_record_row_t *row)
{
    if (!row->alert) {
        return "the client closed the connection in the handshake, or the handshake timed out";
    }
    return apr_psprintf(pool, "%s ended the handshake with the alert %s (%d)",
                        row->alert_sent ? "this server" : "the client",
                        SSL_alert_desc_string_long(row->alert), row->alert);
}

/* The line */

static acme_alpn_limit_e outcome_limit(const acme_alpn_challenge_t *challenge,
                                       acme_error_e reason)
{
    if (acme_error_is(reason, ACME_CLASS_CLIENT)) {
        return ACME_ALPN_LIMIT_STRANGERS;
    }
    return challenge->source == ACME_ALPN_SOURCE_UPSTREAM ? ACME_ALPN_LIMIT_UPSTREAM
                                                          : ACME_ALPN_LIMIT_SPOOL;
}

/* Every field has a value. */
static const char *outcome_value(const char *text)
{
    return *text ? text : "-";
}

/* The fields that each line starts with: name, client, vhost, TLS version, duration, source. */
static const char *outcome_fields(conn_rec *c, const acme_record_row_t *row)
{
    const char *key = row->is_identifier ? "identifier" : "sni";
    const char *name = row->is_identifier ? row->name : acme_text_word(c->pool, row->name);

    return apr_psprintf(c->pool, "%s=%s peer=%s vhost=%s tls=%s duration=%u.%03ums source=%s",
                        key, outcome_value(name), row->peer, outcome_value(row->vhost),
                        outcome_value(row->tls), row->duration / 1000, row->duration % 1000,
                        acme_alpn_source_name((acme_alpn_source_e)row->source));
}

static const char *outcome_upstream(const conn_rec *c, const acme_alpn_challenge_t *challenge)
{
    return challenge->upstream ? apr_pstrcat(c->pool, " upstream=", challenge->upstream, NULL)
                               : "";
}

static void outcome_log_answered(conn_rec *c, const acme_alpn_challenge_t *challenge,
                                 const acme_record_row_t *row)
{
    ap_log_cserror(APLOG_MARK, APLOG_INFO, 0, c, challenge->server,
                   "AALPN0101: answered: %s key=%s%s", outcome_fields(c, row),
                   acme_key_name(row->key_type), outcome_upstream(c, challenge));
}

static void outcome_log_refused(conn_rec *c, const acme_alpn_challenge_t *challenge,
                                const acme_record_row_t *row)
{
    const char *detail =
        row->reason == ACME_ACCOUNT_OTHER ? challenge->digest.account : challenge->detail;
    const char *note, *text = acme_error_text(row->reason);

    if (acme_alpn_log_lets_through(&note, outcome_limit(challenge, row->reason), c->pool)) {
        if (detail) {
            text = apr_psprintf(c->pool, "%s (%s)", text, detail);
        }
        ap_log_cserror(APLOG_MARK, APLOG_WARNING, challenge->status, c, challenge->server,
                       "AALPN0102: refused: %s reason=%s file=%s%s%s: %s",
                       outcome_fields(c, row), acme_error_slug(row->reason),
                       challenge->file ? challenge->file : "-", outcome_upstream(c, challenge),
                       note, text);
    }
}

static void outcome_log_incomplete(conn_rec *c, const acme_alpn_challenge_t *challenge,
                                   const acme_record_row_t *row)
{
    const char *by = !row->alert ? "-" : row->alert_sent ? "server" : "client";
    const char *note;

    if (acme_alpn_log_lets_through(&note, ACME_ALPN_LIMIT_STRANGERS, c->pool)) {
        ap_log_cserror(APLOG_MARK, APLOG_WARNING, 0, c,
                       challenge ? challenge->server : c->base_server,
                       "AALPN0103: incomplete: %s alert=%s alert-by=%s%s: %s",
                       outcome_fields(c, row), row->alert ? apr_itoa(c->pool, row->alert) : "-",
                       by, note, acme_alpn_outcome_end(c->pool, row));
    }
}

void acme_alpn_outcome(conn_rec *c, const acme_alpn_connection_t *connection,
                       acme_record_outcome_e outcome, acme_error_e reason)
{
    const acme_alpn_challenge_t *challenge = connection->challenge;
    acme_record_row_t row;

    memset(&row, 0, sizeof(row));
    row.outcome = outcome;
    row.reason = reason;
    row.ended = apr_time_now();
    row.duration = outcome_duration(connection->begun, row.ended);
    apr_snprintf(row.peer, sizeof(row.peer), strchr(c->client_ip, ':') ? "[%s]:%d" : "%s:%d",
                 c->client_ip, (int)c->client_addr->port);
    row.alert = connection->alert;
    row.alert_sent = connection->alert_sent;
    if (challenge) {
        outcome_describe_challenge(&row, challenge);
    } else if (connection->sni) {
        /* The handshake ended before the certificate callback. */
        apr_cpystrn(row.name, connection->sni, sizeof(row.name));
    }
    acme_record_add(outcome_record, &row);
    if (outcome == ACME_RECORD_ANSWERED) {
        outcome_log_answered(c, challenge, &row);
    } else if (outcome == ACME_RECORD_REFUSED) {
        outcome_log_refused(c, challenge, &row);
    } else {
        outcome_log_incomplete(c, challenge, &row);
    }
}
