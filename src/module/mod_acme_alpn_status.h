/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handler acme-alpn-status writes the report as HTML, as JSON or for Prometheus. Its
 * numbers are also in mod_status's page. The admin restricts access with Require.
 */
#ifndef MOD_ACME_ALPN_STATUS_H
#define MOD_ACME_ALPN_STATUS_H

#include <httpd.h>

/* The hook handler. */
int acme_alpn_status_handler(request_rec *r);

/* mod_status's hook: a section of its page, or lines of ?auto. */
int acme_alpn_status_section(request_rec *r, int flags);

#endif
