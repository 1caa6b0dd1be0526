/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_store.h"

#include <errno.h>
#include <string.h>

#include <apr_atomic.h>
#include <apr_strings.h>

#include <http_log.h>

#include "acme_store_pool.h"
#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_guard.h"

APLOG_USE_MODULE(acme_alpn);

#define TIMEOUT   apr_time_from_msec(250)
#define REPORT_MS 60000

/* The stores of this configuration, an array in its pool. */
#define STORES "mod_acme_alpn:stores"

struct acme_alpn_store_t {
    const char *line; /* as configured */
    acme_store_t *settings;
    acme_guard_row_t *row;   /* of all children */
    acme_store_pool_t *pool; /* of this one */
};

static apr_array_header_t *store_stores_of(apr_pool_t *config_pool)
{
    void *data = NULL;

    apr_pool_userdata_get(&data, STORES, config_pool);
    if (!data) {
        data = apr_array_make(config_pool, 2, sizeof(acme_alpn_store_t *));
        apr_pool_userdata_set(data, STORES, apr_pool_cleanup_null, config_pool);
    }
    return data;
}

static acme_alpn_store_t *store_find_line(const apr_array_header_t *stores, const char *line)
{
    int i;

    for (i = 0; i < stores->nelts; i++) {
        acme_alpn_store_t *store = APR_ARRAY_IDX(stores, i, acme_alpn_store_t *);

        if (strcmp(store->line, line) == 0) {
            return store;
        }
    }
    return NULL;
}

static const char *store_make(acme_alpn_store_t **store, apr_pool_t *pool, const char *line,
                              int count, char *const arguments[])
{
    apr_array_header_t *options = apr_array_make(pool, count, sizeof(const char *));
    acme_store_t *settings;
    const char *problem;
    int i;

    if (!acme_store_is_supported()) {
        return acme_error_text(ACME_STORE_UNSUPPORTED);
    }
    for (i = 1; i < count; i++) {
        APR_ARRAY_PUSH(options, const char *) = arguments[i];
    }
    problem = acme_store_parse(&settings, pool, arguments[0], options);
    if (!problem) {
        problem = acme_store_load(settings, pool);
    }
    if (!problem) {
        *store = apr_pcalloc(pool, sizeof(**store));
        (*store)->line = line;
        (*store)->settings = settings;
    }
    return problem;
}

const char *acme_alpn_store_configure(cmd_parms *command, apr_array_header_t *stores, int count,
                                      char *const arguments[])
{
    apr_array_header_t *all = store_stores_of(command->pool);
    const char *line = "", *problem = NULL;
    acme_alpn_store_t *store;
    int i;

    for (i = 0; i < count; i++) {
        line = apr_pstrcat(command->pool, line, "\n", arguments[i], NULL);
    }
    store = store_find_line(all, line);
    if (!store && count > 0) {
        problem = store_make(&store, command->pool, line, count, arguments);
        if (!problem) {
            APR_ARRAY_PUSH(all, acme_alpn_store_t *) = store;
        }
    }
    if (count == 0 || problem) {
        return apr_pstrcat(command->pool, command->cmd->name, ": ",
                           problem ? problem : "give a URL with " ACME_STORE_SCHEMES, NULL);
    }
    APR_ARRAY_PUSH(stores, acme_alpn_store_t *) = store;
    return NULL;
}

int acme_alpn_store_init(apr_pool_t *config_pool, server_rec *server)
{
    const apr_array_header_t *stores = store_stores_of(config_pool);
    int i;

    for (i = 0; i < stores->nelts; i++) {
        acme_alpn_store_t *store = APR_ARRAY_IDX(stores, i, acme_alpn_store_t *);
        const acme_store_t *settings = store->settings;

        store->row = acme_alpn_guard_row(server, store->line, settings->host,
                                         settings->socket ? settings->socket : settings->port);
        if (!store->row) {
            return 0;
        }
    }
    return 1;
}

static void store_create_pools(apr_pool_t *pool, const server_rec *server)
{
    const apr_array_header_t *stores = acme_alpn_server_get(server)->stores;
    int i;

    for (i = 0; stores && i < stores->nelts; i++) {
        acme_alpn_store_t *store = APR_ARRAY_IDX(stores, i, acme_alpn_store_t *);

        if (!store->pool) {
            store->pool = acme_store_pool_create(pool);
        }
    }
}

void acme_alpn_store_child_init(apr_pool_t *pool, server_rec *server)
{
    for (; server; server = server->next) {
        store_create_pools(pool, server);
    }
}

