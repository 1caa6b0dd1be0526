/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks before the first handshake. An unusable spool never stops httpd: a failing post_config
 * would end a running server at a graceful restart. Two OpenSSLs do, since children would
 * crash.
 */
#ifndef MOD_ACME_ALPN_CHECK_H
#define MOD_ACME_ALPN_CHECK_H

#include <sys/stat.h>

#include <httpd.h>

/* At configtest, at a reload and in the first configuration of a start, before httpd detaches:
 * logs each missing or unsafe spool of these servers (an array of server_rec *) once. */
void acme_alpn_check_spools(apr_pool_t *pool, server_rec *server,
                            const apr_array_header_t *servers);

/* Whether httpd's User owns the spool. For a process that runs as this User. */
int acme_alpn_check_is_users(const struct stat *spool);

/* Whether mod_ssl uses the same OpenSSL; logs if not. Before post_config, which may crash. */
int acme_alpn_check_openssl(apr_pool_t *pool, server_rec *server);

#endif
