/*
 * AcmeAlpnUpstream: the other responders that a server asks.
 */
#ifndef MOD_ACME_ALPN_UPSTREAM_H
#define MOD_ACME_ALPN_UPSTREAM_H

#include <httpd.h>
#include <http_config.h>

#include "acme_resolver.h"

/* How many a server can have, and how long a handshake waits for all of them together: CAs give
 * up after some 10 s. */
#define ACME_ALPN_UPSTREAMS_MAX    8
#define ACME_ALPN_UPSTREAM_LONGEST apr_time_from_sec(8)
#define ACME_ALPN_UPSTREAM_TIMEOUT apr_time_from_sec(2)
#define ACME_ALPN_UPSTREAM_PLACES  8

typedef struct {
    const char *given; /* HOST:PORT, as written */
    const char *host;
    apr_port_t port;
    apr_interval_time_t timeout; /* for resolving, connecting and the handshake together */
    int places;                  /* how many handshakes may wait at once in the whole server */
    int any_name;                /* also ask for names that this server does not have */
    apr_sockaddr_t *address;     /* of a host that is written as an address; otherwise NULL */
    acme_resolver_t *resolver;   /* of this child, for one that is not */
} acme_alpn_upstream_t;

/* AcmeAlpnUpstream HOST:PORT [timeout=TIME] [max=N] [any-name] */
const char *acme_alpn_upstream_set(cmd_parms *command, void *directory, int count,
                                   char *const arguments[]);

#endif
