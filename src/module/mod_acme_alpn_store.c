/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_store.h"

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

/* The key of the configuration's stores, an array in its pool. */
#define STORES "mod_acme_alpn:stores"

struct acme_alpn_store_t {
    const char *line; /* as configured */
    acme_store_t *settings;
    acme_guard_row_t *row;   /* shared by all children */
    acme_store_pool_t *pool; /* this child's connections */
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

const char *acme_alpn_store_configure(cmd_parms *command, apr_array_header_t *stores, int count,
                                      char *const arguments[])
{
    apr_array_header_t *all = store_stores_of(command->pool);
    const char *line = command->directive->args, *problem;
    acme_alpn_store_t *store = NULL;
    int i;

    for (i = 0; i < all->nelts && !store; i++) {
        acme_alpn_store_t *other = APR_ARRAY_IDX(all, i, acme_alpn_store_t *);

        store = strcmp(other->line, line) == 0 ? other : NULL;
    }
    if (!store) {
        store = apr_pcalloc(command->pool, sizeof(*store));
        store->line = line;
        problem = acme_store_parse(&store->settings, command->pool,
                                   count > 0 ? arguments[0] : "", count - 1, arguments + 1);
        if (!problem) {
            problem = acme_store_load(store->settings, command->pool);
        }
        if (problem) {
            return apr_pstrcat(command->pool, command->cmd->name, ": ", problem, NULL);
        }
        APR_ARRAY_PUSH(all, acme_alpn_store_t *) = store;
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

void acme_alpn_store_child_init(apr_pool_t *pool, const server_rec *server)
{
    const apr_array_header_t *stores = store_stores_of(server->process->pconf);
    int i;

    for (i = 0; i < stores->nelts; i++) {
        APR_ARRAY_IDX(stores, i, acme_alpn_store_t *)->pool = acme_store_pool_create(pool);
    }
}

/* Whether this process failed or waited, and did not ask the store. */
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
    apr_atomic_set32(&row->failure_logged, 1);
    ap_log_error(
        APLOG_MARK, APLOG_ERR, 0, server,
        "AALPN0401: AcmeAlpnStore %s fails: reason=%s: %s%s%s%s (logged once a minute)",
        store->settings->name, acme_error_slug(error), acme_error_text(error),
        call->detail[0] ? " (" : "", call->detail, call->detail[0] ? ")" : "");
}

/* Only after a failure that was logged. */
static void store_report_success(const server_rec *server, acme_alpn_store_t *store)
{
    acme_guard_row_t *row = store->row;

    if (apr_atomic_read32(&row->is_failing) && apr_atomic_xchg32(&row->is_failing, 0) &&
        apr_atomic_xchg32(&row->failure_logged, 0)) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, server,
                     "AALPN0402: AcmeAlpnStore %s works again", store->settings->name);
    }
}

static acme_error_e store_find(acme_alpn_challenge_t *challenge, acme_alpn_store_t *store,
                               const acme_guard_pass_t *pass, apr_time_t deadline)
{
    /* Before the addresses, so that a connection to an old address has an old generation. */
    apr_uint32_t generation = apr_atomic_read32(&store->row->generation);
    acme_addresses_t addresses;
    const char *accounts = acme_alpn_server_spool(challenge->server).accounts;
    acme_store_call_t call = {store->settings, deadline, &addresses, accounts, ""};
    acme_error_e error;

    acme_guard_addresses(&addresses, store->row);
    error = acme_store_pool_find(&challenge->digest, store->pool, &call, &challenge->identifier,
                                 generation);
    /* The store had only a part of its time, so the time-out is not its failure. */
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
    acme_guard_answer_e entered;
    acme_guard_pass_t pass;
    acme_error_e error;

    entered = acme_alpn_guard_enter(&pass, store->row, ACME_GUARD_PLACES, deadline);
    if (entered != ACME_GUARD_PASS) {
        return entered == ACME_GUARD_FULL ? ACME_STORE_BUSY : ACME_STORE_BACKOFF;
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
