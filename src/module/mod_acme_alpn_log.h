/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the log says of acme-tls/1 handshakes: one line for each, with a stable tag and
 * key=value fields (docs/messages.md). Lines that any client can cause are rate-limited over
 * all children, and what clients send is percent-encoded.
 */
#ifndef MOD_ACME_ALPN_LOG_H
#define MOD_ACME_ALPN_LOG_H

#include <httpd.h>

#include "mod_acme_alpn_connection.h"

/* In the parent, at each start and reload: the counters that all children share. Returns
 * whether there is memory for them. */
int acme_alpn_log_init(server_rec *server);

/* Each kind has a rate of its own: lines that any client can cause must not suppress those that
 * only the spool's state causes, nor lines of success those of failure. */
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

/* From here on httpd logs nothing about this connection: it has two lines at level error for
 * each protocol switch that is refused, and any client could fill the log with them. */
void acme_alpn_log_silence(conn_rec *c);

/*
 * The story of one connection for a challenge, step by step, with LogLevel acme_alpn:debug.
 * Each step has a tag of its own. Without that level it costs a comparison.
 */

/* The ClientHello offers acme-tls/1 and nothing else. */
void acme_alpn_log_offered(const conn_rec *c);

/* The vhost is chosen, and its sources are about to be asked. */
void acme_alpn_log_vhost(const conn_rec *c, const acme_alpn_challenge_t *challenge);

/* The source that challenge->source and challenge->file name has been asked, and this was its
 * answer. To be called for each source in turn. */
void acme_alpn_log_asked(const conn_rec *c, const acme_alpn_challenge_t *challenge,
                         acme_error_e answer);

/* A type of key was tried: ACME_OK, or why not. `origin` is where the certificate is from. */
void acme_alpn_log_key(const conn_rec *c, const acme_alpn_challenge_t *challenge,
                       acme_key_type_e type, acme_error_e result, const char *origin);

void acme_alpn_log_negotiated(const conn_rec *c, const acme_alpn_challenge_t *challenge);

/* Also for a connection about which httpd is to log nothing any more. */
void acme_alpn_log_closed(conn_rec *c, const acme_alpn_challenge_t *challenge);

#endif
