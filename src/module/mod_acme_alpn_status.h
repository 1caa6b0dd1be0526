/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handler acme-alpn-status: the report as HTML, as JSON where the client accepts that, or
 * for Prometheus with the query string "prometheus". Who may see it is httpd's to decide
 * (Require).
 */
#ifndef MOD_ACME_ALPN_STATUS_H
#define MOD_ACME_ALPN_STATUS_H

#include <httpd.h>

/* A body of the handler hook. */
int acme_alpn_status_handler(request_rec *r);

#endif
