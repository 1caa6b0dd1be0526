/*
 * A bounded number of places in shared memory, for what only so many processes and threads may
 * do at once.
 *
 * A place is a lease: whoever takes it says for how long at most, and one that is killed with a
 * place in hand gives it back when that is over. There is no lock, so nobody can die with it.
 */
#ifndef ACME_PLACES_H
#define ACME_PLACES_H

#include <apr.h>
#include <apr_time.h>

/* How many there can be. */
#define ACME_PLACES_MAX 128

/* The longest lease. What seems to be longer was taken before the clock was put back. */
#define ACME_PLACES_LEASE_MAX apr_time_from_sec(60)

/* In memory that all processes share, at the same or at different addresses. */
typedef struct {
    apr_time_t epoch;                    /* what leases count from */
    apr_uint32_t until[ACME_PLACES_MAX]; /* in ticks since then; 0: free */
} acme_places_t;

typedef struct {
    unsigned int index;
    apr_uint32_t until;
} acme_place_t;

/* Before anybody else sees them: all are free. */
void acme_places_init(acme_places_t *places, apr_time_t now);

/* Take one of the first `limit` places for at most `lease`. Returns whether one was free; never
 * waits. */
int acme_places_take(acme_place_t *place, acme_places_t *places, unsigned int limit,
                     apr_time_t now, apr_interval_time_t lease);

/* Give it back. One whose lease is over may be somebody else's by now, and stays so. */
void acme_places_leave(acme_places_t *places, const acme_place_t *place);

#endif
