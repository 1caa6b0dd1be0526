/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handler acme-alpn-status: the report as HTML, as JSON or for Prometheus, by the query's
 * parameters or by what the client accepts; and its numbers in mod_status's page. Who may see
 * them is httpd's to decide (Require).
 */
#ifndef MOD_ACME_ALPN_STATUS_H
#define MOD_ACME_ALPN_STATUS_H

#include <httpd.h>

/* A body of the handler hook. */
int acme_alpn_status_handler(request_rec *r);

/* A body of mod_status's hook: a section of its page, or lines of ?auto. */
int acme_alpn_status_section(request_rec *r, int flags);

#endif
