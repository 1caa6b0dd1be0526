#include "mod_acme_alpn_watch.h"

#include <string.h>

#include <apr_atomic.h>
#include <apr_hash.h>
#include <apr_optional.h>
#include <apr_shm.h>
#include <apr_strings.h>

#include <http_log.h>
#include <mod_watchdog.h>
#include <unixd.h>

#include "acme_watch.h"
#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_guard.h"
#include "mod_acme_alpn_log.h"

APLOG_USE_MODULE(acme_alpn);

/* An own thread: another module's callback must not hold ours up. */
#define WATCHDOG_NAME "_acme_alpn_watch_"
#define INTERVAL      apr_time_from_sec(1)

/* What outlives a reload. The number changes with acme_watch_memory_t. */
#define SAVED_MEMORY "mod_acme_alpn:watch:1"

/* How long a child that ends waits for a tick, which takes less. */
#define END_MAX  apr_time_from_sec(5)
#define END_STEP apr_time_from_msec(5)

/* `turn`: whose turn it is in this process. */
enum { TURN_NOBODY, TURN_TICK, TURN_END };

static struct {
    acme_watch_t *watch;
    acme_watch_spool_t *spools;
    server_rec **servers; /* for each spool, the first server that it is for */
    apr_size_t count;
    volatile apr_uint32_t turn;
    int has_suppressed; /* lines of files that are not in order, since the last one */
} the;

/* The log */

static const char *status_text(apr_pool_t *pool, apr_status_t status)
{
    char text[128];

    return status ? apr_psprintf(pool, " (%s)", apr_strerror(status, text, sizeof(text))) : "";
}

static void log_arrived(server_rec *server, const char *spool, const char *file,
                        apr_pool_t *pool)
{
    const char *note;

    if (APLOG_IS_LEVEL(server, APLOG_INFO) &&
        acme_alpn_log_lets_through(&note, ACME_ALPN_LIMIT_ARRIVED, pool)) {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, server,
                     "AALPN0211: arrived: spool=%s file=%s%s: a challenge would be answered "
                     "from it",
                     spool, file, note);
    }
}

static void log_refused(server_rec *server, const char *spool, const char *file,
                        const acme_watch_report_t *report, apr_pool_t *pool)
{
    const char *note;

    if (!acme_alpn_log_lets_through(&note, ACME_ALPN_LIMIT_WATCH, pool)) {
        the.has_suppressed = 1;
        return;
    }
    the.has_suppressed = 0;
    if (report->news == ACME_WATCH_LEFTOVER) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server,
                     "AALPN0214: left over: spool=%s file=%s%s: a temporary file that nobody "
                     "has renamed for an hour; the ACME client may have failed",
                     spool, file, note);
    } else if (report->reason == ACME_ENTRY_TOO_OLD) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server,
                     "AALPN0213: too old: spool=%s file=%s%s: the entry is older than "
                     "AcmeAlpnMaxAge; its ACME client has not removed it",
                     spool, file, note);
    } else {
        ap_log_error(APLOG_MARK, APLOG_WARNING, report->status, server,
                     "AALPN0212: unusable: spool=%s file=%s reason=%s%s: no challenge is "
                     "answered from it: %s",
                     spool, file, acme_error_slug(report->reason), note,
                     acme_error_text(report->reason));
    }
}

/* Of the spool itself, once for each change, so there is no limit to it: what is suppressed
 * would never be told. */
static void log_spool(server_rec *server, const char *spool, const acme_watch_report_t *report,
                      apr_pool_t *pool)
{
    switch (report->news) {
    case ACME_WATCH_UNUSABLE:
        ap_log_error(APLOG_MARK, APLOG_ERR, report->status, server,
                     "AALPN0215: spool=%s reason=%s: no challenge is answered from it until "
                     "this is mended: %s",
                     spool, acme_error_slug(report->reason), acme_error_text(report->reason));
        break;
    case ACME_WATCH_USABLE:
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, server,
                     "AALPN0216: spool=%s: challenges are answered from it again", spool);
        break;
    case ACME_WATCH_NO_EVENTS:
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, server,
                     "AALPN0218: spool=%s: the system does not tell of its files%s, so what "
                     "is written into or set on an entry in place is not noticed",
                     spool, status_text(pool, report->status));
        break;
    default:
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, server,
                     "AALPN0219: spool=%s: more files came than the system tells of; reading "
                     "all of them",
                     spool);
        break;
    }
}

/* How many were not told: the next line that could say so may come days later. */
static void log_suppressed(apr_pool_t *pool)
{
    const char *note;

    if (the.has_suppressed && acme_alpn_log_lets_through(&note, ACME_ALPN_LIMIT_WATCH, pool)) {
        the.has_suppressed = 0;
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, the.servers[0],
                     "AALPN0221: not told one by one:%s: so many more files are unusable, too "
                     "old or left over; `acme-alpn list` shows the entries",
                     note);
    }
}

static void log_report(void *baton, const acme_watch_report_t *report)
{
    apr_pool_t *pool = baton;
    server_rec *server = the.servers[report->spool];
    const char *spool = the.spools[report->spool].spool.directory;
    const char *file = report->name ? ap_escape_urlencoded(pool, report->name) : NULL;

    if (!file) {
        log_spool(server, spool, report, pool);
    } else if (report->news == ACME_WATCH_ARRIVED) {
        log_arrived(server, spool, file, pool);
    } else {
        log_refused(server, spool, file, report, pool);
    }
}

/* Ticks, in a thread of mod_watchdog */

