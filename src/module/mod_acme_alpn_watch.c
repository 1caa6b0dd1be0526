/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <apr_hash.h>
#include <apr_optional.h>
#include <apr_strings.h>

#include <http_log.h>
#include <http_main.h>
#include <mod_watchdog.h>

#include "acme_spool.h"
#include "acme_text.h"
#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_guard.h"
#include "mod_acme_alpn_log.h"

#ifdef __linux__
#include <sys/inotify.h>
static int watch_inotify = -1;
#endif

APLOG_USE_MODULE(acme_alpn);

/* How many spools and how many files of scans a tick handles; the next one continues. */
#define WATCH_SPOOLS 100
#define WATCH_FILES  2000

/* How often a spool is scanned for old files; every AcmeAlpnMaxAge if that is shorter. */
#define WATCH_AGEING       apr_time_from_sec(10 * 60)
#define WATCH_LEFTOVER_AGE apr_time_from_sec(60 * 60)
#define WATCH_NEVER        APR_INT64_MAX

/* The state of a spool that this process has not checked yet. */
#define WATCH_UNSEEN ACME_ERRORS

typedef struct {
    acme_spool_t spool;
    server_rec *server;             /* the first one with this spool */
    acme_error_e state;             /* as logged last */
    struct stat directory;          /* at the last check; no inode while it is unusable */
    apr_time_t logged;              /* its mtime at the last check: older files are logged */
    int wd;                         /* inotify's number; 0: none yet, -1: do not ask */
    apr_uint32_t checked, notified; /* the ticks of the last check and event */
    apr_time_t since;   /* the next scan logs the files that have changed after this */
    apr_time_t scanned; /* when the last scan began; 0: the next one is the first */
} watch_spool_t;

/* Not shared: after a reload, or in another process, the watch starts afresh. */
static watch_spool_t **watch_spools;
static int watch_count;
static apr_hash_t *watch_by_wd;
static int watch_is_refused; /* AALPN0218 has been logged */
static int watch_first;      /* the spool that the tick begins with */
static apr_time_t watch_now; /* when the tick began */
static apr_uint32_t watch_tick;

/* The current scan, if there is a stream. */
static struct {
    watch_spool_t *spool;
    DIR *stream;
    apr_time_t since, previous; /* the spool's `since` and `scanned` when it began */
} watch_scan;

/* ACME_NO_ENTRY means a temporary file that is left over. */
static void watch_log_file(const watch_spool_t *spool, const char *file, acme_error_e reason,
                           apr_pool_t *pool)
{
    apr_status_t status = reason == ACME_SYSTEM_ERROR ? errno : 0;
    const char *directory = spool->spool.directory, *note;
    acme_alpn_limit_e limit =
        reason == ACME_OK ? ACME_ALPN_LIMIT_ARRIVED : ACME_ALPN_LIMIT_WATCH;

    if ((reason == ACME_OK && !APLOG_IS_LEVEL(spool->server, APLOG_INFO)) ||
        !acme_alpn_log_lets_through(&note, limit, pool)) {
        return;
    }
    file = acme_text_word(pool, file);
    if (reason == ACME_OK) {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, spool->server,
                     "AALPN0211: arrived: spool=%s file=%s%s: httpd answers challenges from it",
                     directory, file, note);
    } else if (reason == ACME_NO_ENTRY) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, spool->server,
                     "AALPN0214: left over: spool=%s file=%s%s: a temporary file, an hour old; "
                     "remove it, and see the ACME client's log",
                     directory, file, note);
    } else if (reason == ACME_ENTRY_TOO_OLD) {
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, spool->server,
            "AALPN0213: too old: spool=%s file=%s%s: expired by AcmeAlpnMaxAge; remove "
            "it, and see the ACME client's log",
            directory, file, note);
    } else {
        ap_log_error(APLOG_MARK, APLOG_WARNING, status, spool->server,
                     "AALPN0212: unusable: spool=%s file=%s reason=%s%s: %s", directory, file,
                     acme_error_slug(reason), note, acme_error_text(reason));
    }
}

