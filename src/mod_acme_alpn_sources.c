#include "mod_acme_alpn_sources.h"

#include <apr_strings.h>

#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_modules.h"
#include "mod_acme_alpn_relay.h"
#include "mod_acme_alpn_store.h"
#include "mod_acme_alpn_trace.h"

/* To be taken before anything else is asked. */
static apr_status_t status_of(acme_error_e error)
{
    return error == ACME_SYSTEM_ERROR ? apr_get_os_error() : APR_SUCCESS;
}

/* A source has been asked: its word stands, unless it has less to say than those before it. */
static void hear(conn_rec *c, acme_alpn_challenge_t *challenge, acme_error_e *result,
                 const acme_alpn_challenge_t *asked, acme_error_e error)
{
    apr_status_t status = status_of(error);

    acme_alpn_trace_asked(c, asked, error);
    if (!acme_error_is(error, ACME_CLASS_LACK) ||
        (acme_error_is(*result, ACME_CLASS_LACK) && error != *result)) {
        *challenge = *asked;
        challenge->status = status;
        *result = error;
    }
}

static acme_error_e ask_spool(conn_rec *c, acme_alpn_challenge_t *challenge)
{
    acme_spool_t spool = acme_alpn_server_spool(challenge->server);
    acme_error_e error;

    challenge->source = ACME_ALPN_SOURCE_SPOOL;
    challenge->file =
        apr_pstrcat(c->pool, spool.directory, "/", challenge->identifier.name, NULL);
    error = acme_spool_find(&challenge->digest, &spool, &challenge->identifier, apr_time_now());
    challenge->status = status_of(error);
    acme_alpn_trace_asked(c, challenge, error);
    return error;
}

/* Who has no challenge has nothing to say of the name, and what the spool said stands. */
static void ask_modules(conn_rec *c, acme_alpn_challenge_t *challenge, acme_error_e *result)
{
    acme_alpn_challenge_t asked = *challenge;
    acme_error_e error;

    if (*result == ACME_OK) {
        return;
    }
    error = acme_alpn_modules_ask(c, &asked);
    if (error == ACME_NO_ENTRY) {
        acme_alpn_trace_asked(c, &asked, error);
    } else {
        hear(c, challenge, result, &asked, error);
    }
}

static void ask_stores(conn_rec *c, acme_alpn_challenge_t *challenge, acme_error_e *result)
{
    const apr_array_header_t *stores = acme_alpn_server_get(challenge->server)->stores;
    int i;

    for (i = 0; stores && i < stores->nelts && *result != ACME_OK; i++) {
        acme_alpn_challenge_t asked = *challenge;
        acme_error_e error =
            acme_alpn_store_ask(&asked, APR_ARRAY_IDX(stores, i, acme_alpn_store_t *), c->pool);

        hear(c, challenge, result, &asked, error);
    }
}

static void ask_upstreams(conn_rec *c, acme_alpn_challenge_t *challenge, acme_error_e *result)
{
    acme_alpn_challenge_t asked = *challenge;
    acme_error_e error;

    if (*result != ACME_OK && acme_alpn_relay_is_configured(challenge)) {
        asked.source = ACME_ALPN_SOURCE_UPSTREAM;
        error = acme_alpn_relay_ask(&asked, c->pool);
        hear(c, challenge, result, &asked, error);
    }
}

acme_error_e acme_alpn_sources_ask(conn_rec *c, acme_alpn_challenge_t *challenge)
{
    acme_error_e error = ask_spool(c, challenge);

    ask_modules(c, challenge, &error);
    ask_stores(c, challenge, &error);
    ask_upstreams(c, challenge, &error);
    return error;
}

const char *acme_alpn_source_name(acme_alpn_source_e source)
{
    static const char *const names[ACME_ALPN_SOURCES] = {"none", "spool", "module", "store",
                                                         "upstream"};

    return names[source];
}
