#include "mod_acme_alpn_waiting.h"

#include <string.h>

#include <apr_atomic.h>
#include <apr_shm.h>

#include <ap_mpm.h>
#include <http_log.h>
#include <scoreboard.h>

#include "mod_acme_alpn_config.h"

APLOG_USE_MODULE(acme_alpn);

/* What outlives a reload: the old children go on using it beside the new ones. Its name changes
 * with its layout. */
#define SAVED_MEMORY "mod_acme_alpn:waiting:1"

typedef struct {
    acme_places_t places[ACME_ALPN_WAITING_KINDS];
    apr_uint32_t is_slow[ACME_ALPN_WAITING_KINDS]; /* the last one took a moment or more */
} shared_t;

static shared_t *shared; /* NULL: no memory for it */

/* How long those who have no place may keep ordinary requests waiting: enough for a round trip
 * to a store, and for a responder's handshake. */
static const apr_interval_time_t moment[ACME_ALPN_WAITING_KINDS] = {
    [ACME_ALPN_WAITING_STORE] = apr_time_from_msec(50),
    [ACME_ALPN_WAITING_UPSTREAM] = apr_time_from_msec(500)};

/* How many of this process wait. */
static apr_uint32_t inside[ACME_ALPN_WAITING_KINDS];

/* Of stores and upstreams, how many are in use. */
static int kinds;

/* How many of each may, in a process and in the whole server. */
static unsigned int process_places, server_places;

/* The processes that there can be, where each serves one connection; otherwise 0. */
static int single_processes;

static shared_t *make_shared(apr_pool_t *pool)
{
    shared_t *made;
    apr_shm_t *memory;
    int kind;

    if (apr_shm_create(&memory, sizeof(*made), NULL, pool) != APR_SUCCESS) {
        return NULL;
    }
    made = apr_shm_baseaddr_get(memory);
    memset(made, 0, sizeof(*made));
    for (kind = 0; kind < ACME_ALPN_WAITING_KINDS; kind++) {
        acme_places_init(&made->places[kind], apr_time_now());
    }
    return made;
}

static shared_t *saved_shared(const server_rec *server)
{
    apr_pool_t *pool = server->process->pool;
    void *data = NULL;

    apr_pool_userdata_get(&data, SAVED_MEMORY, pool);
    if (!data) {
        data = make_shared(pool);
        if (data) {
            apr_pool_userdata_set(data, SAVED_MEMORY, apr_pool_cleanup_null, pool);
        }
    }
    return data;
}

static int count_kinds(const apr_array_header_t *vhosts)
{
    int has_stores = 0, has_upstreams = 0, i;

    for (i = 0; i < vhosts->nelts; i++) {
        const acme_alpn_server_t *config =
            acme_alpn_server_get(APR_ARRAY_IDX(vhosts, i, server_rec *));

        has_stores |= config->stores && config->stores->nelts > 0;
        has_upstreams |= config->upstreams != NULL;
    }
    return has_stores + has_upstreams;
}

/* What one of the kinds gets of the half that does not belong to ordinary requests. */
static unsigned int share(int workers)
{
    int most = workers / 2 / kinds;

    return most > 1 ? (unsigned int)most : 1;
}

static void count_workers(void)
{
    int processes = 1, threads = 1, most_threads;

    ap_mpm_query(AP_MPMQ_MAX_DAEMONS, &processes);
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    most_threads = threads > 1 ? threads : 1;
    server_places = share(processes * most_threads);
    process_places = share(most_threads);
    single_processes = most_threads == 1 ? processes : 0;
}

void acme_alpn_waiting_init(server_rec *server, const apr_array_header_t *vhosts)
{
    kinds = count_kinds(vhosts);
    if (kinds == 0) {
        return;
    }
    count_workers();
    shared = saved_shared(server);
    if (!shared) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, server,
                     "AALPN0030: no shared memory to count the handshakes that wait in, so "
                     "neither AcmeAlpnStore nor AcmeAlpnUpstream is asked");
    }
}

static unsigned int least(unsigned int one, unsigned int other)
{
    return one < other ? one : other;
}

/* A few of the processes that there can be may be running, and more are made only one after the
 * other: when none of them is left for the next connection, half of those that run is what
 * counts. */
static unsigned int places_now(void)
{
    int running = 0, i;

    if (single_processes == 0 || !ap_exists_scoreboard_image()) {
        return server_places;
    }
    for (i = 0; i < single_processes; i++) {
        const worker_score *worker = ap_get_scoreboard_worker_from_indexes(i, 0);

        if (worker && worker->status == SERVER_READY) {
            return server_places;
        }
        running += worker && worker->status != SERVER_DEAD;
    }
    return least(share(running), server_places);
}

static int take_place(acme_alpn_waiting_t *waiting, apr_time_t deadline)
{
    acme_alpn_waiting_e kind = waiting->kind;
    apr_time_t now = waiting->since;

    if (apr_atomic_inc32(&inside[kind]) < process_places &&
        acme_places_take(&waiting->place, &shared->places[kind], places_now(), now,
                         deadline - now + ACME_ALPN_WAITING_GRACE)) {
        return 1;
    }
    apr_atomic_dec32(&inside[kind]);
    return 0;
}

int acme_alpn_waiting_enter(acme_alpn_waiting_t *waiting, acme_alpn_waiting_e kind,
                            apr_time_t *deadline)
{
    if (!shared) {
        return 0;
    }
    waiting->kind = kind;
    waiting->since = apr_time_now();
    waiting->is_brief = !take_place(waiting, *deadline);
    if (waiting->is_brief && *deadline > waiting->since + moment[kind]) {
        *deadline = waiting->since + moment[kind];
    }
    return !waiting->is_brief || !apr_atomic_read32(&shared->is_slow[kind]);
}

void acme_alpn_waiting_leave(const acme_alpn_waiting_t *waiting, int is_answered)
{
    acme_alpn_waiting_e kind = waiting->kind;
    apr_uint32_t is_slow = apr_time_now() - waiting->since >= moment[kind];

    if ((is_answered || is_slow) && apr_atomic_read32(&shared->is_slow[kind]) != is_slow) {
        apr_atomic_set32(&shared->is_slow[kind], is_slow);
    }
    if (!waiting->is_brief) {
        acme_places_leave(&shared->places[kind], &waiting->place);
        apr_atomic_dec32(&inside[kind]);
    }
}
