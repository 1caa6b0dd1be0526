/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first start of a server without any certificate (AcmeAlpnPlaceholder): httpd does not
 * start with a TLS vhost that has none, and without httpd no challenge is answered. So such a
 * vhost gets a self-signed certificate, and serves nothing with it.
 */
#ifndef MOD_ACME_ALPN_PLACEHOLDER_H
#define MOD_ACME_ALPN_PLACEHOLDER_H

#include <httpd.h>

/* At configtest: report once where a placeholder is wanted and could not be had. */
void acme_alpn_placeholder_check(apr_pool_t *pool, const server_rec *servers);

/* The body of the hook ssl_add_fallback_cert_files, in mod_ssl's post_config; see http_ssl.h.
 */
int acme_alpn_placeholder_add(server_rec *server, apr_pool_t *pool,
                              apr_array_header_t *certificate_files,
                              apr_array_header_t *key_files);

/* The body of the hook post_read_request: 503 to whatever is asked with a placeholder. */
int acme_alpn_placeholder_refuse(request_rec *r);

#endif
