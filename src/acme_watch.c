#include "acme_watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "acme_inotify.h"

#define NOWHERE (-1)
#define NEVER   APR_INT64_MAX

/* The time from tick to tick, about. */
#define TICK apr_time_from_sec(1)

/* How long one tick may take for what the kernel tells, and for reading. */
#define HEAR_MAX apr_time_from_msec(250)
#define READ_MAX apr_time_from_msec(250)

/* After a spool was read from end to end it is not read again for so many times as long as that
 * took: where changes may have been missed, and where entries have merely become too old. */
#define REST_AFTER_MISSING  20
#define REST_AFTER_EXPIRING 100

/* File systems take the time of a change from a clock that is coarser than ours, by two seconds
 * at most; what is within them is remembered file by file. */
#define CLOCK_SLACK apr_time_from_sec(2)

typedef struct {
    const acme_watch_spool_t *watched;
    acme_watch_past_t *past;
    acme_watch_past_t own_past; /* where the memory has no room */

    /* The directory as it was last seen; its mtime changes with the files that come and go, of
     * which there are events. */
    struct stat directory;
    int number; /* acme_inotify_add's, or NOWHERE */
    unsigned int is_usable : 1;
    unsigned int has_events : 1; /* since the mtime was last looked at */
    unsigned int is_unexplained : 1;
    unsigned int is_silent : 1; /* ACME_WATCH_NO_EVENTS has been reported */

    /* Reading from end to end. */
    unsigned int is_wanted : 1;  /* something may have been missed */
    unsigned int is_strange : 1; /* what is being read has not been read before */
    DIR *stream;                 /* while it goes on */
    apr_time_t began;
    apr_interval_time_t cost; /* of what is being read, or was last read */
    apr_time_t ended;         /* by the monotonic clock */
    apr_time_t newest;        /* the last ctime of what was looked at since `arrived` was set */
    apr_time_t due;           /* when the next file becomes too old, as far as is known */
} place_t;

struct acme_watch_t {
    acme_watch_memory_t *memory;
    acme_watch_report_fn *report;
    place_t *places;
    apr_size_t count;
    apr_size_t first; /* who comes first in the next tick */
    int events;       /* acme_inotify_open's, or NOWHERE */
    int events_error; /* errno where there is none */
    unsigned int is_deaf : 1;

    /* of the tick that goes on */
    apr_time_t now;
    void *baton;
};

/* Time */

static apr_time_t monotonic(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return apr_time_from_sec(time.tv_sec) + time.tv_nsec / 1000;
}

static apr_time_t time_of(const struct timespec *time)
{
    return apr_time_from_sec(time->tv_sec) + time->tv_nsec / 1000;
}

static int is_same_time(const struct timespec *left, const struct timespec *right)
{
    return left->tv_sec == right->tv_sec && left->tv_nsec == right->tv_nsec;
}

/* Reports */

static void report(acme_watch_t *watch, const place_t *place, acme_watch_news_e news,
                   const char *name, acme_error_e reason, int error)
{
    const acme_watch_report_t made = {
        .news = news,
        .spool = (apr_size_t)(place - watch->places),
        .name = name,
        .reason = reason,
        .status = error,
    };

    watch->report(watch->baton, &made);
}

static int system_error(acme_error_e reason)
{
    return reason == ACME_SYSTEM_ERROR ? errno : 0;
}

/* Files */

typedef struct {
    const char *name;
    int directory_fd;
    const struct stat *directory;
    struct stat status;
    int is_dot; /* not an entry */
} file_t;

static int is_too_old(const place_t *place, const file_t *file, apr_time_t when)
{
    apr_interval_time_t age =
        file->is_dot ? ACME_WATCH_LEFTOVER_AGE : place->watched->spool.entry_age;

    return acme_spool_is_too_old(file->status.st_mtime, age, when);
}

/* Remember when the file will be too old. */
static void note_due(place_t *place, const file_t *file, apr_time_t now)
{
    apr_interval_time_t age =
        file->is_dot ? ACME_WATCH_LEFTOVER_AGE : place->watched->spool.entry_age;
    time_t written = file->status.st_mtime;

    if (!is_too_old(place, file, now) && written <= apr_time_sec(now + ACME_SPOOL_FUTURE_MAX) &&
        apr_time_from_sec(written + 1) + age < place->due) {
        place->due = apr_time_from_sec(written + 1) + age;
    }
}

