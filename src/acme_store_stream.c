#include "acme_store_stream.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <apr_strings.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

void acme_store_say_errno(acme_store_call_t *call, int error)
{
    apr_strerror(APR_FROM_OS_ERROR(error), call->detail, sizeof(call->detail));
}

static acme_error_e stream_system_failed(acme_store_call_t *call, int error)
{
    acme_store_say_errno(call, error);
    errno = error;
    return ACME_SYSTEM_ERROR;
}

acme_error_e acme_store_resolve(acme_addresses_t *addresses, const acme_store_t *store,
                                apr_time_t deadline)
{
    if (store->socket) {
        acme_net_socket_address(addresses, store->socket);
        return ACME_OK;
    }
    return acme_net_resolve(addresses, store->host, store->port, deadline);
}

/* With ACME_OK the caller closes *fd. */
static acme_error_e stream_connect(int *fd, acme_store_call_t *call)
{
    const acme_addresses_t *addresses = call->addresses;
    acme_addresses_t resolved;
    acme_error_e error = ACME_OK;

    if (!addresses) {
        error = acme_store_resolve(&resolved, call->store, call->deadline);
        addresses = &resolved;
    }
    if (error == ACME_PROBE_TIMEOUT) {
        apr_cpystrn(call->detail, "its name was not resolved in time", sizeof(call->detail));
    }
    if (error == ACME_OK) {
        error = acme_net_connect(fd, addresses, call->deadline);
        if (error == ACME_PROBE_NOBODY_LISTENS || error == ACME_PROBE_UNREACHABLE) {
            acme_store_say_errno(call, errno);
        }
    }
    switch (error) {
    case ACME_OK:
        return ACME_OK;
    case ACME_PROBE_HOST_UNKNOWN:
        return ACME_STORE_UNRESOLVED;
    case ACME_PROBE_TIMEOUT:
        return ACME_STORE_TIMEOUT;
    case ACME_SYSTEM_ERROR:
        return stream_system_failed(call, errno);
    default:
        return ACME_STORE_UNREACHABLE;
    }
}

static acme_error_e stream_tls_failed(const acme_store_stream_t *stream,
                                      acme_store_call_t *call)
{
    long verified = SSL_get_verify_result(stream->ssl);
    const char *reason = verified == X509_V_OK ? ERR_reason_error_string(ERR_peek_error())
                                               : X509_verify_cert_error_string(verified);

    apr_cpystrn(call->detail, reason ? reason : "", sizeof(call->detail));
    return ACME_STORE_TLS_FAILED;
}

/* What to make of a call of OpenSSL that returned `result`: ACME_OK: call it again. */
static acme_error_e stream_after_tls(const acme_store_stream_t *stream, acme_store_call_t *call,
                                     int result)
{
    switch (SSL_get_error(stream->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return acme_net_wait(stream->fd, POLLIN, call->deadline) ? ACME_OK : ACME_STORE_TIMEOUT;
    case SSL_ERROR_WANT_WRITE:
        return acme_net_wait(stream->fd, POLLOUT, call->deadline) ? ACME_OK
                                                                  : ACME_STORE_TIMEOUT;
    case SSL_ERROR_SSL:
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
            return ACME_STORE_CLOSED;
        }
#endif
        return stream_tls_failed(stream, call);
    default:
        return ACME_STORE_CLOSED;
    }
}

/* The certificate has to be for the host as configured, be it a name or an address. */
static int stream_expect_host(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *rules = SSL_get0_param(ssl);

    if (X509_VERIFY_PARAM_set1_ip_asc(rules, host) == 1) {
        return 1;
    }
    X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(rules, host, 0) == 1 &&
           SSL_set_tlsext_host_name(ssl, host) == 1;
}

static acme_error_e stream_start_tls(acme_store_stream_t *stream, acme_store_call_t *call)
{
    acme_error_e error = ACME_OK;
    int result;

    ERR_clear_error();
    stream->ssl = SSL_new(call->store->tls);
    if (!stream->ssl || !SSL_set_fd(stream->ssl, stream->fd) ||
        !stream_expect_host(stream->ssl, call->store->host)) {
        return stream_system_failed(call, ENOMEM);
    }
    ERR_clear_error();
    while (error == ACME_OK && (result = SSL_connect(stream->ssl)) != 1) {
        error = stream_after_tls(stream, call, result);
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
    error = stream_connect(&stream->fd, call);
    if (error == ACME_OK && call->store->tls) {
        error = stream_start_tls(stream, call);
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
static acme_error_e stream_attempt(acme_store_stream_t *stream, acme_store_call_t *call,
                                   char *buffer, apr_size_t size, int sends, apr_size_t *moved)
{
    ssize_t result;

    *moved = 0;
    if (stream->ssl) {
        ERR_clear_error();
        result = sends ? SSL_write(stream->ssl, buffer, (int)size)
                       : SSL_read(stream->ssl, buffer, (int)size);
        if (result <= 0) {
            return stream_after_tls(stream, call, (int)result);
        }
    } else {
        result = sends ? send(stream->fd, buffer, size, MSG_NOSIGNAL)
                       : recv(stream->fd, buffer, size, 0);
        if (result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return acme_net_wait(stream->fd, sends ? POLLOUT : POLLIN, call->deadline)
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

        error = stream_attempt(stream, call, (char *)(apr_uintptr_t)bytes, length, 1, &sent);
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
        error = acme_monotonic() < call->deadline
                    ? stream_attempt(stream, call, buffer, size, 0, length)
                    : ACME_STORE_TIMEOUT;
    } while (error == ACME_OK && *length == 0);
    ERR_clear_error();
    return error;
}
