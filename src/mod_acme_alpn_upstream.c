#include "mod_acme_alpn_upstream.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include <apr_network_io.h>
#include <apr_strings.h>

#include "acme_interval.h"
#include "acme_places.h"
#include "mod_acme_alpn_config.h"

#define SHORTEST apr_time_from_msec(10)

static const char *set_address(acme_alpn_upstream_t *upstream, cmd_parms *command,
                               const char *text)
{
    struct in_addr ipv4;
    struct in6_addr ipv6;
    char *host = NULL, *zone = NULL;

    if (apr_parse_addr_port(&host, &zone, &upstream->port, text, command->pool) !=
            APR_SUCCESS ||
        !host || !upstream->port) {
        return apr_psprintf(command->pool,
                            "%s: '%s' is not an address; give HOST:PORT or [IPV6]:PORT with a "
                            "port from 1 to 65535",
                            command->cmd->name, text);
    }
    upstream->given = text;
    upstream->host = zone ? apr_pstrcat(command->pool, host, "%", zone, NULL) : host;
    /* What is no address is not resolved here: it could take long, and fail, while httpd
     * starts. */
    if (zone || inet_pton(AF_INET, host, &ipv4) == 1 || inet_pton(AF_INET6, host, &ipv6) == 1) {
        apr_sockaddr_info_get(&upstream->address, upstream->host, APR_UNSPEC, upstream->port, 0,
                              command->pool);
    }
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

    if (*text < '0' || *text > '9' || *end || number < 1 || number > ACME_PLACES_MAX) {
        return apr_psprintf(command->pool,
                            "%s: max='%s' is not a number; give one from 1 to %d",
                            command->cmd->name, text, ACME_PLACES_MAX);
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
    error = set_address(upstream, command, count > 0 ? arguments[0] : "");
    for (i = 1; i < count && !error; i++) {
        error = set_option(upstream, command, arguments[i]);
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