static void report_entry(acme_watch_t *watch, place_t *place, const file_t *file,
                         int tells_good)
{
    acme_spool_entry_t entry =
        acme_spool_examine(file->directory_fd, file->directory, file->name,
                           place->watched->spool.entry_age, watch->now);
    int error = system_error(entry.state);

    if (entry.state == ACME_OK) {
        if (tells_good) {
            report(watch, place, ACME_WATCH_ARRIVED, file->name, ACME_OK, 0);
        }
    } else if (entry.state != ACME_NO_ENTRY) { /* else it has just been withdrawn */
        report(watch, place, ACME_WATCH_REFUSED, file->name, entry.state, error);
    }
}

/* `tells_good` is whether it has come since the last look, and not been there before. */
static void report_file(acme_watch_t *watch, place_t *place, const file_t *file, int tells_good)
{
    int too_old = is_too_old(place, file, watch->now);

    if (file->is_dot && !(too_old && S_ISREG(file->status.st_mode))) {
        return;
    }
    if (!acme_watch_memory_is_new(watch->memory, file->name, &file->status, too_old)) {
        return;
    }
    if (file->is_dot) {
        report(watch, place, ACME_WATCH_LEFTOVER, file->name, ACME_OK, 0);
    } else {
        report_entry(watch, place, file, tells_good);
    }
}

/* Returns 0 where there is no such file (any more), or nothing of interest. */
static int look(file_t *file, int directory_fd, const struct stat *directory, const char *name)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return 0;
    }
    file->name = name;
    file->directory_fd = directory_fd;
    file->directory = directory;
    file->is_dot = name[0] == '.';
    return fstatat(directory_fd, name, &file->status, AT_SYMLINK_NOFOLLOW) == 0;
}

static void note_newest(place_t *place, const file_t *file, apr_time_t now)
{
    apr_time_t changed = time_of(&file->status.st_ctim);

    if (changed <= now && changed > place->newest) {
        place->newest = changed;
    }
}

/* What the kernel tells of, looked up from the start as in a handshake. */
static void look_at_new(acme_watch_t *watch, place_t *place, const char *name)
{
    struct stat directory;
    file_t file;
    int fd;

    if (acme_spool_open(&fd, &directory, place->watched->spool.directory) != ACME_OK) {
        place->is_wanted = 1;
        return;
    }
    if (look(&file, fd, &directory, name)) {
        note_newest(place, &file, watch->now);
        note_due(place, &file, watch->now);
        report_file(watch, place, &file, 1);
    }
    close(fd);
}

/* One of all files. */
static void look_at_one(acme_watch_t *watch, place_t *place, const char *name)
{
    file_t file;
    int has_come, has_expired;

    if (!look(&file, dirfd(place->stream), &place->directory, name)) {
        return;
    }
    note_newest(place, &file, watch->now);
    note_due(place, &file, watch->now);
    has_come = time_of(&file.status.st_ctim) >= place->past->arrived - CLOCK_SLACK;
    has_expired =
        is_too_old(place, &file, watch->now) && !is_too_old(place, &file, place->past->expired);
    if (has_come || has_expired || place->is_strange) {
        report_file(watch, place, &file, has_come);
    }
}

/* Reading from end to end */

static int is_same_directory(const struct stat *left, const struct stat *right)
{
    return left->st_dev == right->st_dev && left->st_ino == right->st_ino;
}

static void stop_reading(place_t *place)
{
    if (place->stream) {
        closedir(place->stream);
        place->stream = NULL;
        place->is_wanted = 1;
    }
}

static int is_past_directory(const place_t *place)
{
    return place->past->inode == (apr_uint64_t)place->directory.st_ino &&
           place->past->device == (apr_uint64_t)place->directory.st_dev;
}

static void start_reading(acme_watch_t *watch, place_t *place)
{
    struct stat status;
    int fd;

    if (acme_spool_open(&fd, &status, place->watched->spool.directory) != ACME_OK) {
        return;
    }
    place->stream = is_same_directory(&status, &place->directory) ? fdopendir(fd) : NULL;
    if (!place->stream) {
        close(fd);
        return; /* still wanted */
    }
    place->is_wanted = 0;
    place->is_strange = !is_past_directory(place);
    place->began = watch->now;
    place->cost = 0;
    place->due = NEVER;
}

