/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The httpd side: httpd's negotiation of acme-tls/1 (ap_select_protocol, ap_switch_protocol),
 * the servers' Protocols that it goes by, and the end of such a connection.
 */
#ifndef MOD_ACME_ALPN_ALPN_H
#define MOD_ACME_ALPN_ALPN_H

#include <httpd.h>

/* In post_config: allow acme-tls/1 on every server, without a change to what else is negotiated
 * or announced. (Servers may share a list, and the SNI may name one whose TLS another has.)
 * mod_md must have looked at the lists before, since it chooses its challenge type by them. */
void acme_alpn_alpn_allow(apr_pool_t *pool, server_rec *servers);

/* In map_to_storage and handler, which it declines: the Upgrade header that core has set must
 * not tell of acme-tls/1. */
int acme_alpn_alpn_hide(request_rec *r);

/* The bodies of the hooks of the same names; see http_protocol.h for what they return. */
int acme_alpn_alpn_propose(conn_rec *c, request_rec *r, server_rec *server,
                           const apr_array_header_t *offers, apr_array_header_t *proposals);
int acme_alpn_alpn_switch(conn_rec *c, request_rec *r, server_rec *server,
                          const char *protocol);
const char *acme_alpn_alpn_get(const conn_rec *c);

/* After the other modules' proposals: take back acme-tls/1 where the client offers more than
 * that, and where this module alone allowed it and AcmeAlpnEngine is Off. The handshake is then
 * an ordinary one. */
int acme_alpn_alpn_withdraw(conn_rec *c, request_rec *r, server_rec *server,
                            const apr_array_header_t *offers, apr_array_header_t *proposals);

/* In process_connection, when mod_ssl's handshake is over: end a connection that was about a
 * challenge. No byte of application data is read or sent (RFC 8737 section 3). */
int acme_alpn_alpn_close(conn_rec *c);

#endif
