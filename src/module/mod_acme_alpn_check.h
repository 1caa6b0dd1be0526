/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be said of the spools before the first handshake. Nothing of it stops httpd: a
 * post_config that fails would end a running server at a graceful restart.
 */
#ifndef MOD_ACME_ALPN_CHECK_H
#define MOD_ACME_ALPN_CHECK_H

#include <httpd.h>

#include "acme_error.h"

typedef enum { ACME_ALPN_AT_CONFIGTEST, ACME_ALPN_AT_START } acme_alpn_moment_e;

/* At the first of the two configurations of a start, before httpd detaches: afterwards there is
 * no time for it, since who starts httpd may at once tell it something, and look for its pid
 * file. */
void acme_alpn_check_ask_early(server_rec *server, const apr_array_header_t *servers);

/* Report each spool of these servers (an array of server_rec *) that is missing or unsafe,
 * once. At the start the pool is the configuration's. */
void acme_alpn_check_spools(apr_pool_t *pool, server_rec *server,
                            const apr_array_header_t *servers, acme_alpn_moment_e moment);

/* What has been reported of a spool at the start, for a child; ACME_OK: nothing. */
acme_error_e acme_alpn_check_found(const char *directory);

#endif
