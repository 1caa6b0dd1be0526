#include "mod_acme_alpn_sources.h"

#include <apr_strings.h>

#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_relay.h"
#include "mod_acme_alpn_trace.h"

static acme_error_e ask_spool(acme_alpn_challenge_t *challenge, apr_pool_t *pool)
{
    acme_spool_t spool = acme_alpn_server_spool(challenge->server);

    challenge->source = ACME_ALPN_SOURCE_SPOOL;
    challenge->file = apr_pstrcat(pool, spool.directory, "/", challenge->identifier.name, NULL);
    return acme_spool_find(&challenge->digest, &spool, &challenge->identifier, apr_time_now());
}

/* Whether a source just has no such challenge, as opposed to something that is to be mended.
 * Whoever has an upstream need not have a spool. */
static int is_mere_lack(acme_error_e error)
{
    switch (error) {
    case ACME_NO_ENTRY:
    case ACME_SPOOL_MISSING:
    case ACME_RELAY_FOREIGN_NAME:
    case ACME_RELAY_LOOP:
    case ACME_PROBE_REFUSED:
        return 1;
    default:
        return 0;
    }
}

acme_error_e acme_alpn_sources_ask(conn_rec *c, acme_alpn_challenge_t *challenge)
{
    acme_error_e error = ask_spool(challenge, c->pool);

    acme_alpn_trace_asked(c, challenge, error);
    if (error != ACME_OK && acme_alpn_relay_is_configured(challenge)) {
        acme_error_e spool = error;

        challenge->source = ACME_ALPN_SOURCE_UPSTREAM;
        error = acme_alpn_relay_ask(challenge, c->pool);
        acme_alpn_trace_asked(c, challenge, error);
        if (is_mere_lack(error) && !is_mere_lack(spool)) {
            challenge->source = ACME_ALPN_SOURCE_SPOOL;
            error = spool;
        }
    }
    return error;
}

const char *acme_alpn_source_name(acme_alpn_source_e source)
{
    static const char *const names[ACME_ALPN_SOURCES] = {"none", "spool", "upstream"};

    return names[source];
}
