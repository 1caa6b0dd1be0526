/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_lookup.h"

#include <string.h>

#include <apr_strings.h>

#include <http_log.h>

#include "acme_text.h"
#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_modules.h"
#include "mod_acme_alpn_relay.h"
#include "mod_acme_alpn_store.h"

APLOG_USE_MODULE(acme_alpn);

/* errno, before another call changes it. */
static apr_status_t lookup_status_of(acme_error_e error)
{
    return error == ACME_SYSTEM_ERROR ? apr_get_os_error() : APR_SUCCESS;
}

static void lookup_log_answer(const conn_rec *c, const acme_alpn_challenge_t *asked,
                              acme_error_e answer)
{
    ap_log_cserror(APLOG_MARK, APLOG_DEBUG, 0, c, asked->server,
                   "AALPN0203: asked: identifier=%s source=%s file=%s result=%s",
                   asked->identifier.name, acme_alpn_source_name(asked->source),
                   asked->file ? asked->file : "-", acme_error_slug(answer));
}

/* Keeps the new answer, unless it is only a lack of the challenge and the earlier answer is a
 * failure or the same lack. */
static void lookup_take_answer(conn_rec *c, acme_alpn_challenge_t *challenge,
                               acme_error_e *result, const acme_alpn_challenge_t *asked,
                               acme_error_e error)
{
    apr_status_t status = lookup_status_of(error);

    lookup_log_answer(c, asked, error);
    if (!acme_error_is(error, ACME_CLASS_LACK) ||
        (acme_error_is(*result, ACME_CLASS_LACK) && error != *result)) {
        *challenge = *asked;
        challenge->status = status;
        *result = error;
    }
}

static acme_error_e lookup_ask_spool(conn_rec *c, acme_alpn_challenge_t *challenge)
{
    acme_spool_t spool = acme_alpn_server_spool(challenge->server);
    acme_error_e error;

    challenge->source = ACME_ALPN_SOURCE_SPOOL;
    challenge->file =
        apr_pstrcat(c->pool, spool.directory, "/", challenge->identifier.name, NULL);
    error = acme_spool_find(&challenge->digest, &spool, &challenge->identifier, apr_time_now());
    challenge->status = lookup_status_of(error);
    lookup_log_answer(c, challenge, error);
    return error;
}

/* Where the other modules have no challenge, the spool's reason says more. */
static void lookup_ask_modules(conn_rec *c, acme_alpn_challenge_t *challenge,
                               acme_error_e *result)
{
    acme_alpn_challenge_t asked = *challenge;
    acme_error_e error;

    if (*result == ACME_OK) {
        return;
    }
    error = acme_alpn_modules_ask(c, &asked);
    if (error == ACME_NO_ENTRY) {
        lookup_log_answer(c, &asked, error);
    } else {
        lookup_take_answer(c, challenge, result, &asked, error);
    }
}

static void lookup_ask_stores(conn_rec *c, acme_alpn_challenge_t *challenge,
                              acme_error_e *result)
{
    const apr_array_header_t *stores = acme_alpn_server_get(challenge->server)->stores;
    int i;

    for (i = 0; stores && i < stores->nelts && *result != ACME_OK; i++) {
        acme_alpn_challenge_t asked = *challenge;
        acme_error_e error =
            acme_alpn_store_ask(&asked, APR_ARRAY_IDX(stores, i, acme_alpn_store_t *), c->pool);

        lookup_take_answer(c, challenge, result, &asked, error);
    }
}

static void lookup_ask_upstreams(conn_rec *c, acme_alpn_challenge_t *challenge,
                                 acme_error_e *result)
{
    acme_alpn_challenge_t asked = *challenge;
    acme_error_e error;

    if (*result != ACME_OK && acme_alpn_server_get(challenge->server)->upstreams) {
        asked.source = ACME_ALPN_SOURCE_UPSTREAM;
        error = acme_alpn_relay_ask(&asked, c->pool);
        lookup_take_answer(c, challenge, result, &asked, error);
    }
}

static acme_error_e lookup_ask(conn_rec *c, acme_alpn_challenge_t *challenge)
{
    acme_error_e error;

    if (!challenge->sni) {
        return ACME_NO_SNI;
    }
    error = acme_identifier_from_sni(&challenge->identifier, challenge->sni,
                                     strlen(challenge->sni));
    if (error == ACME_OK) {
        error = lookup_ask_spool(c, challenge);
        lookup_ask_modules(c, challenge, &error);
        lookup_ask_stores(c, challenge, &error);
        lookup_ask_upstreams(c, challenge, &error);
    }
    return error;
}

acme_alpn_challenge_t *acme_alpn_lookup(conn_rec *c, acme_alpn_connection_t *connection)
{
    acme_alpn_challenge_t *challenge = connection->challenge;

    if (!challenge) {
        const char *sni = SSL_get_servername(connection->ssl, TLSEXT_NAMETYPE_host_name);

        challenge = apr_pcalloc(c->pool, sizeof(*challenge));
        challenge->server = acme_alpn_connection_server(connection);
        challenge->tls = SSL_get_version(connection->ssl);
        challenge->relayed = connection->relayed;
        challenge->sni = sni ? apr_pstrdup(c->pool, sni) : NULL;
        ap_log_cserror(APLOG_MARK, APLOG_DEBUG, 0, c, challenge->server,
                       "AALPN0202: vhost: vhost=%s sni=%s tls=%s",
                       challenge->server->server_hostname ? challenge->server->server_hostname
                                                          : "-",
                       sni ? acme_text_word(c->pool, sni) : "-", challenge->tls);
        challenge->outcome = lookup_ask(c, challenge);
        connection->challenge = challenge;
    }
    return challenge;
}