/* What says nothing of the store, since it never came to that. */
static int store_is_our_own(acme_error_e error)
{
    return error == ACME_STORE_BUSY || error == ACME_SYSTEM_ERROR;
}

/* Once a minute for all children. */
static void store_report_failure(const server_rec *server, acme_alpn_store_t *store,
                                 acme_error_e error, const acme_store_call_t *call)
{
    acme_guard_row_t *row = store->row;
    apr_uint32_t now = acme_guard_clock(), last = apr_atomic_read32(&row->reported);

    apr_atomic_set32(&row->is_failing, 1);
    if ((last && now - last < REPORT_MS) ||
        apr_atomic_cas32(&row->reported, now, last) != last) {
        return;
    }
    apr_atomic_set32(&row->is_told, 1);
    ap_log_error(
        APLOG_MARK, APLOG_ERR, 0, server,
        "AALPN0401: AcmeAlpnStore %s fails: reason=%s: %s%s%s%s (logged once a minute)",
        store->settings->name, acme_error_slug(error), acme_error_text(error),
        call->detail[0] ? " (" : "", call->detail, call->detail[0] ? ")" : "");
}

/* Said only where the failure was. */
static void store_report_success(const server_rec *server, acme_alpn_store_t *store)
{
    acme_guard_row_t *row = store->row;

    if (apr_atomic_read32(&row->is_failing) && apr_atomic_xchg32(&row->is_failing, 0) &&
        apr_atomic_xchg32(&row->is_told, 0)) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, server,
                     "AALPN0402: AcmeAlpnStore %s works again", store->settings->name);
    }
}

static acme_error_e store_find(acme_alpn_challenge_t *challenge, acme_alpn_store_t *store,
                               const acme_guard_pass_t *pass, apr_time_t deadline)
{
    acme_addresses_t addresses;
    acme_store_call_t call;
    acme_error_e error;

    acme_guard_addresses(&addresses, store->row);
    acme_store_begin(&call, store->settings, deadline - acme_monotonic());
    call.addresses = &addresses;
    error = acme_store_pool_find(&challenge->digest, store->pool, &call, &challenge->identifier,
                                 apr_atomic_read32(&store->row->generation));
    /* The store had only a part of the time, so the end of that says nothing of it. */
    if (error == ACME_STORE_TIMEOUT && pass->is_short) {
        error = ACME_STORE_BUSY;
    }
    if (acme_error_is(error, ACME_CLASS_STORE)) {
        store_report_failure(challenge->server, store, error, &call);
    } else if (!store_is_our_own(error)) {
        store_report_success(challenge->server, store);
    }
    return error;
}

static acme_error_e store_wait(acme_alpn_challenge_t *challenge, acme_alpn_store_t *store)
{
    apr_interval_time_t timeout = store->settings->timeout ? store->settings->timeout : TIMEOUT;
    apr_time_t deadline = acme_monotonic() + timeout;
    acme_guard_pass_t pass;
    acme_error_e error;

    switch (acme_alpn_guard_enter(&pass, store->row, ACME_GUARD_PLACES, deadline)) {
    case ACME_GUARD_FULL:
        return ACME_STORE_BUSY;
    case ACME_GUARD_OPEN:
        return ACME_STORE_BACKOFF;
    default:
        break;
    }
    error = store_find(challenge, store, &pass, deadline);
    acme_guard_leave(&pass, error == ACME_STORE_TIMEOUT ? ACME_GUARD_TIMED_OUT
                            : store_is_our_own(error)   ? ACME_GUARD_NOT_ASKED
                                                        : ACME_GUARD_ANSWERED);
    return error;
}

acme_error_e acme_alpn_store_ask(acme_alpn_challenge_t *challenge, acme_alpn_store_t *store,
                                 apr_pool_t *pool)
{
    const acme_store_t *settings = store->settings;

    challenge->source = ACME_ALPN_SOURCE_STORE;
    challenge->file = apr_pstrcat(pool, settings->name, "#", settings->prefix,
                                  challenge->identifier.name, NULL);
    return store->pool ? store_wait(challenge, store) : ACME_SYSTEM_ERROR;
}

const char *acme_alpn_store_name(const acme_alpn_store_t *store)
{
    return store->settings->name;
}

int acme_alpn_store_is_down(const acme_alpn_store_t *store)
{
    return store->row && apr_atomic_read32(&store->row->is_failing) != 0;
}
