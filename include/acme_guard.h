/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guard: how many of httpd's workers may wait for stores and upstreams. A table in memory
 * that all processes share, with a row for each store and upstream that is configured.
 *
 * 1. Each row has a number of places. If all are taken, a handshake waits for one until its
 *    deadline.
 * 2. A time-out opens the row's breaker: the guard refuses all handshakes for a second, then
 *    lets one try. Any answer closes the breaker.
 * 3. A limited number of workers wait for all rows together. Further handshakes wait for a
 *    moment only.
 * 4. Places are leases, so those of a killed process expire. There is no lock, which a killed
 *    process would hold for ever.
 */
#ifndef ACME_GUARD_H
#define ACME_GUARD_H

#include <apr.h>
#include <apr_time.h>

#include "acme_error.h"
#include "acme_net.h"

/* The limits: rows, places of a row, workers that wait. */
#define ACME_GUARD_ROWS    256
#define ACME_GUARD_PLACES  128
#define ACME_GUARD_WORKERS 1024

/* The longest time-out. */
#define ACME_GUARD_LONGEST apr_time_from_sec(60)

/* How long a breaker stays open, and how long a handshake waits beyond the limit on workers. */
#define ACME_GUARD_BREAK  apr_time_from_sec(1)
#define ACME_GUARD_MOMENT apr_time_from_msec(50)

typedef struct acme_guard_t acme_guard_t;

/* A store or an upstream, as all processes see it. Milliseconds are acme_guard_clock's. */
typedef struct {
    apr_uint64_t key;   /* of its line; 0: free */
    apr_uint32_t round; /* of the last configuration that had it */
    apr_uint32_t retry; /* when a handshake may try; 0: the breaker is closed */
    apr_uint32_t place[ACME_GUARD_PLACES];

    /* The caller's; the guard does not use them. */
    apr_uint32_t is_failing;     /* its last call has failed */
    apr_uint32_t reported;       /* when a failure was last logged; 0: never */
    apr_uint32_t failure_logged; /* a failure is logged, and its end is not */
    apr_uint32_t generation;     /* connections of an earlier one are not used again */

    apr_uint32_t current; /* which of these */
    acme_addresses_t addresses[2];
} acme_guard_row_t;

/* How many workers may wait, in the whole server and in this process. */
typedef struct {
    unsigned int server, process;
} acme_guard_workers_t;

/* What a handshake holds while it waits for the answer. */
typedef struct {
    apr_uint32_t *slot; /* NULL: none */
    apr_uint32_t until;
} acme_guard_lease_t;

typedef struct {
    acme_guard_row_t *row;
    acme_guard_lease_t worker, place;
    int is_short; /* little time was left, so a time-out is not the row's fault */
    int tries;    /* whether the breaker may be closed */
} acme_guard_pass_t;

/* Milliseconds of acme_monotonic(), modulo 2^32: only differences count. Never 0. */
apr_uint32_t acme_guard_clock(void);

/* The bytes of a table. All zero is an empty one. */
apr_size_t acme_guard_size(void);

/* Before the first acme_guard_row of a new configuration. */
void acme_guard_begin(acme_guard_t *guard);

/* Return the row of this line of the configuration, or a new one. Without a free row it reuses
 * one that the present configuration lacks. NULL: all rows are in use. */
acme_guard_row_t *acme_guard_row(acme_guard_t *guard, const char *line);

/* The row's addresses. One process at a time may set them. Changed addresses begin a new
 * generation. */
void acme_guard_set_addresses(acme_guard_row_t *row, const acme_addresses_t *addresses);
void acme_guard_addresses(acme_addresses_t *addresses, const acme_guard_row_t *row);

typedef enum {
    ACME_GUARD_PASS, /* the caller calls acme_guard_leave */
    ACME_GUARD_FULL, /* no place or worker became free in time */
    ACME_GUARD_OPEN  /* the row's breaker is open */
} acme_guard_answer_e;

/* Wait for one of the row's first `places`, at most until the deadline (acme_monotonic). */
acme_guard_answer_e acme_guard_enter(acme_guard_pass_t *pass, acme_guard_t *guard,
                                     acme_guard_row_t *row, unsigned int places,
                                     acme_guard_workers_t workers, apr_time_t deadline);

/* The result of asking the store or upstream. */
typedef enum {
    ACME_GUARD_ANSWERED,  /* or refused the connection, which costs no time */
    ACME_GUARD_TIMED_OUT, /* no answer came before the deadline */
    ACME_GUARD_NOT_ASKED  /* the caller did not ask */
} acme_guard_result_e;

void acme_guard_leave(const acme_guard_pass_t *pass, acme_guard_result_e result);

#endif
