/*
 * What is being asked right now, and what was found out a moment ago, in memory that all
 * processes share: those who want to know the same follow the one that asks already, and what
 * there was not is not asked again for a while.
 *
 * The table is bounded, and forgets rather than waits: whoever finds no room in it asks alone.
 */
#ifndef ACME_FLIGHTS_H
#define ACME_FLIGHTS_H

#include <apr.h>
#include <apr_time.h>

#include "acme_digest.h"
#include "acme_error.h"

/* How long it is remembered that there is no answer. */
#define ACME_FLIGHTS_MEMORY apr_time_from_sec(1)

/* How long one takes at most. */
#define ACME_FLIGHTS_LONGEST apr_time_from_sec(60)

typedef struct {
    unsigned char bytes[16];
} acme_flight_key_t;

typedef struct acme_flights_t acme_flights_t;

/* One that is boarded, to be asked for by those who follow it, and landed by the one who leads.
 */
typedef struct {
    acme_flight_key_t key;
    apr_uint32_t number; /* 0: it is not in the table */
} acme_flight_t;

typedef enum {
    ACME_FLIGHT_LEADS,  /* ask, and land the flight with the answer */
    ACME_FLIGHT_FOLLOWS /* wait for the one who leads */
} acme_flight_role_e;

/* The memory that a table needs, in bytes. */
apr_size_t acme_flights_size(void);

/* Before anybody else sees it: an empty table. ACME_OK or ACME_SYSTEM_ERROR. */
acme_error_e acme_flights_init(acme_flights_t *flights);

/* The key of a name that is asked of `whom`; nobody without the table can find two that share a
 * key or a part of the table. ACME_OK or ACME_SYSTEM_ERROR. */
acme_error_e acme_flights_key(acme_flight_key_t *key, const acme_flights_t *flights,
                              const char *whom, const char *name);

/* Whether it is remembered that there is no answer, and why: *outcome. */
int acme_flights_recall(acme_error_e *outcome, acme_flights_t *flights,
                        const acme_flight_key_t *key, apr_time_t now);

/* Follow the flight of this key, or lead a new one that lands at `deadline` at the latest. */
acme_flight_role_e acme_flights_board(acme_flight_t *flight, acme_flights_t *flights,
                                      const acme_flight_key_t *key, apr_time_t now,
                                      apr_time_t deadline);

/* The answer of the one who leads: *digest counts with ACME_OK alone. */
void acme_flights_land(acme_flights_t *flights, const acme_flight_t *flight,
                       acme_error_e outcome, const acme_digest_t *digest, apr_time_t now);

/* There will be no answer, which is no reason to remember that there is none: those who follow
 * board again. */
void acme_flights_cancel(acme_flights_t *flights, const acme_flight_t *flight);

/* Wait until the flight has landed. Returns 1 with the answer; 0 when the deadline is over or
 * the flight is no longer in the table. */
int acme_flights_await(acme_error_e *outcome, acme_digest_t *digest, acme_flights_t *flights,
                       const acme_flight_t *flight, apr_time_t deadline);

#endif
