/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_probe.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <apr_errno.h>
#include <apr_strings.h>

#include <openssl/err.h>

#include "acme_certificate.h"

static const unsigned char offer[] = {10, 'a', 'c', 'm', 'e', '-', 't', 'l', 's', '/', '1'};

/* CAs' TLS clients have no security levels, so the probe accepts all that they accept. */
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

/* The first error in the queue is the cause. */
static acme_error_e probe_tls_error(acme_probe_t *probe)
{
    unsigned long error = ERR_peek_error();
    const char *reason = ERR_reason_error_string(error);

    apr_cpystrn(probe->detail, reason ? reason : "", sizeof(probe->detail));
    switch (ERR_GET_REASON(error)) {
    /* The alert; OpenSSL 1.1.1 has no name for this reason. */
    case SSL_AD_REASON_OFFSET + SSL_AD_NO_APPLICATION_PROTOCOL:
        return ACME_PROBE_REFUSED;
    case SSL_R_WRONG_VERSION_NUMBER:
        return ACME_PROBE_NOT_TLS;
    case SSL_R_BAD_EXTENSION: /* a protocol that was not offered: httpd without the module */
        return ACME_PROBE_OTHER_PROTOCOL;
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return ACME_PROBE_CLOSED;
#endif
    default:
        return ACME_PROBE_TLS_FAILED;
    }
}

static acme_error_e probe_handshake(acme_probe_t *probe, SSL *ssl, apr_time_t deadline)
{
    int result, wanted;

    ERR_clear_error();
    while ((result = SSL_connect(ssl)) != 1) {
        wanted = SSL_get_error(ssl, result);
        if (wanted == SSL_ERROR_SSL) {
            return probe_tls_error(probe);
        }
        if (wanted != SSL_ERROR_WANT_READ && wanted != SSL_ERROR_WANT_WRITE) {
            return ACME_PROBE_CLOSED;
        }
        if (!acme_net_wait(SSL_get_fd(ssl), wanted == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN,
                           deadline)) {
            return ACME_PROBE_TIMEOUT;
        }
    }
    return ACME_OK;
}

static acme_error_e probe_inspect(acme_digest_t *digest, const SSL *ssl,
                                  const acme_identifier_t *identifier)
{
    const unsigned char *protocol;
    unsigned int length;
    X509 *certificate;

    SSL_get0_alpn_selected(ssl, &protocol, &length);
    if (length != offer[0] || memcmp(protocol, offer + 1, length) != 0) {
        return ACME_PROBE_OTHER_PROTOCOL;
    }
    certificate = sk_X509_value(SSL_get_peer_cert_chain(ssl), 0);
    if (!certificate) {
        return ACME_PROBE_NO_CERTIFICATE;
    }
    return acme_certificate_inspect(digest, certificate, identifier);
}

static acme_error_e probe_talk(acme_probe_t *probe, SSL *ssl, int fd,
                               const acme_identifier_t *identifier, apr_time_t deadline)
{
    char sni[ACME_SNI_SIZE];
    acme_error_e error;

    acme_identifier_sni(sni, identifier);
    if (!SSL_set_fd(ssl, fd) || !SSL_set_tlsext_host_name(ssl, sni)) {
        return ACME_SYSTEM_ERROR;
    }
    error = probe_handshake(probe, ssl, deadline);
    if (error != ACME_OK) {
        return error;
    }
    probe->tls = SSL_get_version(ssl);
    return probe_inspect(&probe->digest, ssl, identifier);
}

acme_error_e acme_probe(acme_probe_t *probe, SSL_CTX *context,
                        const acme_addresses_t *addresses, const acme_identifier_t *identifier,
                        apr_time_t deadline)
{
    SSL *ssl;
    int fd;

    memset(probe, 0, sizeof(*probe));
    probe->outcome = acme_net_connect(&fd, addresses, deadline);
    if (probe->outcome != ACME_OK) {
        if (probe->outcome != ACME_PROBE_HOST_UNKNOWN) {
            apr_strerror(APR_FROM_OS_ERROR(errno), probe->detail, sizeof(probe->detail));
        }
        return probe->outcome;
    }
    ssl = SSL_new(context);
    probe->outcome = ssl ? probe_talk(probe, ssl, fd, identifier, deadline) : ACME_SYSTEM_ERROR;
    SSL_free(ssl);
    ERR_clear_error();
    close(fd);
    return probe->outcome;
}
