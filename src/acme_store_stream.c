#include "acme_store_stream.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <apr_strings.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

/* A kept connection is probed after so many seconds of silence, so often, and so many times: if
 * its path has died it ends, before a look-up waits in vain for an answer on it. */
#define PROBE_AFTER 15
#define PROBE_EVERY 5
#define PROBES      3

/* How long to wait before another attempt where the system cannot tell when it is worth one. */
#define PAUSE_MS 1

void acme_store_say_errno(acme_store_call_t *call, int error)
{
    apr_strerror(APR_FROM_OS_ERROR(error), call->detail, sizeof(call->detail));
}

/* Returns whether it is ready before the deadline. */
static int wait_for(int fd, short events, apr_time_t deadline)
{
    struct pollfd waiting = {fd, events, 0};
    int ready;

    do {
        apr_interval_time_t left = deadline - apr_time_now();

        /* A millisecond more: a wait that is rounded down would spin. */
        ready = left > 0 ? poll(&waiting, 1, (int)apr_time_as_msec(left) + 1) : 0;
    } while (ready < 0 && errno == EINTR);
    return ready > 0;
}

static acme_error_e system_failed(acme_store_call_t *call, int error)
{
    acme_store_say_errno(call, error);
    errno = error;
    return ACME_SYSTEM_ERROR;
}

static acme_error_e unreachable(acme_store_call_t *call, int error)
{
    acme_store_say_errno(call, error);
    return ACME_STORE_UNREACHABLE;
}

static acme_error_e finish_connect(int fd, acme_store_call_t *call, apr_time_t until)
{
    int error = 0;
    socklen_t size = sizeof(error);

    if (!wait_for(fd, POLLOUT, until)) {
        return ACME_STORE_TIMEOUT;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
        error = errno;
    }
    return error ? unreachable(call, error) : ACME_OK;
}

static void set_up_tcp(int fd)
{
    const int on = 1, after = PROBE_AFTER, every = PROBE_EVERY, probes = PROBES;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &after, sizeof(after));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

/* A Unix domain socket whose queue is full says so at once, where TCP would wait. */
static acme_error_e try_connect(int fd, acme_store_call_t *call, const struct sockaddr *address,
                                socklen_t size, apr_time_t until)
{
    while (connect(fd, address, size) != 0) {
        if (errno == EINPROGRESS) {
            return finish_connect(fd, call, until);
        }
        if (errno != EAGAIN) {
            return unreachable(call, errno);
        }
        if (apr_time_now() >= until) {
            return ACME_STORE_TIMEOUT;
        }
        poll(NULL, 0, PAUSE_MS);
    }
    return ACME_OK;
}

/* With ACME_OK the caller closes *fd. */
static acme_error_e connect_to(int *fd, acme_store_call_t *call, const struct sockaddr *address,
                               socklen_t size, apr_time_t until)
{
    acme_error_e error;

    *fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0) {
        return system_failed(call, errno);
    }
    if (address->sa_family != AF_UNIX) {
        set_up_tcp(*fd);
    }
    error = try_connect(*fd, call, address, size, until);
    if (error != ACME_OK) {
        close(*fd);
        *fd = -1;
    }
    return error;
}

static acme_error_e connect_socket(int *fd, acme_store_call_t *call)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    apr_cpystrn(address.sun_path, call->store->socket, sizeof(address.sun_path));
    return connect_to(fd, call, (const struct sockaddr *)&address, sizeof(address),
                      call->deadline);
}

