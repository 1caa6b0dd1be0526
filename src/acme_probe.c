#include "acme_probe.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include <apr_portable.h>
#include <apr_strings.h>

#include <openssl/err.h>

#include "acme_certificate.h"

static const unsigned char offer[] = {10, 'a', 'c', 'm', 'e', '-', 't', 'l', 's', '/', '1'};

/* CAs' clients have no security levels: what they accept must not fail here. */
#define SECURITY_LEVEL 0

SSL_CTX *acme_probe_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    /* SSL_CTX_set_alpn_protos returns 0 for success. */
    if (context && (!SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) ||
                    SSL_CTX_set_alpn_protos(context, offer, sizeof(offer)) != 0)) {
        SSL_CTX_free(context);
        return NULL;
    }
    if (context) {
        SSL_CTX_set_security_level(context, SECURITY_LEVEL);
        SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    }
    return context;
}

int acme_probe_mark_relayed(SSL_CTX *context)
{
    /* Without a callback the extension is sent, and empty. */
    return SSL_CTX_add_custom_ext(context, ACME_PROBE_RELAYED, SSL_EXT_CLIENT_HELLO, NULL, NULL,
                                  NULL, NULL, NULL);
}

static acme_error_e connect_error(apr_status_t status)
{
    if (APR_STATUS_IS_ECONNREFUSED(status)) {
        return ACME_PROBE_NOBODY_LISTENS;
    }
    return APR_STATUS_IS_TIMEUP(status) ? ACME_PROBE_TIMEOUT : ACME_PROBE_UNREACHABLE;
}

static const char *words_of(apr_pool_t *pool, apr_status_t status)
{
    char text[128];

    return apr_pstrdup(pool, apr_strerror(status, text, sizeof(text)));
}

/* With ACME_OK the caller closes the socket. */
static acme_error_e open_connection(apr_socket_t **made, const char **detail, apr_pool_t *pool,
                                    apr_sockaddr_t *address, apr_time_t deadline)
{
    apr_interval_time_t left = deadline - apr_time_now();
    apr_socket_t *connection;
    apr_status_t status;

    status = apr_socket_create(&connection, address->family, SOCK_STREAM, APR_PROTO_TCP, pool);
    if (status != APR_SUCCESS) {
        *detail = words_of(pool, status);
        return ACME_SYSTEM_ERROR;
    }
    apr_socket_timeout_set(connection, left > 0 ? left : 0);
    status = left > 0 ? apr_socket_connect(connection, address) : APR_TIMEUP;
    if (status != APR_SUCCESS) {
        apr_socket_close(connection);
        *detail = words_of(pool, status);
        return connect_error(status);
    }
    apr_socket_timeout_set(connection, 0);
    *made = connection;
    return ACME_OK;
}

/* Wait for what OpenSSL asks for; whether it came before the deadline. */
static int wait_for(SSL *ssl, int wanted, apr_time_t deadline)
{
    struct pollfd waiting = {SSL_get_fd(ssl),
                             (short)(wanted == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN), 0};
    int ready;

    do {
        apr_interval_time_t left = deadline - apr_time_now();

        /* A millisecond more: a wait that is rounded down would spin. */
        ready = left > 0 ? poll(&waiting, 1, (int)apr_time_as_msec(left) + 1) : 0;
    } while (ready < 0 && errno == EINTR);
    return ready > 0;
}

/* The first error is the cause; what follows it is its consequence. */
static acme_error_e tls_error(const char **detail)
{
    unsigned long error = ERR_peek_error();

    *detail = ERR_reason_error_string(error);
    switch (ERR_GET_REASON(error)) {
    /* The alert; OpenSSL 1.1.1 has no name for this reason. */
    case SSL_AD_REASON_OFFSET + SSL_AD_NO_APPLICATION_PROTOCOL:
        return ACME_PROBE_REFUSED;
    case SSL_R_WRONG_VERSION_NUMBER:
        return ACME_PROBE_NOT_TLS;
    case SSL_R_BAD_EXTENSION: /* a protocol that was not offered, as httpd without us answers */
        return ACME_PROBE_OTHER_PROTOCOL;
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return ACME_PROBE_CLOSED;
#endif
    default:
        return ACME_PROBE_TLS_FAILED;
    }
}

static acme_error_e handshake(SSL *ssl, const char **detail, apr_time_t deadline)
{
    int result, wanted;

    ERR_clear_error();
    while ((result = SSL_connect(ssl)) != 1) {
        wanted = SSL_get_error(ssl, result);
        if (wanted == SSL_ERROR_SSL) {
            return tls_error(detail);
        }
        if (wanted != SSL_ERROR_WANT_READ && wanted != SSL_ERROR_WANT_WRITE) {
            return ACME_PROBE_CLOSED;
        }
        if (!wait_for(ssl, wanted, deadline)) {
            return ACME_PROBE_TIMEOUT;
        }
    }
    return ACME_OK;
}

static acme_error_e judge(acme_digest_t *digest, const SSL *ssl,
                          const acme_identifier_t *identifier)
{
    const unsigned char *protocol;
    unsigned int length;
    X509 *certificate;
    acme_error_e error;

    SSL_get0_alpn_selected(ssl, &protocol, &length);
    if (length != offer[0] || memcmp(protocol, offer + 1, length) != 0) {
        return ACME_PROBE_OTHER_PROTOCOL;
    }
    certificate = SSL_get_peer_certificate(ssl);
    if (!certificate) {
        return ACME_PROBE_NO_CERTIFICATE;
    }
    error = acme_certificate_inspect(digest, certificate, identifier);
    X509_free(certificate);
    return error;
}

static acme_error_e talk(acme_probe_t *probe, SSL *ssl, apr_socket_t *connection,
                         const acme_identifier_t *identifier, apr_time_t deadline)
{
    char sni[ACME_SNI_SIZE];
    apr_os_sock_t fd;
    acme_error_e error;

    acme_identifier_sni(sni, identifier);
    if (apr_os_sock_get(&fd, connection) != APR_SUCCESS || !SSL_set_fd(ssl, fd) ||
        !SSL_set_tlsext_host_name(ssl, sni)) {
        return ACME_SYSTEM_ERROR;
    }
    error = handshake(ssl, &probe->detail, deadline);
    if (error != ACME_OK) {
        return error;
    }
    probe->tls = SSL_get_version(ssl);
    return judge(&probe->digest, ssl, identifier);
}

acme_error_e acme_probe_within(acme_probe_t *probe, apr_pool_t *pool, SSL_CTX *context,
                               apr_sockaddr_t *address, const acme_identifier_t *identifier,
                               apr_time_t connected, apr_time_t deadline)
{
    apr_socket_t *connection;
    SSL *ssl;

    memset(probe, 0, sizeof(*probe));
    probe->outcome = open_connection(&connection, &probe->detail, pool, address, connected);
    if (probe->outcome != ACME_OK) {
        return probe->outcome;
    }
    probe->is_connected = 1;
    ssl = SSL_new(context);
    probe->outcome =
        ssl ? talk(probe, ssl, connection, identifier, deadline) : ACME_SYSTEM_ERROR;
    SSL_free(ssl);
    ERR_clear_error();
    apr_socket_close(connection);
    return probe->outcome;
}

acme_error_e acme_probe(acme_probe_t *probe, apr_pool_t *pool, SSL_CTX *context,
                        apr_sockaddr_t *address, const acme_identifier_t *identifier,
                        apr_time_t deadline)
{
    return acme_probe_within(probe, pool, context, address, identifier, deadline, deadline);
}
