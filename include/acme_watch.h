/*
 * The watch: notices what comes into spools and what grows old in them, so that the log can say
 * what is wrong with an entry before a CA asks for it.
 *
 * What is new the kernel tells (acme_inotify.h); where it does not, and for what it does not
 * tell (another node's write to a shared file system), the directory's mtime does. Neither
 * costs more with more files. Only where something may have been missed, and once an entry has
 * become too old, is the spool read from end to end: in steps, and seldom enough to take a
 * twentieth of one CPU at most. An entry's ctime then says whether it is new.
 *
 * So there is no list of files in memory. What is remembered is of one size, is shared by the
 * processes of the server, and tells a process that takes the watch over what has been
 * reported.
 */
#ifndef ACME_WATCH_H
#define ACME_WATCH_H

#include <apr_pools.h>
#include <apr_time.h>

#include "acme_error.h"
#include "acme_spool.h"
#include "acme_watch_memory.h"

/* A file whose name starts with a dot is taken for left over after this time. */
#define ACME_WATCH_LEFTOVER_AGE apr_time_from_sec(60 * 60)

typedef enum {
    ACME_WATCH_ARRIVED,   /* a handshake would be answered from this entry */
    ACME_WATCH_REFUSED,   /* none would be, for `reason`; also of what was there before */
    ACME_WATCH_LEFTOVER,  /* a dot-file is older than ACME_WATCH_LEFTOVER_AGE */
    ACME_WATCH_UNUSABLE,  /* no challenge is answered from this spool any more, for `reason` */
    ACME_WATCH_USABLE,    /* it is again */
    ACME_WATCH_NO_EVENTS, /* the kernel will not tell of this spool's files (see `status`) */
    ACME_WATCH_LOST       /* the kernel had too much to tell; the spool is read anew */
} acme_watch_news_e;

typedef struct {
    acme_watch_news_e news;
    apr_size_t spool;    /* which of those given to acme_watch_create */
    const char *name;    /* of the file, any bytes; NULL where it is about the spool */
    acme_error_e reason; /* ACME_OK where there is nothing wrong */
    apr_status_t status; /* errno, with ACME_SYSTEM_ERROR and ACME_WATCH_NO_EVENTS */
} acme_watch_report_t;

/* The report and its name are valid during the call. */
typedef void acme_watch_report_fn(void *baton, const acme_watch_report_t *report);

typedef struct {
    acme_spool_t spool;
    acme_error_e known; /* what has been said of the spool itself; ACME_OK: nothing */
} acme_watch_spool_t;

typedef struct acme_watch_t acme_watch_t;

/*
 * Make a watch of `count` spools; nothing is opened before the first tick, so a process may
 * make it and its children tick. `now` is since when what comes is reported, for the spools
 * that the memory knows nothing of. The report function may be called from acme_watch_tick
 * alone. What is pointed to is not copied.
 */
acme_watch_t *acme_watch_create(apr_pool_t *pool, acme_watch_memory_t *memory,
                                const acme_watch_spool_t *spools, apr_size_t count,
                                acme_watch_report_fn *report, apr_time_t now);

/* Leave the kernel's word out, as on systems that have no inotify. */
void acme_watch_without_events(acme_watch_t *watch);

/* Look what is new: to be called about once a second, by one thread of one process. Takes half
 * a second at most (the rest follows at the next tick) and allocates from no pool. */
void acme_watch_tick(acme_watch_t *watch, apr_time_t now, void *baton);

/* Close what ticks have opened. The next tick begins anew. */
void acme_watch_close(acme_watch_t *watch);

#endif
