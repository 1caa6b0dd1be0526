/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The result of a challenge handshake. Only this file writes its line of the log and its row of
 * the record. Each handshake has a row; lines that any client can cause are rate-limited.
 */
#ifndef MOD_ACME_ALPN_OUTCOME_H
#define MOD_ACME_ALPN_OUTCOME_H

#include <httpd.h>

#include "acme_record.h"
#include "mod_acme_alpn_connection.h"

/* The record: one for all children, which lasts as long as the server does, over graceful
 * restarts too. */

/* In the parent, at each start and reload. Returns whether there is memory for it. */
int acme_alpn_record_init(server_rec *server);

/* Never NULL once a server has started. */
acme_record_t *acme_alpn_record_get(void);

/* The ClientHello (after a HelloRetryRequest: the first) offers acme-tls/1 and nothing else. */
void acme_alpn_outcome_begin(const conn_rec *c, acme_alpn_connection_t *connection);

/* With ACME_RECORD_REFUSED for `reason`, else ACME_OK. ACME_RECORD_INCOMPLETE may be before a
 * challenge was looked for. */
void acme_alpn_outcome(conn_rec *c, const acme_alpn_connection_t *connection,
                       acme_record_outcome_e outcome, acme_error_e reason);

/* In words, who ended a handshake that is incomplete, and how. Static, or from the pool. */
const char *acme_alpn_outcome_end(apr_pool_t *pool, const acme_record_row_t *row);

#endif
