/*
 * The httpd side: httpd's protocol negotiation (ap_select_protocol, ap_switch_protocol) for
 * acme-tls/1, and the end of such a connection.
 */
#ifndef MOD_ACME_ALPN_PROTOCOL_H
#define MOD_ACME_ALPN_PROTOCOL_H

#include <httpd.h>

/* The bodies of the hooks of the same names; see http_protocol.h for what they return. */
int acme_alpn_protocol_propose(conn_rec *c, request_rec *r, server_rec *server,
                               apr_array_header_t *proposals);
int acme_alpn_protocol_switch(conn_rec *c, request_rec *r, server_rec *server,
                              const char *protocol);
const char *acme_alpn_protocol_get(const conn_rec *c);

/* After the other modules' proposals: take back acme-tls/1 where the client offers more than
 * that, and where nobody but us allowed it and AcmeAlpnEngine is Off. The handshake is then an
 * ordinary one. */
int acme_alpn_protocol_withdraw(conn_rec *c, request_rec *r, server_rec *server,
                                apr_array_header_t *proposals);

/* In process_connection, when mod_ssl's handshake is over: end a connection that was about a
 * challenge. No byte of application data is read or sent (RFC 8737 section 3). */
int acme_alpn_protocol_close(conn_rec *c);

#endif
