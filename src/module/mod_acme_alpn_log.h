/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log rate limits, over all children, of lines that any client or any file in a spool can
 * cause.
 */
#ifndef MOD_ACME_ALPN_LOG_H
#define MOD_ACME_ALPN_LOG_H

#include <httpd.h>

/* In the parent, at each start and reload. Returns 0, after a log line, without memory. */
int acme_alpn_log_init(server_rec *server);

/* Each kind has its own limit: lines that any client can cause must not suppress lines about
 * the spool, nor lines about good entries those about bad ones. */
typedef enum {
    ACME_ALPN_LIMIT_STRANGERS,
    ACME_ALPN_LIMIT_UPSTREAM,
    ACME_ALPN_LIMIT_SPOOL,
    ACME_ALPN_LIMIT_WATCH,
    ACME_ALPN_LIMIT_ARRIVED,
    ACME_ALPN_LIMITS
} acme_alpn_limit_e;

/* Whether a line of this kind may be written now, which counts it. If so, *note is "", or the
 * field `suppressed` with the number of lines that were not written since the last one. */
int acme_alpn_log_lets_through(const char **note, acme_alpn_limit_e limit, apr_pool_t *pool);

#endif
