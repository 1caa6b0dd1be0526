/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handler acme-alpn-status: the report as HTML, as JSON or for Prometheus, by the query's
 * parameters or by what the client accepts. Who may see it is httpd's to decide (Require).
 */
#ifndef MOD_ACME_ALPN_STATUS_H
#define MOD_ACME_ALPN_STATUS_H

#include <httpd.h>

/* A body of the handler hook. */
int acme_alpn_status_handler(request_rec *r);

#endif
