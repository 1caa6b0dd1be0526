/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each request for the status page gathers the JSON document that docs/status.md explains. The
 * HTML page and the metrics are written from it. Its texts are printable ASCII: other bytes, in
 * the name of a file or of a vhost, are percent-encoded.
 */
#ifndef MOD_ACME_ALPN_REPORT_H
#define MOD_ACME_ALPN_REPORT_H

#include <httpd.h>

#include <apr_buckets.h>

#include <jansson.h>

/* At each start and reload: all TLS vhosts (server_rec *), also those with Engine Off. */
void acme_alpn_report_init(const apr_array_header_t *servers);

/* The caller frees the document with json_decref. NULL without memory. Without lists, the
 * document only counts handshakes, entries and vhosts. */
json_t *acme_alpn_report(apr_pool_t *pool, int has_lists);

void acme_alpn_report_html(apr_bucket_brigade *out, const json_t *document);
void acme_alpn_report_prometheus(apr_bucket_brigade *out, const json_t *document);

/* The Content-Security-Policy of the HTML page. */
extern const char acme_alpn_report_policy[];

#endif