/* STOPPING is of no use: some versions of httpd call it while a tick goes on. */
static apr_status_t on_watchdog(int state, void *data, apr_pool_t *pool)
{
    (void)data;
    if (state == AP_WATCHDOG_STATE_STOPPING) {
        return APR_SUCCESS;
    }
    if (apr_atomic_cas32(&the.turn, TURN_TICK, TURN_NOBODY) != TURN_NOBODY) {
        return APR_EOF;
    }
    if (state == AP_WATCHDOG_STATE_STARTING) {
        ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, the.servers[0],
                     "AALPN0220: this process watches the spools from now on");
    }
    log_suppressed(pool);
    acme_watch_tick(the.watch, apr_time_now(), pool);
    apr_atomic_cas32(&the.turn, TURN_NOBODY, TURN_TICK);
    acme_alpn_guard_resolve();
    return APR_SUCCESS;
}

/* prefork ends its children in a signal handler, so this waits for no lock. */
static apr_status_t end(void *data)
{
    apr_time_t deadline = apr_time_now() + END_MAX;

    (void)data;
    while (apr_atomic_cas32(&the.turn, TURN_END, TURN_NOBODY) != TURN_NOBODY) {
        if (apr_time_now() >= deadline) {
            return APR_TIMEUP;
        }
        apr_sleep(END_STEP);
    }
    acme_watch_close(the.watch);
    return APR_SUCCESS;
}

void acme_alpn_watch_child_init(apr_pool_t *pool)
{
    if (the.watch) {
        apr_pool_pre_cleanup_register(pool, NULL, end);
    }
}

/* Setting up */

/* An entry is of use as long as one of the servers with this spool takes it. */
static void add_spool(server_rec *server, const acme_spool_t *spool)
{
    apr_size_t i;

    for (i = 0; i < the.count; i++) {
        acme_spool_t *known = &the.spools[i].spool;

        if (strcmp(known->directory, spool->directory) == 0) {
            if (spool->entry_age > known->entry_age) {
                known->entry_age = spool->entry_age;
            }
            return;
        }
    }
    the.spools[the.count].spool = *spool;
    the.servers[the.count] = server;
    the.count++;
}

static void collect_spools(apr_pool_t *pool, const apr_array_header_t *servers)
{
    apr_size_t i, most = (apr_size_t)servers->nelts;
    const char *closed;
    uid_t owner;

    the.spools = apr_pcalloc(pool, most * sizeof(*the.spools));
    the.servers = apr_pcalloc(pool, most * sizeof(*the.servers));
    the.count = 0;
    for (i = 0; i < most; i++) {
        server_rec *server = APR_ARRAY_IDX(servers, i, server_rec *);
        acme_spool_t spool = acme_alpn_server_spool(server);

        add_spool(server, &spool);
    }
    /* What the start has to say of them is said by mod_acme_alpn_check.c. */
    for (i = 0; i < the.count; i++) {
        the.spools[i].known =
            acme_spool_check(pool, the.spools[i].spool.directory, ap_unixd_config.user_id,
                             ap_unixd_config.group_id, &owner, &closed);
    }
}

/* Where there is no anonymous shared memory each child remembers what it has seen itself. */
static acme_watch_memory_t *saved_memory(apr_pool_t *process_pool)
{
    apr_size_t size = sizeof(acme_watch_memory_t);
    apr_shm_t *shared;
    void *memory = NULL;

    apr_pool_userdata_get(&memory, SAVED_MEMORY, process_pool);
    if (memory) {
        return memory;
    }
    if (apr_shm_create(&shared, size, NULL, process_pool) == APR_SUCCESS) {
        memory = memset(apr_shm_baseaddr_get(shared), 0, size);
    } else {
        memory = apr_pcalloc(process_pool, size);
    }
    /* Not _setn, which keeps the pointer to the name: the module may be elsewhere after a
     * reload. */
    apr_pool_userdata_set(memory, SAVED_MEMORY, apr_pool_cleanup_null, process_pool);
    return memory;
}

/* `turn` stays: in a child that ends it is nobody's any more. */
static apr_status_t forget(void *data)
{
    (void)data;
    the.watch = NULL;
    the.count = 0;
    return APR_SUCCESS;
}

static apr_status_t engage(apr_pool_t *pool)
{
    APR_OPTIONAL_FN_TYPE(ap_watchdog_get_instance) *get_instance =
        APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_get_instance);
    APR_OPTIONAL_FN_TYPE(ap_watchdog_register_callback) *register_callback =
        APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_register_callback);
    ap_watchdog_t *watchdog;
    apr_status_t status;

    if (!get_instance || !register_callback) {
        return APR_ENOTIMPL;
    }
    status = get_instance(&watchdog, WATCHDOG_NAME, 0, 1, pool);
    return status == APR_SUCCESS ? register_callback(watchdog, INTERVAL, &the, on_watchdog)
                                 : status;
}

void acme_alpn_watch_init(apr_pool_t *config_pool, const apr_array_header_t *servers)
{
    server_rec *first = APR_ARRAY_IDX(servers, 0, server_rec *);
    apr_status_t status = engage(config_pool);

    if (status != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, status == APR_ENOTIMPL ? 0 : status, first,
                     "AALPN0217: mod_watchdog is not loaded or failed, so nobody looks after "
                     "the spools; load it to have bad entries reported before a CA comes");
        return;
    }
    collect_spools(config_pool, servers);
    the.turn = TURN_NOBODY;
    the.watch = acme_watch_create(config_pool, saved_memory(first->process->pool), the.spools,
                                  the.count, log_report, apr_time_now());
    apr_pool_cleanup_register(config_pool, NULL, forget, apr_pool_cleanup_null);
}
