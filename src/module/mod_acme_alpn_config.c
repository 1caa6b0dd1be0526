/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_config.h"

#ifndef ACME_ALPN_SPOOLDIR
#define ACME_ALPN_SPOOLDIR "/var/spool/acme-alpn"
#endif

#define UNSET           (-1)
#define MAX_AGE_DEFAULT apr_time_from_sec(24 * 60 * 60)

void *acme_alpn_server_create(apr_pool_t *pool, server_rec *server)
{
    acme_alpn_server_t *config = apr_pcalloc(pool, sizeof(*config));

    (void)server;
    config->engine = UNSET;
    config->max_age = UNSET;
    config->placeholder = UNSET;
    return config;
}

void *acme_alpn_server_merge(apr_pool_t *pool, void *base, void *vhost)
{
    const acme_alpn_server_t *from = base, *over = vhost;
    acme_alpn_server_t *config = apr_pcalloc(pool, sizeof(*config));

    config->engine = over->engine != UNSET ? over->engine : from->engine;
    config->max_age = over->max_age != UNSET ? over->max_age : from->max_age;
    config->spool_directory =
        over->spool_directory ? over->spool_directory : from->spool_directory;
    config->placeholder = over->placeholder != UNSET ? over->placeholder : from->placeholder;
    config->has_certificate = over->has_certificate || from->has_certificate;
    config->accounts = over->accounts ? over->accounts : from->accounts;
    config->stores = over->stores ? over->stores : from->stores;
    config->upstreams = over->upstreams ? over->upstreams : from->upstreams;
    return config;
}

acme_alpn_server_t *acme_alpn_server_get(const server_rec *server)
{
    return ap_get_module_config(server->module_config, &acme_alpn_module);
}

int acme_alpn_server_answers(const server_rec *server)
{
    return acme_alpn_server_get(server)->engine != 0;
}

int acme_alpn_server_wants_placeholder(const server_rec *server)
{
    return acme_alpn_server_answers(server) && acme_alpn_server_get(server)->placeholder == 1;
}

acme_spool_t acme_alpn_server_spool(const server_rec *server)
{
    const acme_alpn_server_t *config = acme_alpn_server_get(server);
    acme_spool_t spool = {
        config->spool_directory ? config->spool_directory : ACME_ALPN_SPOOLDIR,
        config->max_age != UNSET ? config->max_age : MAX_AGE_DEFAULT,
        config->accounts ? config->accounts : ACME_ACCOUNT_ANY,
    };

    return spool;
}
