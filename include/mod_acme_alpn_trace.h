/*
 * The story of one connection for a challenge, step by step, with LogLevel acme_alpn:debug.
 * Each step has a tag of its own (docs/messages.md). Without that level they cost a comparison.
 */
#ifndef MOD_ACME_ALPN_TRACE_H
#define MOD_ACME_ALPN_TRACE_H

#include <httpd.h>

#include "mod_acme_alpn_connection.h"

/* The ClientHello offers acme-tls/1 and nothing else. */
void acme_alpn_trace_offered(const conn_rec *c);

/* The vhost is chosen, and its sources are about to be asked. */
void acme_alpn_trace_vhost(const conn_rec *c, const acme_alpn_challenge_t *challenge);

/* The source that challenge->source and challenge->file name has been asked, and this was its
 * answer. To be called for each source in turn. */
void acme_alpn_trace_asked(const conn_rec *c, const acme_alpn_challenge_t *challenge,
                           acme_error_e answer);

/* A type of key was tried: ACME_OK, or why not. `origin` is where the certificate is from. */
void acme_alpn_trace_key(const conn_rec *c, const acme_alpn_challenge_t *challenge,
                         acme_key_type_e type, acme_error_e result, const char *origin);

void acme_alpn_trace_negotiated(const conn_rec *c, const acme_alpn_challenge_t *challenge);

/* Also for a connection about which httpd is to log nothing any more. */
void acme_alpn_trace_closed(conn_rec *c, const acme_alpn_challenge_t *challenge);

#endif
