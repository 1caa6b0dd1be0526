/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The result of a challenge handshake. Only this file writes its log line and its row of the
 * record. Each handshake has a row; lines that any client can cause have a log rate limit.
 */
#ifndef MOD_ACME_ALPN_OUTCOME_H
#define MOD_ACME_ALPN_OUTCOME_H

#include <httpd.h>

#include "acme_record.h"
#include "mod_acme_alpn_connection.h"

/* In the parent, at each start and reload: the record, which all children share and which
 * survives reloads. Returns 0, after a log line, without shared memory. */
int acme_alpn_record_init(server_rec *server);

/* Never NULL once a server has started. */
acme_record_t *acme_alpn_record_get(void);

/* The first ClientHello offers acme-tls/1 and nothing else. */
void acme_alpn_outcome_begin(const conn_rec *c, acme_alpn_connection_t *connection);

/* `reason` is ACME_OK, but for ACME_RECORD_REFUSED. With ACME_RECORD_INCOMPLETE the handshake
 * may have ended before the look-up. */
void acme_alpn_outcome(conn_rec *c, const acme_alpn_connection_t *connection,
                       acme_record_outcome_e outcome, acme_error_e reason);

/* Who ended an incomplete handshake, and how, in words. Static, or from the pool. */
const char *acme_alpn_outcome_end(apr_pool_t *pool, const acme_record_row_t *row);

#endif
