#include "mod_acme_alpn_sources.h"

#include <apr_strings.h>

#include "mod_acme_alpn_config.h"

static acme_error_e ask_spool(acme_alpn_challenge_t *challenge, apr_pool_t *pool)
{
    acme_spool_t spool = acme_alpn_server_spool(challenge->server);

    challenge->source = ACME_ALPN_SOURCE_SPOOL;
    challenge->file = apr_pstrcat(pool, spool.directory, "/", challenge->identifier.name, NULL);
    return acme_spool_find(&challenge->digest, &spool, &challenge->identifier, apr_time_now());
}

acme_error_e acme_alpn_sources_ask(acme_alpn_challenge_t *challenge, apr_pool_t *pool)
{
    return ask_spool(challenge, pool);
}

const char *acme_alpn_source_name(acme_alpn_source_e source)
{
    static const char *const names[] = {"none", "spool"};

    return names[source];
}
