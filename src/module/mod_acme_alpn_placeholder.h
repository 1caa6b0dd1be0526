/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AcmeAlpnPlaceholder: httpd does not start with a TLS vhost without a certificate, and without
 * httpd no challenge is answered. So such a vhost gets a self-signed placeholder certificate,
 * and answers all requests with 503.
 */
#ifndef MOD_ACME_ALPN_PLACEHOLDER_H
#define MOD_ACME_ALPN_PLACEHOLDER_H

#include <httpd.h>

/* At configtest: logs once if a wanted placeholder certificate could not be written. */
void acme_alpn_placeholder_check(apr_pool_t *pool, const server_rec *servers);

/* The hook ssl_add_fallback_cert_files, in mod_ssl's post_config; see http_ssl.h. */
int acme_alpn_placeholder_add(server_rec *server, apr_pool_t *pool,
                              apr_array_header_t *certificate_files,
                              apr_array_header_t *key_files);

/* The hook post_read_request: 503 to all requests with the placeholder certificate. */
int acme_alpn_placeholder_refuse(request_rec *r);

#endif
