/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that end at a deadline: the name of a host, its addresses, a wait for a socket.
 *
 * A deadline is a time of acme_monotonic(), which no one sets back.
 */
#ifndef ACME_NET_H
#define ACME_NET_H

#include <sys/socket.h>

#include <apr_pools.h>
#include <apr_time.h>

#include "acme_error.h"

/* Microseconds since some time before this machine's start; the same in all processes. */
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

/* Split it into host and port. Returns whether it is of the form of ACME_NET_ALLOWED. */
int acme_net_parse(const char **host, const char **port, const char *text, apr_pool_t *pool);

/*
 * The addresses of a host, given as a name or as an address, and of a port. For a name a forked
 * process calls getaddrinfo, which has no time-out of its own, and is killed at the deadline.
 *
 * Returns ACME_OK with one address at least, ACME_PROBE_HOST_UNKNOWN, ACME_PROBE_TIMEOUT, or
 * ACME_SYSTEM_ERROR with errno.
 */
acme_error_e acme_net_resolve(acme_addresses_t *addresses, const char *host, const char *port,
                              apr_time_t deadline);

/* The address of a Unix domain socket. Returns whether the path is short enough. */
int acme_net_socket_address(acme_addresses_t *addresses, const char *path);

/*
 * Connect to the first of the addresses that accepts. Each gets its share of the time, so that
 * one that swallows packets leaves some for the others. The socket does not block.
 *
 * Returns ACME_OK with *fd, which the caller closes; or with errno
 * ACME_PROBE_CONNECTION_REFUSED, ACME_PROBE_UNREACHABLE, ACME_SYSTEM_ERROR, or
 * ACME_PROBE_TIMEOUT if any of them timed out. ACME_PROBE_HOST_UNKNOWN where there is none.
 */
acme_error_e acme_net_connect(int *fd, const acme_addresses_t *addresses, apr_time_t deadline);

/* Wait for one of poll(2)'s events. Returns whether it came before the deadline. */
int acme_net_wait(int fd, short events, apr_time_t deadline);

#endif
