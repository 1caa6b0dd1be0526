/* SPDX-License-Identifier: Apache-2.0 */
/*
 * httpd's side of acme-tls/1: its negotiation (ap_select_protocol, ap_switch_protocol), the
 * servers' Protocols, and the end of the connection.
 */
#ifndef MOD_ACME_ALPN_ALPN_H
#define MOD_ACME_ALPN_ALPN_H

#include <httpd.h>

/* In post_config, after mod_md, which chooses its challenge type by Protocols: allows
 * acme-tls/1 on all servers, since vhosts may share a list or another vhost's TLS. Other
 * protocols are negotiated and announced as before. */
void acme_alpn_alpn_allow(apr_pool_t *pool, server_rec *servers);

/* In map_to_storage and handler: removes acme-tls/1 from core's Upgrade header. DECLINED. */
int acme_alpn_alpn_hide(request_rec *r);

/* The hooks of the same names; see http_protocol.h for what they return. */
int acme_alpn_alpn_propose(conn_rec *c, request_rec *r, server_rec *server,
                           const apr_array_header_t *offers, apr_array_header_t *proposals);
int acme_alpn_alpn_switch(conn_rec *c, request_rec *r, server_rec *server,
                          const char *protocol);
const char *acme_alpn_alpn_get(const conn_rec *c);

/* After the other modules' proposals: removes acme-tls/1 where the client offers more than
 * that, and with AcmeAlpnEngine Off unless Protocols names it. The handshake is then an
 * ordinary one. */
int acme_alpn_alpn_withdraw(conn_rec *c, request_rec *r, server_rec *server,
                            const apr_array_header_t *offers, apr_array_header_t *proposals);

/* In process_connection, after mod_ssl's handshake: ends the connection of a challenge
 * handshake. No application data is read or sent (RFC 8737 section 3). */
int acme_alpn_alpn_close(conn_rec *c);

#endif
