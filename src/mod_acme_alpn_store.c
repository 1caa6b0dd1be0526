#include "mod_acme_alpn_store.h"

#include <errno.h>
#include <string.h>

#include <apr_atomic.h>
#include <apr_shm.h>
#include <apr_strings.h>

#include <http_log.h>

#include "acme_store_pool.h"
#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_waiting.h"

APLOG_USE_MODULE(acme_alpn);

#define TIMEOUT       apr_time_from_msec(250)
#define LEFT_ALONE_MS 5000
#define REPORT_MS     60000

/* The stores of this configuration, an array in its pool. */
#define STORES "mod_acme_alpn:stores"

/* Milliseconds, modulo 2^32: only differences are looked at. 0 stands for never. */
typedef struct {
    apr_uint32_t until;      /* when the next may try; 0: the store works */
    apr_uint32_t reported;   /* when its failure was last logged */
    apr_uint32_t is_told;    /* that it fails, and not that it works again */
    apr_uint32_t generation; /* counts failures: connections from before one are not trusted */
} health_t;

struct acme_alpn_store_t {
    const char *line; /* as configured */
    acme_store_t *settings;
    health_t *health;        /* of all children */
    acme_store_pool_t *pool; /* of this one */
};

static apr_array_header_t *stores_of(apr_pool_t *config_pool)
{
    void *data = NULL;

    apr_pool_userdata_get(&data, STORES, config_pool);
    if (!data) {
        data = apr_array_make(config_pool, 2, sizeof(acme_alpn_store_t *));
        apr_pool_userdata_set(data, STORES, apr_pool_cleanup_null, config_pool);
    }
    return data;
}

static acme_alpn_store_t *find_line(const apr_array_header_t *stores, const char *line)
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

/* Until acme_alpn_store_init has memory that all children share, each has its own. */
static acme_alpn_store_t *create(apr_pool_t *pool, const char *line, acme_store_t *settings)
{
    acme_alpn_store_t *store = apr_pcalloc(pool, sizeof(*store));

    store->line = line;
    store->settings = settings;
    store->health = apr_pcalloc(pool, sizeof(*store->health));
    return store;
}

static const char *make(acme_alpn_store_t **store, apr_pool_t *pool, const char *line,
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
        *store = create(pool, line, settings);
    }
    return problem;
}

const char *acme_alpn_store_configure(cmd_parms *command, apr_array_header_t *stores, int count,
                                      char *const arguments[])
{
    apr_array_header_t *all = stores_of(command->pool);
    const char *line = "", *problem = NULL;
    acme_alpn_store_t *store;
    int i;

    for (i = 0; i < count; i++) {
        line = apr_pstrcat(command->pool, line, "\n", arguments[i], NULL);
    }
    store = find_line(all, line);
    if (!store && count > 0) {
        problem = make(&store, command->pool, line, count, arguments);
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

void acme_alpn_store_init(apr_pool_t *config_pool)
{
    const apr_array_header_t *stores = stores_of(config_pool);
    apr_size_t size = (apr_size_t)stores->nelts * sizeof(health_t);
    health_t *shared;
    apr_shm_t *memory;
    int i;

    /* Where there is no anonymous shared memory each child finds out for itself. */
    if (size == 0 || apr_shm_create(&memory, size, NULL, config_pool) != APR_SUCCESS) {
        return;
    }
    shared = apr_shm_baseaddr_get(memory);
    memset(shared, 0, size);
    for (i = 0; i < stores->nelts; i++) {
        APR_ARRAY_IDX(stores, i, acme_alpn_store_t *)->health = &shared[i];
    }
}

static void create_pools(apr_pool_t *pool, const server_rec *server)
{
    const apr_array_header_t *stores = acme_alpn_server_get(server)->stores;
    int i;

    for (i = 0; stores && i < stores->nelts; i++) {
        acme_alpn_store_t *store = APR_ARRAY_IDX(stores, i, acme_alpn_store_t *);

        if (!store->pool) {
            store->pool = acme_store_pool_create(pool, store->settings);
        }
    }
}

void acme_alpn_store_child_init(apr_pool_t *pool, server_rec *server)
{
    for (; server; server = server->next) {
        create_pools(pool, server);
    }
}

static apr_uint32_t clock_ms(void)
{
    apr_uint32_t now = (apr_uint32_t)apr_time_as_msec(apr_time_now());

    return now ? now : 1;
}

static apr_uint32_t later(apr_uint32_t now, apr_uint32_t milliseconds)
{
    return now + milliseconds ? now + milliseconds : 1;
}

/* `until` is the health's. */
static int is_left_alone(apr_uint32_t until)
{
    apr_uint32_t now = clock_ms();

    return until != 0 && until - now <= LEFT_ALONE_MS && until != now;
}

/* Of those who could ask, when the store has been left alone for long enough, one tries, and
 * the others go on leaving it alone until that one knows. */
static int may_try(health_t *health, apr_uint32_t until)
{
    return until == 0 ||
           apr_atomic_cas32(&health->until, later(clock_ms(), LEFT_ALONE_MS), until) == until;
}

/* What says something of the store, and not of one entry in it, or of this process. */
static int is_failure(acme_error_e error)
{
    switch (error) {
    case ACME_STORE_UNRESOLVED:
    case ACME_STORE_UNREACHABLE:
    case ACME_STORE_TIMEOUT:
    case ACME_STORE_CLOSED:
    case ACME_STORE_TLS_FAILED:
    case ACME_STORE_PROTOCOL:
    case ACME_STORE_DENIED:
    case ACME_STORE_FAILED:
        return 1;
    default:
        return 0;
    }
}

/* What says nothing of the store, since it never came to that. */
static int is_our_own(acme_error_e error)
{
    return error == ACME_STORE_BUSY || error == ACME_SYSTEM_ERROR;
}

static void report_failure(const server_rec *server, acme_alpn_store_t *store,
                           acme_error_e error, const acme_store_call_t *call)
{
    apr_uint32_t now = clock_ms(), last = apr_atomic_read32(&store->health->reported);

    apr_atomic_set32(&store->health->until, later(now, LEFT_ALONE_MS));
    apr_atomic_inc32(&store->health->generation);
    if ((last && now - last < REPORT_MS) ||
        apr_atomic_cas32(&store->health->reported, now, last) != last) {
        return;
    }
    apr_atomic_set32(&store->health->is_told, 1);
    ap_log_error(
        APLOG_MARK, APLOG_ERR, 0, server,
        "AALPN0401: AcmeAlpnStore %s fails: reason=%s: %s%s%s%s; it is left alone for 5 "
        "seconds each time, and this is said once a minute",
        store->settings->name, acme_error_slug(error), acme_error_text(error),
        call->detail[0] ? " (" : "", call->detail, call->detail[0] ? ")" : "");
}

static void report_success(const server_rec *server, acme_alpn_store_t *store)
{
    if (apr_atomic_read32(&store->health->until) == 0) {
        return;
    }
    apr_atomic_set32(&store->health->until, 0);
    if (apr_atomic_xchg32(&store->health->is_told, 0)) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, server,
                     "AALPN0402: AcmeAlpnStore %s works again", store->settings->name);
    }
}

