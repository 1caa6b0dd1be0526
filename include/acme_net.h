/* SPDX-License-Identifier: Apache-2.0 */
/* DNS look-ups, connections and waits that end at a deadline, a time of acme_monotonic(). */
#ifndef ACME_NET_H
#define ACME_NET_H

#include <sys/socket.h>

#include <apr_pools.h>
#include <apr_time.h>

#include "acme_error.h"

/* Microseconds of a clock that is never set back; the same in all processes. */
apr_time_t acme_monotonic(void);

#define ACME_ADDRESSES_MAX 16

/* Where a host can be reached, in the order of preference. */
typedef struct {
    int count;
    struct {
        socklen_t size;
        struct sockaddr_storage socket;
    } address[ACME_ADDRESSES_MAX];
} acme_addresses_t;

#define ACME_NET_ALLOWED "give HOST:PORT or [IPV6]:PORT with a port from 1 to 65535"

/* Split the text into host and port. Returns whether it has the form of ACME_NET_ALLOWED. */
int acme_net_parse(const char **host, const char **port, const char *text, apr_pool_t *pool);

/*
 * Resolve a host, given as a name or as an address. getaddrinfo has no time-out, so for a name
 * a forked process calls it, which is killed at the deadline.
 *
 * Returns ACME_OK with one address at least, ACME_PROBE_HOST_UNKNOWN, ACME_PROBE_TIMEOUT, or
 * ACME_SYSTEM_ERROR with errno.
 */
acme_error_e acme_net_resolve(acme_addresses_t *addresses, const char *host, const char *port,
                              apr_time_t deadline);

/* The address of a Unix domain socket. Returns whether the path is short enough. */
int acme_net_socket_address(acme_addresses_t *addresses, const char *path);

/*
 * Connect to the first of the addresses that accepts. Each gets an equal share of the time
 * left, so that one which drops packets leaves time for the others. The socket is non-blocking.
 *
 * Returns ACME_OK with *fd, which the caller closes; or with errno
 * ACME_PROBE_CONNECTION_REFUSED, ACME_PROBE_UNREACHABLE, ACME_SYSTEM_ERROR, or
 * ACME_PROBE_TIMEOUT if any of them timed out. ACME_PROBE_HOST_UNKNOWN without any address.
 */
acme_error_e acme_net_connect(int *fd, const acme_addresses_t *addresses, apr_time_t deadline);

/* Wait for one of poll(2)'s events. Returns whether it came before the deadline. */
int acme_net_wait(int fd, short events, apr_time_t deadline);

#endif
