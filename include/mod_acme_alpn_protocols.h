/*
 * The Protocols lists of the servers: httpd negotiates no protocol that the vhost's list lacks,
 * and nobody should have to write acme-tls/1 into every vhost.
 */
#ifndef MOD_ACME_ALPN_PROTOCOLS_H
#define MOD_ACME_ALPN_PROTOCOLS_H

#include <httpd.h>

/* In post_config: allow acme-tls/1 on every server, without a change to what else is negotiated
 * or announced. (Servers may share a list, and the SNI may name one whose TLS another has.)
 * mod_md must have looked at the lists before, since it chooses its challenge type by them. */
void acme_alpn_protocols_allow(apr_pool_t *pool, server_rec *servers);

/* Whether it is we alone that allow acme-tls/1 on this server. */
int acme_alpn_protocols_are_ours(const server_rec *server);

/* Before a request's handler: the Upgrade header that core has set must not tell of
 * acme-tls/1. */
void acme_alpn_protocols_hide(request_rec *r);

#endif
