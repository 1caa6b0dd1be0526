/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_relay.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include <http_log.h>

#include "acme_interval.h"
#include "acme_probe.h"
#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_guard.h"
#include "mod_acme_alpn_names.h"
#include "mod_acme_alpn_outcome.h"

APLOG_USE_MODULE(acme_alpn);

#define TIMEOUT_MIN apr_time_from_msec(10)

static acme_alpn_names_t *names;
static SSL_CTX *context; /* never freed: a worker may use it until the process ends */

/* The directive */

static const char *relay_set_address(acme_alpn_upstream_t *upstream, apr_pool_t *pool,
                                     const char *text)
{
    upstream->given = text;
    return acme_net_parse(&upstream->host, &upstream->port, text, pool)
               ? NULL
               : apr_psprintf(pool, "'%s' is not an address; " ACME_NET_ALLOWED, text);
}

static const char *relay_set_timeout(acme_alpn_upstream_t *upstream, apr_pool_t *pool,
                                     const char *text)
{
    if (!acme_interval_parse(&upstream->timeout, text) || upstream->timeout < TIMEOUT_MIN ||
        upstream->timeout > ACME_ALPN_UPSTREAM_LONGEST) {
        return apr_psprintf(
            pool, "timeout='%s' is not a time; give " ACME_INTERVAL_ALLOWED ", from 10ms to 8s",
            text);
    }
    return NULL;
}

static const char *relay_set_places(acme_alpn_upstream_t *upstream, apr_pool_t *pool,
                                    const char *text)
{
    char *end;
    long number = strtol(text, &end, 10);

    if (*text < '0' || *text > '9' || *end || number < 1 || number > ACME_GUARD_PLACES) {
        return apr_psprintf(pool, "max='%s' is not a number; give one from 1 to %d", text,
                            ACME_GUARD_PLACES);
    }
    upstream->places = (int)number;
    return NULL;
}

static const char *relay_set_option(acme_alpn_upstream_t *upstream, apr_pool_t *pool,
                                    const char *option)
{
    if (strncmp(option, "timeout=", 8) == 0) {
        return relay_set_timeout(upstream, pool, option + 8);
    }
    if (strncmp(option, "max=", 4) == 0) {
        return relay_set_places(upstream, pool, option + 4);
    }
    if (strcmp(option, "any-name") == 0) {
        upstream->any_name = 1;
        return NULL;
    }
    return apr_psprintf(pool, "'%s' is not an option; give timeout=TIME, max=N or any-name",
                        option);
}

const char *acme_alpn_relay_configure(cmd_parms *command, void *directory, int count,
                                      char *const arguments[])
{
    acme_alpn_server_t *config = acme_alpn_server_get(command->server);
    apr_pool_t *pool = command->pool;
    acme_alpn_upstream_t *upstream = apr_pcalloc(pool, sizeof(*upstream));
    const char *error;
    int i;

    (void)directory;
    upstream->timeout = ACME_ALPN_UPSTREAM_TIMEOUT;
    upstream->places = ACME_ALPN_UPSTREAM_PLACES;
    upstream->line = count > 0 ? arguments[0] : "";
    error = relay_set_address(upstream, pool, upstream->line);
    for (i = 1; i < count && !error; i++) {
        error = relay_set_option(upstream, pool, arguments[i]);
        upstream->line = apr_pstrcat(pool, upstream->line, " ", arguments[i], NULL);
    }
    if (!config->upstreams) {
        config->upstreams = apr_array_make(pool, 2, sizeof(acme_alpn_upstream_t *));
    }
    APR_ARRAY_PUSH(config->upstreams, acme_alpn_upstream_t *) = upstream;
    if (!error && config->upstreams->nelts > ACME_ALPN_UPSTREAMS_MAX) {
        error =
            apr_psprintf(pool, "a server can have at most %d of them", ACME_ALPN_UPSTREAMS_MAX);
    }
    return error ? apr_pstrcat(pool, command->cmd->name, ": ", error, NULL) : NULL;
}

/* Setting up */

static int relay_prepare(server_rec *server)
{
    const apr_array_header_t *upstreams = acme_alpn_server_get(server)->upstreams;
    int i;

    for (i = 0; upstreams && i < upstreams->nelts; i++) {
        acme_alpn_upstream_t *upstream = APR_ARRAY_IDX(upstreams, i, acme_alpn_upstream_t *);

        upstream->row =
            acme_alpn_guard_row(server, upstream->line, upstream->host, upstream->port);
        if (!upstream->row) {
            return 0;
        }
    }
    return 1;
}

