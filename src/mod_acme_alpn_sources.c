#include "mod_acme_alpn_sources.h"

#include <apr_strings.h>

#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_trace.h"

static acme_error_e ask_spool(acme_alpn_challenge_t *challenge, apr_pool_t *pool)
{
    acme_spool_t spool = acme_alpn_server_spool(challenge->server);

    challenge->source = ACME_ALPN_SOURCE_SPOOL;
    challenge->file = apr_pstrcat(pool, spool.directory, "/", challenge->identifier.name, NULL);
    return acme_spool_find(&challenge->digest, &spool, &challenge->identifier, apr_time_now());
}

acme_error_e acme_alpn_sources_ask(conn_rec *c, acme_alpn_challenge_t *challenge)
{
    acme_error_e error = ask_spool(challenge, c->pool);

    acme_alpn_trace_asked(c, challenge, error);
    return error;
}

const char *acme_alpn_source_name(acme_alpn_source_e source)
{
    static const char *const names[ACME_ALPN_SOURCES] = {"none", "spool"};

    return names[source];
}
