/*
 * What the log says of acme-tls/1 handshakes: one line for each, with a stable tag and
 * key=value fields (docs/messages.md). What strangers can cause is rate-limited over all
 * children, and what they send is percent-encoded.
 */
#ifndef MOD_ACME_ALPN_LOG_H
#define MOD_ACME_ALPN_LOG_H

#include <httpd.h>

#include "acme_record.h"
#include "mod_acme_alpn_connection.h"

/* In the parent, at each start and reload: the counters that all children share. Returns
 * whether there is memory for them. */
int acme_alpn_log_init(server_rec *server);

/* What a stranger can cause at will must not crowd out what only the spool's state causes, nor
 * the good news the bad; an upstream that fails does so as often as strangers ask. */
typedef enum {
    ACME_ALPN_LIMIT_STRANGERS,
    ACME_ALPN_LIMIT_UPSTREAM,
    ACME_ALPN_LIMIT_SPOOL,
    ACME_ALPN_LIMIT_WATCH,
    ACME_ALPN_LIMIT_ARRIVED,
    ACME_ALPN_LIMITS
} acme_alpn_limit_e;

/* Whether a line of this kind may be written now; *note then says how many could not since the
 * last. Asking counts. */
int acme_alpn_log_lets_through(const char **note, acme_alpn_limit_e limit, apr_pool_t *pool);

/* The line of what became of a handshake. The row is what the record gets; the challenge has
 * what only the log tells, and with ACME_RECORD_INCOMPLETE may be NULL. For
 * mod_acme_alpn_outcome.c alone. */
void acme_alpn_log_outcome(conn_rec *c, const acme_alpn_challenge_t *challenge,
                           const acme_record_row_t *row);

/* From here on httpd logs nothing about this connection: it has two lines at level error for
 * each protocol switch that is refused, and a stranger could fill the log with them. */
void acme_alpn_log_silence(conn_rec *c);

#endif