int acme_alpn_relay_init(apr_pool_t *config_pool, server_rec *server,
                         const apr_array_header_t *vhosts)
{
    int i;

    names = NULL;
    for (i = 0; i < vhosts->nelts; i++) {
        server_rec *vhost = APR_ARRAY_IDX(vhosts, i, server_rec *);

        if (!relay_prepare(vhost)) {
            return 0;
        }
        if (!names && acme_alpn_server_get(vhost)->upstreams) {
            names = acme_alpn_names_make(config_pool, server);
        }
    }
    return 1;
}

void acme_alpn_relay_child_init(server_rec *server)
{
    if (!names) {
        return;
    }
    context = acme_probe_context();
    if (!context || !acme_probe_mark_relayed(context)) {
        SSL_CTX_free(context);
        context = NULL;
        ap_log_error(
            APLOG_MARK, APLOG_ERR, 0, server,
            "AALPN0031: libssl has no TLS client, so this child asks no AcmeAlpnUpstream");
    }
}

static acme_error_e relay_probe(acme_alpn_challenge_t *challenge,
                                const acme_alpn_upstream_t *upstream, apr_pool_t *pool,
                                apr_time_t deadline)
{
    acme_addresses_t addresses;
    acme_probe_t probe;

    acme_guard_addresses(&addresses, upstream->row);
    acme_record_count(acme_alpn_record_get(), ACME_RECORD_RELAYS);
    acme_probe(&probe, context, &addresses, &challenge->identifier, deadline);
    challenge->digest = probe.digest;
    challenge->detail = probe.detail[0] ? apr_pstrdup(pool, probe.detail) : NULL;
    return probe.outcome;
}

static acme_error_e relay_ask(acme_alpn_challenge_t *challenge,
                              const acme_alpn_upstream_t *upstream, apr_pool_t *pool,
                              apr_time_t latest)
{
    apr_time_t deadline = acme_monotonic() + upstream->timeout;
    int is_cut = deadline > latest;
    acme_guard_answer_e entered;
    acme_guard_pass_t pass;
    acme_error_e error;

    challenge->upstream = upstream->given;
    challenge->detail = NULL;
    if (!context) {
        return ACME_SYSTEM_ERROR;
    }
    if (is_cut) {
        deadline = latest;
    }
    entered =
        acme_alpn_guard_enter(&pass, upstream->row, (unsigned int)upstream->places, deadline);
    if (entered != ACME_GUARD_PASS) {
        return entered == ACME_GUARD_FULL ? ACME_RELAY_BUSY : ACME_RELAY_BACKOFF;
    }
    error = relay_probe(challenge, upstream, pool, deadline);
    pass.is_short |= is_cut;
    acme_guard_leave(&pass, error == ACME_PROBE_TIMEOUT  ? ACME_GUARD_TIMED_OUT
                            : error == ACME_SYSTEM_ERROR ? ACME_GUARD_NOT_ASKED
                                                         : ACME_GUARD_ANSWERED);
    return error;
}

acme_error_e acme_alpn_relay_ask(acme_alpn_challenge_t *challenge, apr_pool_t *pool)
{
    const apr_array_header_t *upstreams = acme_alpn_server_get(challenge->server)->upstreams;
    int is_known = acme_alpn_names_have(names, &challenge->identifier), i;
    apr_time_t latest = acme_monotonic() + ACME_ALPN_UPSTREAM_LONGEST;
    acme_error_e result = ACME_RELAY_FOREIGN_NAME;

    if (challenge->relayed) {
        return ACME_RELAY_LOOP;
    }
    for (i = 0; i < upstreams->nelts && result != ACME_OK; i++) {
        const acme_alpn_upstream_t *upstream =
            APR_ARRAY_IDX(upstreams, i, acme_alpn_upstream_t *);
        acme_alpn_challenge_t asked = *challenge;
        acme_error_e error;

        if ((!is_known && !upstream->any_name) || acme_monotonic() >= latest) {
            continue;
        }
        error = relay_ask(&asked, upstream, pool, latest);
        /* An upstream without the challenge does not hide the failure of another one. */
        if (!acme_error_is(error, ACME_CLASS_LACK) || acme_error_is(result, ACME_CLASS_LACK)) {
            *challenge = asked;
            result = error;
        }
    }
    return result;
}