static void finish_reading(place_t *place)
{
    closedir(place->stream);
    place->stream = NULL;
    place->past->device = (apr_uint64_t)place->directory.st_dev;
    place->past->inode = (apr_uint64_t)place->directory.st_ino;
    place->past->expired = place->began;
}

static void read_on(acme_watch_t *watch, place_t *place, apr_time_t deadline)
{
    apr_time_t start = monotonic(), end = start;
    const struct dirent *file = NULL;

    while (end < deadline && (file = readdir(place->stream)) != NULL) {
        look_at_one(watch, place, file->d_name);
        end = monotonic();
    }
    place->cost += end - start;
    place->ended = end;
    if (end < deadline) {
        finish_reading(place);
    }
}

/* What needs no longer rest than there is from tick to tick anyway has always had it. */
static int has_rested(const place_t *place, apr_time_t times)
{
    apr_interval_time_t rest = place->cost * times;

    return rest <= TICK || monotonic() - place->ended >= rest;
}

static void read_where_needed(acme_watch_t *watch, place_t *place, apr_time_t deadline)
{
    if (!place->is_usable) {
        return;
    }
    if (!place->stream &&
        ((place->is_wanted && has_rested(place, REST_AFTER_MISSING)) ||
         (watch->now >= place->due && has_rested(place, REST_AFTER_EXPIRING)))) {
        start_reading(watch, place);
    }
    if (place->stream) {
        read_on(watch, place, deadline);
    }
}

/* Directories */

static int is_shared(const acme_watch_t *watch, const place_t *place)
{
    apr_size_t i;

    for (i = 0; i < watch->count; i++) {
        if (&watch->places[i] != place && watch->places[i].number == place->number) {
            return 1;
        }
    }
    return 0;
}

static void unsubscribe(acme_watch_t *watch, place_t *place)
{
    if (place->number != NOWHERE && !is_shared(watch, place)) {
        acme_inotify_remove(watch->events, place->number);
    }
    place->number = NOWHERE;
}

/* The kernel takes a path and not a descriptor, so make sure that the path still leads to the
 * same directory. */
static void subscribe(acme_watch_t *watch, place_t *place)
{
    const char *path = place->watched->spool.directory;
    int error = watch->events_error;
    struct stat status;

    if (watch->events != NOWHERE) {
        place->number = acme_inotify_add(watch->events, path);
        error = errno;
    }
    if (place->number == NOWHERE) {
        if (!place->is_silent) {
            place->is_silent = 1;
            report(watch, place, ACME_WATCH_NO_EVENTS, NULL, ACME_OK, error);
        }
        return;
    }
    place->is_wanted = 1;
    place->is_silent = 0;
    if (stat(path, &status) != 0 || !is_same_directory(&status, &place->directory)) {
        unsubscribe(watch, place);
    }
}

static void note_state(acme_watch_t *watch, place_t *place, acme_error_e reason, int error)
{
    if (place->past->said != (apr_uint32_t)reason) {
        place->past->said = (apr_uint32_t)reason;
        report(watch, place, reason == ACME_OK ? ACME_WATCH_USABLE : ACME_WATCH_UNUSABLE, NULL,
               reason, error);
    }
}

/* A change that has no event yet has until the next tick for one to come. */
static void explain_change(place_t *place, const struct stat *status)
{
    int has_changed = !is_same_time(&status->st_mtim, &place->directory.st_mtim) ||
                      !is_same_time(&status->st_ctim, &place->directory.st_ctim);

    if (place->number == NOWHERE) {
        if (has_changed || time_of(&status->st_mtim) >= place->began - CLOCK_SLACK) {
            place->is_wanted = 1;
        }
    } else if (place->has_events) {
        place->is_unexplained = 0;
    } else {
        place->is_wanted |= place->is_unexplained;
        place->is_unexplained = has_changed;
    }
    place->has_events = 0;
}

static void lose(acme_watch_t *watch, place_t *place)
{
    stop_reading(place);
    unsubscribe(watch, place);
    place->is_usable = 0;
    place->is_wanted = 1;
}

static void look_at_directory(acme_watch_t *watch, place_t *place)
{
    struct stat status;
    int fd;
    acme_error_e reason = acme_spool_open(&fd, &status, place->watched->spool.directory);
    int error = system_error(reason);

    note_state(watch, place, reason, error);
    if (reason != ACME_OK) {
        lose(watch, place);
        return;
    }
    close(fd);
    if (place->is_usable && !is_same_directory(&status, &place->directory)) {
        lose(watch, place);
    }
    if (place->is_usable) {
        explain_change(place, &status);
    }
    place->directory = status;
    place->is_usable = 1;
    if (place->number == NOWHERE) {
        subscribe(watch, place);
    }
}