static acme_error_e find(acme_alpn_challenge_t *challenge, acme_alpn_store_t *store,
                         const acme_alpn_waiting_t *waiting, apr_interval_time_t timeout)
{
    acme_store_call_t call;
    acme_error_e error;

    acme_store_begin(&call, store->settings, timeout);
    error = acme_store_pool_find(&challenge->digest, store->pool, &call, &challenge->identifier,
                                 apr_atomic_read32(&store->health->generation));
    /* A moment is too short to say anything of the store. */
    if (error == ACME_STORE_TIMEOUT && waiting->is_brief) {
        error = ACME_STORE_BUSY;
    }
    if (is_failure(error)) {
        report_failure(challenge->server, store, error, &call);
    } else if (!is_our_own(error)) {
        report_success(challenge->server, store);
    }
    return error;
}

/* A store that is left alone takes no worker, and the one who tries it again has one already.
 */
static acme_error_e wait_for_answer(acme_alpn_challenge_t *challenge, acme_alpn_store_t *store)
{
    apr_interval_time_t timeout = store->settings->timeout ? store->settings->timeout : TIMEOUT;
    apr_uint32_t until = apr_atomic_read32(&store->health->until);
    acme_error_e error = ACME_STORE_LEFT_ALONE;
    apr_time_t deadline = apr_time_now() + timeout;
    acme_alpn_waiting_t waiting;

    if (is_left_alone(until)) {
        return error;
    }
    if (!acme_alpn_waiting_enter(&waiting, ACME_ALPN_WAITING_STORE, &deadline)) {
        return ACME_STORE_BUSY;
    }
    if (may_try(store->health, until)) {
        error = find(challenge, store, &waiting, deadline - waiting.since);
        /* Who did not get as far as the store leaves it to the next to try. */
        if (until && is_our_own(error)) {
            apr_atomic_set32(&store->health->until, clock_ms());
        }
    }
    acme_alpn_waiting_leave(&waiting,
                            error != ACME_STORE_BUSY && error != ACME_STORE_LEFT_ALONE);
    return error;
}

acme_error_e acme_alpn_store_ask(acme_alpn_challenge_t *challenge, acme_alpn_store_t *store,
                                 apr_pool_t *pool)
{
    const acme_store_t *settings = store->settings;

    challenge->source = ACME_ALPN_SOURCE_STORE;
    challenge->file = apr_pstrcat(pool, settings->name, "#", settings->prefix,
                                  challenge->identifier.name, NULL);
    return store->pool ? wait_for_answer(challenge, store) : ACME_SYSTEM_ERROR;
}

const char *acme_alpn_store_name(const acme_alpn_store_t *store)
{
    return store->settings->name;
}

int acme_alpn_store_is_down(const acme_alpn_store_t *store)
{
    return store->health && apr_atomic_read32(&store->health->until) != 0;
}
