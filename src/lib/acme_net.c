/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_net.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <apr_network_io.h>
#include <apr_strings.h>

/* TCP keep-alive, in seconds and probes. It ends a kept connection whose path is dead, before a
 * look-up waits in vain on it. */
#define PROBE_AFTER 15
#define PROBE_EVERY 5
#define PROBES      3

/* Between two attempts to connect to a Unix domain socket whose queue is full. */
#define PAUSE_MS 1

apr_time_t acme_monotonic(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return apr_time_from_sec(now.tv_sec) + now.tv_nsec / 1000;
}

int acme_net_wait(int fd, short events, apr_time_t deadline)
{
    struct pollfd waiting = {fd, events, 0};
    int ready;

    do {
        apr_interval_time_t left = deadline - acme_monotonic();

        /* Rounded up: a wait of 0 ms would spin. */
        ready = left > 0 ? poll(&waiting, 1, (int)apr_time_as_msec(left) + 1) : 0;
    } while (ready < 0 && errno == EINTR);
    return ready > 0;
}

/* Names */

int acme_net_parse(const char **host, const char **port, const char *text, apr_pool_t *pool)
{
    char *name = NULL, *zone = NULL;
    apr_port_t number = 0;

    if (apr_parse_addr_port(&name, &zone, &number, text, pool) != APR_SUCCESS || !name ||
        number == 0) {
        return 0;
    }
    *host = zone ? apr_pstrcat(pool, name, "%", zone, NULL) : name;
    *port = apr_itoa(pool, number);
    return 1;
}

static acme_error_e net_look_up(acme_addresses_t *addresses, const char *host, const char *port,
                                int flags)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = flags | AI_NUMERICSERV};
    struct addrinfo *found, *each;

    memset(addresses, 0, sizeof(*addresses));
    if (getaddrinfo(host, port, &hints, &found) != 0) {
        return ACME_PROBE_HOST_UNKNOWN;
    }
    for (each = found; each && addresses->count < ACME_ADDRESSES_MAX; each = each->ai_next) {
        addresses->address[addresses->count].size = each->ai_addrlen;
        memcpy(&addresses->address[addresses->count++].socket, each->ai_addr, each->ai_addrlen);
    }
    freeaddrinfo(found);
    return addresses->count > 0 ? ACME_OK : ACME_PROBE_HOST_UNKNOWN;
}

/* Runs in the forked process, which may hang on a lock of a thread that it lacks. alarm(2) ends
 * it even if its parent was killed, so that it does not keep httpd's listening sockets open. */
static void net_answer_and_exit(int fd, const char *host, const char *port, apr_time_t deadline)
{
    static const int deadly[] = {SIGALRM, SIGHUP, SIGINT, SIGTERM, SIGUSR1};
    apr_interval_time_t left = deadline - acme_monotonic();
    acme_addresses_t found;
    sigset_t none;
    size_t i;

    for (i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
        signal(deadly[i], SIG_DFL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    alarm((unsigned int)(left > 0 ? apr_time_sec(left) : 0) + 1);
    net_look_up(&found, host, port, 0);
    _exit(send(fd, &found, sizeof(found), MSG_NOSIGNAL) == sizeof(found) ? 0 : 1);
}

static acme_error_e net_await_answer(acme_addresses_t *addresses, int fd, apr_time_t deadline)
{
    if (!acme_net_wait(fd, POLLIN, deadline)) {
        return ACME_PROBE_TIMEOUT;
    }
    return recv(fd, addresses, sizeof(*addresses), 0) == sizeof(*addresses) &&
                   addresses->count > 0
               ? ACME_OK
               : ACME_PROBE_HOST_UNKNOWN;
}

acme_error_e acme_net_resolve(acme_addresses_t *addresses, const char *host, const char *port,
                              apr_time_t deadline)
{
    acme_error_e error = net_look_up(addresses, host, port, AI_NUMERICHOST);
    int ends[2];
    pid_t helper;

    if (error == ACME_OK) {
        return error;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        return ACME_SYSTEM_ERROR;
    }
    helper = fork();
    if (helper == 0) {
        net_answer_and_exit(ends[1], host, port, deadline);
    }
    close(ends[1]);
    error = helper < 0 ? ACME_SYSTEM_ERROR : net_await_answer(addresses, ends[0], deadline);
    close(ends[0]);
    if (helper > 0) {
        kill(helper, SIGKILL);
        while (waitpid(helper, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    return error;
}

int acme_net_socket_address(acme_addresses_t *addresses, const char *path)
{
    struct sockaddr_un *address = (struct sockaddr_un *)&addresses->address[0].socket;

    memset(addresses, 0, sizeof(*addresses));
    addresses->count = 1;
    addresses->address[0].size = sizeof(*address);
    address->sun_family = AF_UNIX;
    return snprintf(address->sun_path, sizeof(address->sun_path), "%s", path) <
           (int)sizeof(address->sun_path);
}

/* Connections */

static void net_set_up_tcp(int fd)
{
    const int on = 1, after = PROBE_AFTER, every = PROBE_EVERY, probes = PROBES;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &after, sizeof(after));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

/* Returns errno, or 0. With a full queue a Unix domain socket fails at once, and TCP waits. */
static int net_try(int fd, const struct sockaddr *address, socklen_t size, apr_time_t until)
{
    socklen_t length = sizeof(int);
    int error;

    while (connect(fd, address, size) != 0) {
        if (errno == EINPROGRESS) {
            if (!acme_net_wait(fd, POLLOUT, until)) {
                return ETIMEDOUT;
            }
            return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
        }
        if (errno != EAGAIN && errno != EINTR) {
            return errno;
        }
        if (acme_monotonic() >= until) {
            return ETIMEDOUT;
        }
        poll(NULL, 0, PAUSE_MS);
    }
    return 0;
}

static acme_error_e net_error(int error)
{
    errno = error;
    switch (error) {
    case 0:
        return ACME_OK;
    case ECONNREFUSED:
        return ACME_PROBE_CONNECTION_REFUSED;
    case ETIMEDOUT:
        return ACME_PROBE_TIMEOUT;
    default:
        return ACME_PROBE_UNREACHABLE;
    }
}

static acme_error_e net_connect_one(int *fd, const struct sockaddr *address, socklen_t size,
                                    apr_time_t until)
{
    int error;

    *fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0) {
        /* A machine may lack IPv6. */
        return errno == EAFNOSUPPORT ? ACME_PROBE_UNREACHABLE : ACME_SYSTEM_ERROR;
    }
    if (address->sa_family != AF_UNIX) {
        net_set_up_tcp(*fd);
    }
    error = net_try(*fd, address, size, until);
    if (error) {
        close(*fd);
        *fd = -1;
    }
    return net_error(error);
}

acme_error_e acme_net_connect(int *fd, const acme_addresses_t *addresses, apr_time_t deadline)
{
    acme_error_e error = ACME_PROBE_HOST_UNKNOWN;
    int i, is_late = 0;

    for (i = 0; i < addresses->count && error != ACME_OK; i++) {
        apr_time_t now = acme_monotonic();

        error = net_connect_one(fd, (const struct sockaddr *)&addresses->address[i].socket,
                                addresses->address[i].size,
                                now + (deadline - now) / (addresses->count - i));
        is_late |= error == ACME_PROBE_TIMEOUT;
    }
    return error != ACME_OK && is_late ? net_error(ETIMEDOUT) : error;
}