static void watch_judge(const watch_spool_t *spool, int directory_fd, const char *file,
                        int logs_good, apr_pool_t *pool)
{
    acme_spool_entry_t entry;
    struct stat directory;

    if (fstat(directory_fd, &directory) != 0) {
        return;
    }
    entry = acme_spool_examine(directory_fd, &directory, file, &spool->spool, watch_now);
    /* Before the first scan an event logs no bad entry: that scan logs them all. */
    if (entry.state != ACME_NO_ENTRY &&
        (entry.state == ACME_OK ? logs_good : spool->scanned != 0)) {
        watch_log_file(spool, file, entry.state, pool);
    }
}

/* Returns whether inotify gave a new number: the path now leads to another directory. */
static int watch_subscribe(watch_spool_t *spool)
{
    apr_pool_t *pool = apr_hash_pool_get(watch_by_wd);
    int wd = -1, known = spool->wd;

    if (known < 0) {
        return 0;
    }
    errno = ENOSYS;
#ifdef __linux__
    if (watch_inotify < 0) {
        watch_inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    }
    if (watch_inotify >= 0) {
        /* IN_CREATE is for links, which are never written. */
        wd = inotify_add_watch(watch_inotify, spool->spool.directory,
                               IN_CREATE | IN_MOVE | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE);
    }
#endif
    if (wd < 0) {
        spool->wd = errno == EACCES ? -1 : 0; /* SELinux logs each try that it refuses */
        if (!watch_is_refused) {
            watch_is_refused = 1;
            ap_log_error(
                APLOG_MARK, APLOG_NOTICE, errno, spool->server,
                "AALPN0218: spool=%s: no inotify, so a changed file may be missed; check "
                "fs.inotify.max_user_instances and max_user_watches, and SELinux",
                spool->spool.directory);
        }
    } else if (wd != known) {
        apr_hash_set(watch_by_wd, apr_pmemdup(pool, &wd, sizeof(wd)), sizeof(wd), spool);
        spool->wd = wd;
    }
    return known > 0 && wd > 0 && wd != known;
}

/* `names` gets the spool of each file, by "WD/NAME". Returns whether events were lost. */
static int watch_read_events(apr_hash_t *names)
{
    int has_lost = 0;

    (void)names;
#ifdef __linux__
    struct inotify_event buffer[1024];
    apr_pool_t *pool = apr_hash_pool_get(names);
    ssize_t length, offset;

    while ((length = read(watch_inotify, buffer, sizeof(buffer))) > 0) {
        for (offset = 0; offset < length;) {
            const struct inotify_event *event = (const void *)((const char *)buffer + offset);
            watch_spool_t *spool = apr_hash_get(watch_by_wd, &event->wd, sizeof(event->wd));

            offset += (ssize_t)(sizeof(*event) + event->len);
            has_lost |= (event->mask & IN_Q_OVERFLOW) != 0;
            if (spool) {
                spool->notified = watch_tick;
            }
            if (spool && event->len > 0 && event->name[0] != '.') {
                apr_hash_set(names, apr_psprintf(pool, "%d/%s", event->wd, event->name),
                             APR_HASH_KEY_STRING, spool);
            }
        }
    }
#endif
    return has_lost;
}

static void watch_handle_events(apr_pool_t *pool)
{
    apr_hash_t *names = apr_hash_make(pool);
    apr_hash_index_t *index;
    struct stat directory;
    int fd, i;

    if (watch_read_events(names)) {
        ap_log_error(
            APLOG_MARK, APLOG_INFO, 0, ap_server_conf,
            "AALPN0219: inotify lost events: too many files at once; reading all spools");
        for (i = 0; i < watch_count; i++) {
            if (watch_spools[i]->logged < watch_spools[i]->since) {
                watch_spools[i]->since = watch_spools[i]->logged;
            }
        }
        return;
    }
    for (index = apr_hash_first(pool, names); index; index = apr_hash_next(index)) {
        const watch_spool_t *spool = apr_hash_this_val(index);

        if (acme_spool_open(&fd, &directory, spool->spool.directory) == ACME_OK) {
            watch_judge(spool, fd, strchr(apr_hash_this_key(index), '/') + 1, 1, pool);
            close(fd);
        }
    }
}

