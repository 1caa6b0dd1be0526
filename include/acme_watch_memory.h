/*
 * What the watch remembers of what it has reported: some 80 KiB, whatever there is to watch.
 * All zero bytes at first. In memory that processes share, each of them may use it at any time;
 * if two watch at once, one of them reports a file, and only seldom both.
 */
#ifndef ACME_WATCH_MEMORY_H
#define ACME_WATCH_MEMORY_H

#include <sys/stat.h>

#include <apr.h>
#include <apr_time.h>

#include "acme_spool.h"

/* More spools than this are watched, but each process knows of the others only what it has seen
 * itself. */
#define ACME_WATCH_REMEMBERED 256

/* Files of which it is known exactly that they have been reported. */
#define ACME_WATCH_SEEN 8192

/* One spool. */
typedef struct {
    apr_uint64_t key;    /* of its directory and its entries' age; 0: free */
    apr_uint32_t in_use; /* by this configuration */
    apr_uint32_t said;   /* the reason that was reported of the spool itself */
    apr_uint64_t device; /* the directory that has been read from end to end, */
    apr_uint64_t inode;  /* or 0 */
    apr_time_t arrived;  /* all that came before this has been reported */
    apr_time_t expired;  /* all that was too old at this time has been reported */
} acme_watch_past_t;

typedef struct {
    apr_uint64_t seen[ACME_WATCH_SEEN];
    acme_watch_past_t past[ACME_WATCH_REMEMBERED];
} acme_watch_memory_t;

/* Before the first of these calls for a new configuration. */
void acme_watch_memory_begin(acme_watch_memory_t *memory);

/* What is remembered of the spool; if nothing, a new past without a directory in which all
 * before `now` has been reported. NULL where there is no room, even without those spools that
 * have not been asked for since `begin`. */
acme_watch_past_t *acme_watch_memory_of(acme_watch_memory_t *memory, const acme_spool_t *spool,
                                        apr_time_t now);

/* Whether a file in this state (its inode, ctime, size, and whether it is too old) is seen for
 * the first time, as far as is remembered; from now on it is not. */
int acme_watch_memory_is_new(acme_watch_memory_t *memory, const char *name,
                             const struct stat *status, int is_too_old);

#endif