static acme_error_e connect_text(int *fd, acme_store_call_t *call, const char *address,
                                 apr_time_t until)
{
    const struct addrinfo wanted = {.ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found;
    acme_error_e error = ACME_STORE_UNRESOLVED;

    if (getaddrinfo(address, call->store->port, &wanted, &found) == 0) {
        error = connect_to(fd, call, found->ai_addr, found->ai_addrlen, until);
        freeaddrinfo(found);
    }
    return error;
}

/* Each address gets its share of the time that is left, so that one that swallows everything
 * does not keep the others from being tried. */
static acme_error_e connect_host(int *fd, acme_store_call_t *call)
{
    acme_addresses_t addresses;
    acme_error_e error;
    int i;

    if (!call->resolver) {
        call->resolver = acme_resolver_create(call->store->host);
    }
    error = call->resolver ? acme_resolver_ask(&addresses, call->resolver, call->deadline)
                           : ACME_SYSTEM_ERROR;
    if (error == ACME_PROBE_TIMEOUT) {
        apr_cpystrn(call->detail, "its name was not resolved in time", sizeof(call->detail));
        return ACME_STORE_TIMEOUT;
    }
    if (error != ACME_OK) {
        return error == ACME_SYSTEM_ERROR ? error : ACME_STORE_UNRESOLVED;
    }
    error = ACME_STORE_UNRESOLVED;
    for (i = 0; i < addresses.count && error != ACME_OK; i++) {
        apr_time_t now = apr_time_now();

        error = connect_text(fd, call, addresses.address[i],
                             now + (call->deadline - now) / (addresses.count - i));
    }
    return error;
}

static acme_error_e tls_failed(const acme_store_stream_t *stream, acme_store_call_t *call)
{
    long verified = SSL_get_verify_result(stream->ssl);
    const char *reason = verified == X509_V_OK ? ERR_reason_error_string(ERR_peek_error())
                                               : X509_verify_cert_error_string(verified);

    apr_cpystrn(call->detail, reason ? reason : "", sizeof(call->detail));
    return ACME_STORE_TLS_FAILED;
}

/* What to make of a call of OpenSSL that returned `result`: ACME_OK: call it again. */
static acme_error_e after_tls(const acme_store_stream_t *stream, acme_store_call_t *call,
                              int result)
{
    switch (SSL_get_error(stream->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return wait_for(stream->fd, POLLIN, call->deadline) ? ACME_OK : ACME_STORE_TIMEOUT;
    case SSL_ERROR_WANT_WRITE:
        return wait_for(stream->fd, POLLOUT, call->deadline) ? ACME_OK : ACME_STORE_TIMEOUT;
    case SSL_ERROR_SSL:
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
            return ACME_STORE_CLOSED;
        }
#endif
        return tls_failed(stream, call);
    default:
        return ACME_STORE_CLOSED;
    }
}

/* The certificate has to be for the host as configured, be it a name or an address. */
static int expect_host(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *rules = SSL_get0_param(ssl);

    if (X509_VERIFY_PARAM_set1_ip_asc(rules, host) == 1) {
        return 1;
    }
    X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(rules, host, 0) == 1 &&
           SSL_set_tlsext_host_name(ssl, host) == 1;
}

static acme_error_e start_tls(acme_store_stream_t *stream, acme_store_call_t *call)
{
    acme_error_e error = ACME_OK;
    int result;

    ERR_clear_error();
    stream->ssl = SSL_new(call->store->tls);
    if (!stream->ssl || !SSL_set_fd(stream->ssl, stream->fd) ||
        !expect_host(stream->ssl, call->store->host)) {
        return system_failed(call, ENOMEM);
    }
    ERR_clear_error();
    while (error == ACME_OK && (result = SSL_connect(stream->ssl)) != 1) {
        error = after_tls(stream, call, result);
        if (error == ACME_OK) {
            ERR_clear_error();
        }
    }
    return error;
}

acme_error_e acme_store_stream_open(acme_store_stream_t *stream, acme_store_call_t *call)
{
    acme_error_e error;

    stream->ssl = NULL;
    stream->fd = -1;
    error = call->store->socket ? connect_socket(&stream->fd, call)
                                : connect_host(&stream->fd, call);
    if (error == ACME_OK && call->store->tls) {
        error = start_tls(stream, call);
    }
    if (error != ACME_OK) {
        int saved = errno;

        acme_store_stream_close(stream);
        errno = saved;
    }
    ERR_clear_error();
    return error;
}

void acme_store_stream_close(acme_store_stream_t *stream)
{
    SSL_free(stream->ssl);
    stream->ssl = NULL;
    if (stream->fd >= 0) {
        close(stream->fd);
    }
    stream->fd = -1;
}

int acme_store_stream_is_quiet(const acme_store_stream_t *stream)
{
    struct pollfd waiting = {stream->fd, POLLIN, 0};

    return stream->fd >= 0 && poll(&waiting, 1, 0) == 0;
}

/* One attempt; *moved is how far it came. ACME_OK with 0: it has waited, and is worth another.
 */
static acme_error_e attempt(acme_store_stream_t *stream, acme_store_call_t *call, char *buffer,
                            apr_size_t size, int sends, apr_size_t *moved)
{
    ssize_t result;

    *moved = 0;
    if (stream->ssl) {
        ERR_clear_error();
        result = sends ? SSL_write(stream->ssl, buffer, (int)size)
                       : SSL_read(stream->ssl, buffer, (int)size);
        if (result <= 0) {
            return after_tls(stream, call, (int)result);
        }
    } else {
        result = sends ? send(stream->fd, buffer, size, MSG_NOSIGNAL)
                       : recv(stream->fd, buffer, size, 0);
        if (result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return wait_for(stream->fd, sends ? POLLOUT : POLLIN, call->deadline)
                       ? ACME_OK
                       : ACME_STORE_TIMEOUT;
        }
        if (result <= 0) {
            return result < 0 && errno == EINTR ? ACME_OK : ACME_STORE_CLOSED;
        }
    }
    *moved = (apr_size_t)result;
    return ACME_OK;
}

acme_error_e acme_store_stream_send(acme_store_stream_t *stream, acme_store_call_t *call,
                                    const char *bytes, apr_size_t length)
{
    acme_error_e error = ACME_OK;

    while (length > 0 && error == ACME_OK) {
        apr_size_t sent;

        error = attempt(stream, call, (char *)(apr_uintptr_t)bytes, length, 1, &sent);
        bytes += sent;
        length -= sent;
    }
    ERR_clear_error();
    return error;
}

acme_error_e acme_store_stream_receive(acme_store_stream_t *stream, acme_store_call_t *call,
                                       char *buffer, apr_size_t size, apr_size_t *length)
{
    acme_error_e error;

    /* Whoever sends a byte now and then does not get more time. */
    do {
        error = apr_time_now() < call->deadline ? attempt(stream, call, buffer, size, 0, length)
                                                : ACME_STORE_TIMEOUT;
    } while (error == ACME_OK && *length == 0);
    ERR_clear_error();
    return error;
}
