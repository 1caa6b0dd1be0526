/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_store_stream.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <apr_strings.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

/* With ACME_OK the caller closes *fd. */
static acme_error_e stream_connect(int *fd, acme_store_call_t *call)
{
    const acme_store_t *store = call->store;
    const acme_addresses_t *addresses = call->addresses;
    acme_addresses_t resolved;
    acme_error_e error = ACME_OK;

    if (!addresses) {
        addresses = &resolved;
        if (store->socket) {
            acme_net_socket_address(&resolved, store->socket);
        } else {
            error = acme_net_resolve(&resolved, store->host, store->port, call->deadline);
        }
        if (error == ACME_PROBE_TIMEOUT) {
            apr_cpystrn(call->detail, "DNS did not answer in time", sizeof(call->detail));
        }
    }
    if (error == ACME_OK) {
        error = acme_net_connect(fd, addresses, call->deadline);
    }
    switch (error) {
    case ACME_OK:
    case ACME_SYSTEM_ERROR:
        return error;
    case ACME_PROBE_HOST_UNKNOWN:
        return ACME_STORE_UNRESOLVED;
    case ACME_PROBE_TIMEOUT:
        return ACME_STORE_TIMEOUT;
    default:
        apr_strerror(APR_FROM_OS_ERROR(errno), call->detail, sizeof(call->detail));
        return ACME_STORE_UNREACHABLE;
    }
}

/* Why TLS ended: the first error is the cause. */
static acme_error_e stream_tls_failed(BIO *stream, acme_store_call_t *call)
{
    unsigned long error = ERR_peek_error();
    const char *reason = ERR_reason_error_string(error);
    long verified = X509_V_OK;
    SSL *ssl;

    if (BIO_get_ssl(stream, &ssl) > 0) {
        verified = SSL_get_verify_result(ssl);
    }
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING
    if (ERR_GET_REASON(error) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        return ACME_STORE_CLOSED;
    }
#endif
    if (verified != X509_V_OK) {
        reason = X509_verify_cert_error_string(verified);
    }
    apr_cpystrn(call->detail, reason ? reason : "", sizeof(call->detail));
    return ACME_STORE_TLS_FAILED;
}

/* After a call of the BIO that has failed. ACME_OK: try again. */
static acme_error_e stream_after(BIO *stream, acme_store_call_t *call)
{
    acme_error_e error = ACME_STORE_CLOSED;

    if (BIO_should_retry(stream)) {
        int fd = (int)BIO_get_fd(stream, NULL);
        short event = BIO_should_write(stream) ? POLLOUT : POLLIN;

        error = acme_net_wait(fd, event, call->deadline) ? ACME_OK : ACME_STORE_TIMEOUT;
    } else if (call->store->tls && ERR_GET_LIB(ERR_peek_error()) == ERR_LIB_SSL) {
        error = stream_tls_failed(stream, call);
    }
    ERR_clear_error();
    return error;
}

/* The certificate must be for the configured host, a name or an address. */
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

static acme_error_e stream_start_tls(BIO **stream, acme_store_call_t *call)
{
    BIO *tls = BIO_new_ssl(call->store->tls, 1);
    acme_error_e error = ACME_OK;
    SSL *ssl;

    if (!tls || BIO_get_ssl(tls, &ssl) <= 0 || !stream_expect_host(ssl, call->store->host)) {
        BIO_free(tls);
        errno = ENOMEM;
        return ACME_SYSTEM_ERROR;
    }
    *stream = BIO_push(tls, *stream);
    ERR_clear_error();
    while (error == ACME_OK && BIO_do_handshake(*stream) != 1) {
        error = stream_after(*stream, call);
    }
    return error;
}

acme_error_e acme_store_stream_open(BIO **stream, acme_store_call_t *call)
{
    int fd;
    acme_error_e error = stream_connect(&fd, call);

    if (error == ACME_OK) {
        *stream = BIO_new_socket(fd, BIO_CLOSE);
        if (!*stream) {
            close(fd);
            errno = ENOMEM;
            error = ACME_SYSTEM_ERROR;
        }
    }
    if (error == ACME_OK && call->store->tls) {
        error = stream_start_tls(stream, call);
    }
    return error;
}

acme_error_e acme_store_stream_send(BIO *stream, acme_store_call_t *call, const char *bytes,
                                    apr_size_t length)
{
    acme_error_e error = ACME_OK;

    ERR_clear_error();
    while (length > 0 && error == ACME_OK) {
        int sent = BIO_write(stream, bytes, (int)length);

        if (sent > 0) {
            bytes += sent;
            length -= (apr_size_t)sent;
        } else {
            error = stream_after(stream, call);
        }
    }
    return error;
}

acme_error_e acme_store_stream_receive(BIO *stream, acme_store_call_t *call, char *buffer,
                                       apr_size_t size, apr_size_t *length)
{
    acme_error_e error = ACME_OK;
    int received = 0;

    ERR_clear_error();
    /* Single bytes do not extend the deadline. */
    while (error == ACME_OK && received <= 0) {
        if (acme_monotonic() >= call->deadline) {
            return ACME_STORE_TIMEOUT;
        }
        received = BIO_read(stream, buffer, (int)size);
        error = received > 0 ? ACME_OK : stream_after(stream, call);
    }
    *length = received > 0 ? (apr_size_t)received : 0;
    return error;
}
