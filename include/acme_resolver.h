/*
 * The addresses of a host, in bounded time.
 *
 * getaddrinfo has no time-out, so a thread of its own calls it, and whoever asks waits for that
 * thread only until the deadline. What it found is used again for a while; then the thread asks
 * anew, and those who ask go on with what is known. What is twice as old as that is likely to
 * be wrong: they wait for the new answer, but at most for half of the time that they have. An
 * address as text needs none of this.
 */
#ifndef ACME_RESOLVER_H
#define ACME_RESOLVER_H

#include <apr_time.h>

#include "acme_error.h"

/* How many addresses of a host are kept, and for how long they are fresh. */
#define ACME_RESOLVER_ADDRESSES 8
#define ACME_RESOLVER_FRESH     apr_time_from_sec(30)

/* The longest address as text: IPv6 with a zone. */
#define ACME_RESOLVER_TEXT 64

typedef struct {
    int count;
    char address[ACME_RESOLVER_ADDRESSES][ACME_RESOLVER_TEXT];
} acme_addresses_t;

typedef struct acme_resolver_t acme_resolver_t;

/* For this process alone, and for as long as it runs: a thread may hold on to it at any time,
 * so it is never freed. NULL: no memory. */
acme_resolver_t *acme_resolver_create(const char *host);

/* Returns ACME_OK with at least one address; ACME_PROBE_HOST_UNKNOWN; or ACME_PROBE_TIMEOUT
 * when the deadline is over. */
acme_error_e acme_resolver_ask(acme_addresses_t *found, acme_resolver_t *resolver,
                               apr_time_t deadline);

#endif
