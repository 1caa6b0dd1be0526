/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often the log says what any client, or any file in a spool, can make it say: the lines of
 * each kind have a rate over all children.
 */
#ifndef MOD_ACME_ALPN_LOG_H
#define MOD_ACME_ALPN_LOG_H

#include <httpd.h>

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

#endif
