/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong, before the first handshake. No spool stops httpd: a post_config that fails
 * would end a running server at a graceful restart. Two OpenSSLs do, which would crash it.
 */
#ifndef MOD_ACME_ALPN_CHECK_H
#define MOD_ACME_ALPN_CHECK_H

#include <sys/stat.h>

#include <httpd.h>

/* At configtest, at a reload, and in the first configuration of a start, before httpd detaches:
 * log each spool of these servers (an array of server_rec *) that is missing or unsafe, once.
 */
void acme_alpn_check_spools(apr_pool_t *pool, server_rec *server,
                            const apr_array_header_t *servers);

/* Whether it is httpd's User who owns the spool; asked in a process that has become this user.
 */
int acme_alpn_check_is_users(const struct stat *spool);

/* Whether mod_ssl uses the same OpenSSL. Asked before post_config, which may crash if not. */
int acme_alpn_check_openssl(apr_pool_t *pool, server_rec *server);

#endif
