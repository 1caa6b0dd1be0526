/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_guard.h"

#include <ap_mpm.h>
#include <http_core.h>
#include <http_log.h>
#include <scoreboard.h>

#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_shm.h"

APLOG_USE_MODULE(acme_alpn);

/* A name is resolved again after RESOLVE_EVERY. A start, or a tick of the watchdog, spends at
 * most RESOLVE_TIMEOUT on all names. */
#define RESOLVE_EVERY   apr_time_from_sec(30)
#define RESOLVE_TIMEOUT apr_time_from_sec(2)

/* A host of the configuration, by name or address. */
typedef struct {
    acme_guard_row_t *row;
    const char *host, *port;
    apr_time_t due;
} guard_name_t;

static acme_guard_t *guard;
static apr_array_header_t *guard_names; /* of guard_name_t, each row once */
static apr_time_t guard_start_ends;

/* How many workers may wait; and how many processes prefork may run, 0 for other MPMs. */
static acme_guard_workers_t guard_workers;
static int guard_prefork_processes;

/* Ordinary requests keep the other half. */
static unsigned int guard_half(int workers)
{
    return workers > 3 ? (unsigned int)workers / 2 : 1;
}

int acme_alpn_guard_init(apr_pool_t *config_pool, server_rec *server)
{
    int processes = 1, threads = 1;

    guard = acme_alpn_shm_get(server, "guard:1", acme_guard_size());
    if (!guard) {
        return 0;
    }
    acme_guard_begin(guard);
    guard_start_ends = acme_monotonic() + RESOLVE_TIMEOUT;
    guard_names = apr_array_make(config_pool, 4, sizeof(guard_name_t));
    ap_mpm_query(AP_MPMQ_MAX_DAEMONS, &processes);
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    guard_prefork_processes = threads > 1 ? 0 : processes;
    guard_workers.process = guard_half(threads);
    guard_workers.server = guard_half(processes * (threads > 1 ? threads : 1));
    return 1;
}

/* Names */

static void guard_resolve_one(guard_name_t *name, apr_time_t latest)
{
    acme_addresses_t addresses;

    /* While name servers fail, the last addresses stay in use. */
    if (acme_net_resolve(&addresses, name->host, name->port, latest) == ACME_OK) {
        acme_guard_set_addresses(name->row, &addresses);
    }
    name->due = acme_monotonic() + RESOLVE_EVERY;
}

static int guard_is_named(const acme_guard_row_t *row)
{
    int i;

    for (i = 0; i < guard_names->nelts; i++) {
        if (APR_ARRAY_IDX(guard_names, i, guard_name_t).row == row) {
            return 1;
        }
    }
    return 0;
}

/* The first configuration of a start resolves each name, a reload those without an address. The
 * second one leaves failures to the watchdog, since httpd has detached. */
static void guard_add_name(server_rec *server, acme_guard_row_t *row, const char *host,
                           const char *port)
{
    int generation = ap_state_query(AP_SQ_CONFIG_GEN);
    guard_name_t name = {row, host, port, 0};
    acme_addresses_t known;

    acme_guard_addresses(&known, row);
    if (known.count == 0 && generation != ACME_ALPN_SECOND_OF_START) {
        guard_resolve_one(&name, guard_start_ends);
        acme_guard_addresses(&known, row);
    }
    name.due = known.count > 0 ? acme_monotonic() + RESOLVE_EVERY : 0;
    if (known.count == 0 && generation != ACME_ALPN_FIRST_OF_START) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server,
                     "AALPN0033: %s has no address, or its name servers did not answer in "
                     "2 seconds; correct the name or the DNS (retry every 30 seconds)",
                     host);
    }
    APR_ARRAY_PUSH(guard_names, guard_name_t) = name;
}

acme_guard_row_t *acme_alpn_guard_row(server_rec *server, const char *line, const char *host,
                                      const char *port)
{
    acme_guard_row_t *row = acme_guard_row(guard, line);
    acme_addresses_t addresses;

    if (!row) {
        ap_log_error(
            APLOG_MARK, APLOG_EMERG, 0, server,
            "AALPN0034: httpd cannot start: there are more than %d different AcmeAlpnStore and "
            "AcmeAlpnUpstream lines; remove some",
            ACME_GUARD_ROWS);
    } else if (!host) {
        acme_net_socket_address(&addresses, port);
        acme_guard_set_addresses(row, &addresses);
    } else if (!guard_is_named(row)) {
        guard_add_name(server, row, host, port);
    }
    return row;
}

void acme_alpn_guard_resolve(void)
{
    apr_time_t now = acme_monotonic(), latest = now + RESOLVE_TIMEOUT;
    int i;

    for (i = 0; guard_names && i < guard_names->nelts; i++) {
        guard_name_t *name = &APR_ARRAY_IDX(guard_names, i, guard_name_t);

        if (now >= name->due && acme_monotonic() < latest) {
            guard_resolve_one(name, latest);
        }
    }
}

/* Workers */

/* prefork may run few of its processes, and forks more one by one. So while none of them is
 * idle, half of the running ones may wait. */
static unsigned int guard_server_workers(void)
{
    int running = 0, i;
    unsigned int half;

    if (guard_prefork_processes == 0 || !ap_exists_scoreboard_image()) {
        return guard_workers.server;
    }
    for (i = 0; i < guard_prefork_processes; i++) {
        const worker_score *worker = ap_get_scoreboard_worker_from_indexes(i, 0);

        if (worker && worker->status == SERVER_READY) {
            return guard_workers.server;
        }
        running += worker && worker->status != SERVER_DEAD;
    }
    half = guard_half(running);
    return half < guard_workers.server ? half : guard_workers.server;
}

acme_guard_answer_e acme_alpn_guard_enter(acme_guard_pass_t *pass, acme_guard_row_t *row,
                                          unsigned int places, apr_time_t deadline)
{
    acme_guard_workers_t workers = {guard_server_workers(), guard_workers.process};

    return acme_guard_enter(pass, guard, row, places, workers, deadline);
}
