/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The look-up of a challenge: from the server name that the client sent to an identifier, and
 * with that to the sources of the vhost, in their order.
 */
#ifndef MOD_ACME_ALPN_LOOKUP_H
#define MOD_ACME_ALPN_LOOKUP_H

#include "mod_acme_alpn_connection.h"

/* The challenge of this connection. The first call asks that vhost's sources until one has a
 * challenge; TLS 1.2 and 1.3 call in different orders, and a HelloRetryRequest once more.
 * challenge->outcome is ACME_OK, or the reason of the refusal. */
acme_alpn_challenge_t *acme_alpn_lookup(conn_rec *c, acme_alpn_connection_t *connection);

#endif