static void watch_scan_file(const char *file, apr_pool_t *pool)
{
    const watch_spool_t *spool = watch_scan.spool;
    int fd = dirfd(watch_scan.stream), is_dot = file[0] == '.', has_changed, is_due;
    apr_interval_time_t age = is_dot ? WATCH_LEFTOVER_AGE : spool->spool.max_age;
    struct stat status;

    if (fstatat(fd, file, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return;
    }
    has_changed = acme_spool_time(&status.st_ctim) > watch_scan.since;
    is_due = acme_spool_is_too_old(status.st_mtime, age, spool->scanned) &&
             !acme_spool_is_too_old(status.st_mtime, age, watch_scan.previous);
    if (!is_dot && (has_changed || is_due || watch_scan.previous == 0)) {
        watch_judge(spool, fd, file, has_changed, pool);
    } else if (is_dot && is_due && S_ISREG(status.st_mode)) {
        watch_log_file(spool, file, ACME_NO_ENTRY, pool);
    }
}

static void watch_continue_scan(int *files, apr_pool_t *pool)
{
    while (watch_scan.stream && (*files)-- > 0) {
        const struct dirent *file = readdir(watch_scan.stream);

        if (file) {
            watch_scan_file(file->d_name, pool);
        } else {
            closedir(watch_scan.stream);
            watch_scan.stream = NULL;
        }
    }
}

/* Before the events are read, so that each change up to now has its event then. */
static void watch_check_spool(watch_spool_t *spool)
{
    const char *path = spool->spool.directory;
    struct stat known = spool->directory;
    int fd;
    acme_error_e state = acme_spool_open(&fd, &spool->directory, path);
    apr_status_t status = state == ACME_SYSTEM_ERROR ? errno : 0;

    /* Once for each change, so without a log rate limit. The start has logged its state. */
    if (spool->state == WATCH_UNSEEN) {
        spool->state = state;
    }
    if (state == ACME_OK && spool->state != ACME_OK) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, spool->server,
                     "AALPN0216: spool=%s: httpd answers challenges from it again", path);
    } else if (state != spool->state) {
        ap_log_error(APLOG_MARK, APLOG_ERR, status, spool->server,
                     "AALPN0215: spool=%s reason=%s: httpd answers no challenge from it: %s",
                     path, acme_error_slug(state), acme_error_text(state));
    }
    spool->state = state;
    if (state != ACME_OK) {
        spool->directory.st_ino = 0;
        return;
    }
    close(fd);
    if (!watch_subscribe(spool) && known.st_ino == spool->directory.st_ino &&
        known.st_dev == spool->directory.st_dev) {
        return;
    }
    if (watch_scan.stream && watch_scan.spool == spool) {
        closedir(watch_scan.stream);
        watch_scan.stream = NULL;
    }
    spool->logged = acme_spool_time(&spool->directory.st_mtim);
    spool->since = WATCH_NEVER;
    spool->scanned = 0;
}

/* After the events are read. An mtime that changed without an event means that another node
 * wrote to a shared file system, whose clock sets mtime and ctime of its files. */
static void watch_settle(watch_spool_t *spool)
{
    apr_interval_time_t ageing =
        spool->spool.max_age < WATCH_AGEING ? spool->spool.max_age : WATCH_AGEING;
    apr_time_t changed = acme_spool_time(&spool->directory.st_mtim);

    if (changed != spool->logged && spool->logged < spool->since &&
        (spool->wd <= 0 || spool->notified < spool->checked)) {
        spool->since = spool->logged;
    }
    spool->logged = changed;
    spool->checked = watch_tick;
    if (watch_scan.stream ||
        (spool->since == WATCH_NEVER && watch_now - spool->scanned < ageing)) {
        return;
    }
    watch_scan.stream = opendir(spool->spool.directory);
    if (watch_scan.stream) {
        watch_scan.spool = spool;
        watch_scan.since = spool->since;
        watch_scan.previous = spool->scanned;
        spool->since = WATCH_NEVER;
        spool->scanned = watch_now;
    }
}