/* Events */

static void on_event(void *baton, acme_inotify_event_e event, int number, const char *name)
{
    acme_watch_t *watch = baton;
    apr_size_t i;

    if (event == ACME_INOTIFY_LOST) {
        report(watch, watch->places, ACME_WATCH_LOST, NULL, ACME_OK, 0);
    }
    for (i = 0; i < watch->count; i++) {
        place_t *place = &watch->places[i];

        if (event == ACME_INOTIFY_LOST) {
            place->is_wanted = 1;
            place->has_events = 1;
        } else if (place->number == number) {
            place->has_events = 1;
            if (event == ACME_INOTIFY_FILE) {
                look_at_new(watch, place, name);
            } else if (event == ACME_INOTIFY_OVER) {
                place->number = NOWHERE;
            }
        }
    }
}

/* Returns whether the kernel has told all that it had to tell. */
static int hear(acme_watch_t *watch, apr_time_t deadline)
{
    if (watch->events == NOWHERE && !watch->is_deaf) {
        watch->events = acme_inotify_open();
        watch->events_error = errno;
    }
    if (watch->events == NOWHERE) {
        return 1;
    }
    while (acme_inotify_read(watch->events, on_event, watch)) {
        if (monotonic() >= deadline) {
            return 0;
        }
    }
    return 1;
}

/* The watch */

acme_watch_t *acme_watch_create(apr_pool_t *pool, acme_watch_memory_t *memory,
                                const acme_watch_spool_t *spools, apr_size_t count,
                                acme_watch_report_fn *report_fn, apr_time_t now)
{
    acme_watch_t *watch = apr_pcalloc(pool, sizeof(*watch));
    apr_size_t i;

    watch->memory = memory;
    watch->report = report_fn;
    watch->places = apr_pcalloc(pool, count * sizeof(*watch->places));
    watch->count = count;
    watch->events = NOWHERE;
    acme_watch_memory_begin(memory);
    for (i = 0; i < count; i++) {
        place_t *place = &watch->places[i];

        place->watched = &spools[i];
        place->own_past = (acme_watch_past_t){.arrived = now, .expired = now};
        place->past = acme_watch_memory_of(memory, &spools[i].spool, now);
        if (!place->past) {
            place->past = &place->own_past;
        }
        place->past->said = (apr_uint32_t)spools[i].known;
        place->number = NOWHERE;
        place->is_wanted = 1;
        place->due = NEVER;
    }
    return watch;
}

void acme_watch_without_events(acme_watch_t *watch)
{
    watch->is_deaf = 1;
    watch->events_error = ENOSYS;
}

/* Times that lie ahead are from before the clock was set back. */
static void mend_times(place_t *place, apr_time_t now)
{
    if (place->past->arrived > now) {
        place->past->arrived = now;
    }
    if (place->past->expired > now) {
        place->past->expired = now;
    }
    if (place->newest > now) {
        place->newest = 0;
    }
}

/* Whoever takes the watch over need not look at what has been seen to the end. */
static void note_arrived(place_t *place)
{
    if (place->is_usable && !place->is_wanted && !place->stream &&
        place->newest > place->past->arrived) {
        place->past->arrived = place->newest;
    }
}

void acme_watch_tick(acme_watch_t *watch, apr_time_t now, void *baton)
{
    apr_time_t deadline;
    int has_heard_all;
    apr_size_t i;

    watch->now = now;
    watch->baton = baton;
    has_heard_all = hear(watch, monotonic() + HEAR_MAX);
    deadline = monotonic() + READ_MAX;
    for (i = 0; i < watch->count; i++) {
        place_t *place = &watch->places[(watch->first + i) % watch->count];

        mend_times(place, now);
        look_at_directory(watch, place);
        read_where_needed(watch, place, deadline);
        if (has_heard_all) {
            note_arrived(place);
        }
    }
    watch->first++;
}

void acme_watch_close(acme_watch_t *watch)
{
    apr_size_t i;

    for (i = 0; i < watch->count; i++) {
        lose(watch, &watch->places[i]);
        watch->places[i].ended = 0;
    }
    if (watch->events != NOWHERE) {
        close(watch->events);
        watch->events = NOWHERE;
    }
}
