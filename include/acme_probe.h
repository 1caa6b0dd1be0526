/* SPDX-License-Identifier: Apache-2.0 */
/* One acme-tls/1 handshake as a CA makes it, and the CA's verdict (RFC 8737 section 3). */
#ifndef ACME_PROBE_H
#define ACME_PROBE_H

#include <openssl/ssl.h>

#include "acme_digest.h"
#include "acme_error.h"
#include "acme_identifier.h"
#include "acme_net.h"

typedef struct {
    acme_error_e outcome; /* ACME_OK: a valid challenge certificate, of any digest */
    acme_digest_t digest; /* with ACME_OK: the certificate's */
    const char *tls;      /* the TLS version, NULL before it was negotiated; static */
    char detail[160];     /* OpenSSL's or the system's message, or "" */
} acme_probe_t;

/* What the handshakes of a process share: TLS 1.2 or later, acme-tls/1 alone offered, no
 * verification. The caller frees it with SSL_CTX_free; NULL: see OpenSSL's error queue. */
SSL_CTX *acme_probe_context(void);

/* The empty extension that marks a ClientHello as relayed. A server does not relay such a
 * handshake again, which prevents loops. Private use (RFC 8446 section 11: first byte 255). */
#define ACME_PROBE_RELAYED 0xffac

/* Mark all handshakes of this context as relayed. Returns whether libssl could. */
int acme_probe_mark_relayed(SSL_CTX *context);

/*
 * Connect to the first of the addresses that accepts, make the handshake with the identifier's
 * server name, and check the certificate, all before the deadline. Closes the connection, and
 * leaves OpenSSL's error queue empty. The caller ignores SIGPIPE.
 *
 * Returns probe->outcome: ACME_OK, ACME_PROBE_*, ACME_CERTIFICATE_* but
 * ACME_CERTIFICATE_WRONG_DIGEST (the caller compares), or ACME_SYSTEM_ERROR.
 */
acme_error_e acme_probe(acme_probe_t *probe, SSL_CTX *context,
                        const acme_addresses_t *addresses, const acme_identifier_t *identifier,
                        apr_time_t deadline);

#endif
