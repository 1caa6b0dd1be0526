/*
 * What became of a handshake for a challenge, said once: these write the log's line and the
 * record's row, and nothing else does. A row is written for every handshake; the lines that
 * strangers can cause are rate-limited.
 */
#ifndef MOD_ACME_ALPN_OUTCOME_H
#define MOD_ACME_ALPN_OUTCOME_H

#include <httpd.h>

#include "acme_record.h"
#include "mod_acme_alpn_connection.h"

/* The ClientHello (after a HelloRetryRequest: the first) offers acme-tls/1 and nothing else. */
void acme_alpn_outcome_begin(const conn_rec *c, acme_alpn_connection_t *connection);

/* The handshake with our challenge certificate has succeeded. */
void acme_alpn_outcome_answered(conn_rec *c, const acme_alpn_connection_t *connection);

/* The handshake is refused for `reason`. */
void acme_alpn_outcome_refused(conn_rec *c, const acme_alpn_connection_t *connection,
                               acme_error_e reason);

/* The handshake ended before it was complete, with neither of the above; perhaps before a
 * challenge was looked for. */
void acme_alpn_outcome_incomplete(conn_rec *c, const acme_alpn_connection_t *connection);

/* Another module has a challenge for this connection. */
void acme_alpn_outcome_delegated(conn_rec *c, const acme_alpn_connection_t *connection);

/* The tag of the outcome's line. Static, never NULL. */
const char *acme_alpn_outcome_tag(acme_record_outcome_e outcome);

#endif