/* In a thread of mod_watchdog, which still runs when a child's exit() has cleaned libcrypto up:
 * nothing here may use that. */
static apr_status_t watch_run(int state, void *data, apr_pool_t *pool)
{
    int count = watch_count < WATCH_SPOOLS ? watch_count : WATCH_SPOOLS, files = WATCH_FILES;
    watch_spool_t *spool;
    const char *note;
    int i;

    (void)data;
    if (state == AP_WATCHDOG_STATE_STOPPING) {
        return APR_SUCCESS;
    }
    watch_now = apr_time_now();
    watch_tick++;
    /* The next line with `suppressed` may come days later. */
    if (acme_alpn_log_lets_through(&note, ACME_ALPN_LIMIT_WATCH, pool) && *note) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, ap_server_conf,
                     "AALPN0221: log rate limit:%s: `acme-alpn list` shows all entries", note);
    }
    for (i = 0; i < count; i++) {
        watch_check_spool(watch_spools[(watch_first + i) % watch_count]);
    }
    watch_handle_events(pool);
    for (i = 0; i < count; i++) {
        spool = watch_spools[(watch_first + i) % watch_count];
        if (spool->state == ACME_OK) {
            watch_settle(spool);
        }
        watch_continue_scan(&files, pool);
    }
    watch_first = (watch_first + count) % watch_count;
    if (state == AP_WATCHDOG_STATE_STARTING) {
        ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, ap_server_conf,
                     "AALPN0220: this process watches the spools from now on");
    }
    acme_alpn_guard_resolve();
    return APR_SUCCESS;
}

/* Setting up */

static void watch_add_spool(apr_pool_t *pool, apr_hash_t *known, server_rec *server)
{
    acme_spool_t spool = acme_alpn_server_spool(server);
    watch_spool_t *watched = apr_hash_get(known, spool.directory, APR_HASH_KEY_STRING);

    if (watched) {
        /* An entry is valid as long as one of the servers accepts it. */
        if (watched->spool.max_age < spool.max_age) {
            watched->spool.max_age = spool.max_age;
        }
        if (strcmp(watched->spool.accounts, spool.accounts) != 0) {
            watched->spool.accounts = ACME_ACCOUNT_ANY;
        }
        return;
    }
    watched = apr_pcalloc(pool, sizeof(*watched));
    watched->spool = spool;
    watched->server = server;
    watched->state = WATCH_UNSEEN;
    apr_hash_set(known, spool.directory, APR_HASH_KEY_STRING, watched);
    watch_spools[watch_count++] = watched;
}

void acme_alpn_watch_init(apr_pool_t *config_pool, const apr_array_header_t *servers)
{
    APR_OPTIONAL_FN_TYPE(ap_watchdog_get_instance) *get_instance =
        APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_get_instance);
    APR_OPTIONAL_FN_TYPE(ap_watchdog_register_callback) *register_callback =
        APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_register_callback);
    ap_watchdog_t *watchdog;
    apr_hash_t *known;
    apr_pool_t *pool;
    int i;

    /* An own thread: another module's callback must not delay a tick. */
    if (!get_instance || !register_callback ||
        get_instance(&watchdog, "_acme_alpn_watch_", 0, 1, config_pool) != APR_SUCCESS ||
        register_callback(watchdog, apr_time_from_sec(1), NULL, watch_run) != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, ap_server_conf,
                     "AALPN0217: mod_watchdog is not loaded or failed, so no process watches "
                     "the spools; load it to log bad entries before a CA asks");
        return;
    }
    /* In a child only the thread of the watch allocates from it. */
    apr_pool_create(&pool, config_pool);
    known = apr_hash_make(pool);
    watch_by_wd = apr_hash_make(pool);
    watch_spools = apr_palloc(pool, (apr_size_t)servers->nelts * sizeof(*watch_spools));
    watch_count = 0;
    for (i = 0; i < servers->nelts; i++) {
        watch_add_spool(pool, known, APR_ARRAY_IDX(servers, i, server_rec *));
    }
}
