/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The look-up of a challenge: turns the SNI into an identifier, and asks the vhost's sources
 * for it in their order.
 */
#ifndef MOD_ACME_ALPN_LOOKUP_H
#define MOD_ACME_ALPN_LOOKUP_H

#include "mod_acme_alpn_connection.h"

/* The challenge of this connection, never NULL. The first call asks the vhost's sources; later
 * ones, after a HelloRetryRequest or of the other callback, return the same. challenge->outcome
 * is ACME_OK, or the reason of the refusal. */
acme_alpn_challenge_t *acme_alpn_lookup(conn_rec *c, acme_alpn_connection_t *connection);

#endif
