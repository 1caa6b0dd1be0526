/*
 * Where challenges come from: the sources of a server, asked in their order.
 */
#ifndef MOD_ACME_ALPN_SOURCES_H
#define MOD_ACME_ALPN_SOURCES_H

#include "mod_acme_alpn_connection.h"

/* Ask the sources of challenge->server for challenge->identifier until one has a challenge.
 *
 * Returns ACME_OK with challenge->digest set, or the reason of the refusal. challenge->source
 * is the source whose word it was, and challenge->file what was looked for there. */
acme_error_e acme_alpn_sources_ask(conn_rec *c, acme_alpn_challenge_t *challenge);

/* For logs: lower case, static, never NULL. */
const char *acme_alpn_source_name(acme_alpn_source_e source);

#endif
