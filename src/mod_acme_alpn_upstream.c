#include "mod_acme_alpn_upstream.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "acme_interval.h"
#include "mod_acme_alpn_config.h"

#define SHORTEST apr_time_from_msec(10)

static const char *set_address(acme_alpn_upstream_t *upstream, cmd_parms *command,
                               const char *text)
{
    if (!acme_net_parse(&upstream->host, &upstream->port, text, command->pool)) {
        return apr_psprintf(command->pool, "%s: '%s' is not an address; " ACME_NET_ALLOWED,
                            command->cmd->name, text);
    }
    upstream->given = text;
    return NULL;
}

static const char *set_timeout(acme_alpn_upstream_t *upstream, cmd_parms *command,
                               const char *text)
{
    if (!acme_interval_parse(&upstream->timeout, text) || upstream->timeout < SHORTEST ||
        upstream->timeout > ACME_ALPN_UPSTREAM_LONGEST) {
        return apr_psprintf(command->pool,
                            "%s: timeout='%s' is not a time; give " ACME_INTERVAL_ALLOWED
                            ", from 10ms to 8s",
                            command->cmd->name, text);
    }
    return NULL;
}

static const char *set_places(acme_alpn_upstream_t *upstream, cmd_parms *command,
                              const char *text)
{
    char *end;
    long number = strtol(text, &end, 10);

    if (*text < '0' || *text > '9' || *end || number < 1 || number > ACME_GUARD_PLACES) {
        return apr_psprintf(command->pool,
                            "%s: max='%s' is not a number; give one from 1 to %d",
                            command->cmd->name, text, ACME_GUARD_PLACES);
    }
    upstream->places = (int)number;
    return NULL;
}

static const char *set_option(acme_alpn_upstream_t *upstream, cmd_parms *command,
                              const char *option)
{
    if (strncmp(option, "timeout=", 8) == 0) {
        return set_timeout(upstream, command, option + 8);
    }
    if (strncmp(option, "max=", 4) == 0) {
        return set_places(upstream, command, option + 4);
    }
    if (strcmp(option, "any-name") == 0) {
        upstream->any_name = 1;
        return NULL;
    }
    return apr_psprintf(command->pool,
                        "%s: '%s' is not an option; give timeout=TIME, max=N or any-name",
                        command->cmd->name, option);
}

const char *acme_alpn_upstream_set(cmd_parms *command, void *directory, int count,
                                   char *const arguments[])
{
    acme_alpn_server_t *config = acme_alpn_server_get(command->server);
    acme_alpn_upstream_t *upstream = apr_pcalloc(command->pool, sizeof(*upstream));
    const char *error;
    int i;

    (void)directory;
    upstream->timeout = ACME_ALPN_UPSTREAM_TIMEOUT;
    upstream->places = ACME_ALPN_UPSTREAM_PLACES;
    upstream->line = count > 0 ? arguments[0] : "";
    error = set_address(upstream, command, upstream->line);
    for (i = 1; i < count && !error; i++) {
        error = set_option(upstream, command, arguments[i]);
        upstream->line = apr_pstrcat(command->pool, upstream->line, " ", arguments[i], NULL);
    }
    if (!error && config->upstreams && config->upstreams->nelts >= ACME_ALPN_UPSTREAMS_MAX) {
        error = apr_psprintf(command->pool, "%s: a server can have %d of them at most",
                             command->cmd->name, ACME_ALPN_UPSTREAMS_MAX);
    }
    if (!error) {
        if (!config->upstreams) {
            config->upstreams =
                apr_array_make(command->pool, 2, sizeof(acme_alpn_upstream_t *));
        }
        APR_ARRAY_PUSH(config->upstreams, acme_alpn_upstream_t *) = upstream;
    }
    return error;
}
