/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other modules of httpd that answer challenges, such as mod_md, as a source.
 */
#ifndef MOD_ACME_ALPN_MODULES_H
#define MOD_ACME_ALPN_MODULES_H

#include "mod_acme_alpn_connection.h"

/* Ask them for challenge->identifier, and take the digest from the certificate that they give.
 *
 * Returns ACME_OK with challenge->digest set; ACME_NO_ENTRY if none has a challenge; or why
 * what one gave is no challenge certificate of the identifier's (RFC 8737 section 3). */
acme_error_e acme_alpn_modules_ask(conn_rec *c, acme_alpn_challenge_t *challenge);

/* The body of the hook of httpd of that name: where we answer, mod_ssl is not to put another
 * module's certificate beside ours. */
int acme_alpn_modules_exclude(conn_rec *c, const char *server_name, const char **certificate,
                              const char **key);

#endif
