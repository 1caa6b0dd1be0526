/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other modules of httpd that answer challenges, such as mod_md, as a source.
 */
#ifndef MOD_ACME_ALPN_MODULES_H
#define MOD_ACME_ALPN_MODULES_H

#include "mod_acme_alpn_connection.h"

/* Asks them for challenge->identifier, and reads the digest from their certificate. Returns
 * ACME_OK with challenge->digest set; ACME_NO_ENTRY if none has a challenge; or what is wrong
 * with the certificate (RFC 8737 section 3). */
acme_error_e acme_alpn_modules_ask(conn_rec *c, acme_alpn_challenge_t *challenge);

/* In ssl_answer_challenge: keeps mod_ssl from adding another module's certificate where this
 * module answers. */
int acme_alpn_modules_exclude(conn_rec *c, const char *server_name, const char **certificate,
                              const char **key);

#endif
