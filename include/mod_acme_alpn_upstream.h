/*
 * AcmeAlpnUpstream: the other responders that a server asks.
 */
#ifndef MOD_ACME_ALPN_UPSTREAM_H
#define MOD_ACME_ALPN_UPSTREAM_H

#include <httpd.h>
#include <http_config.h>

#include "acme_guard.h"

/* How many a server can have, and how long a handshake waits for all of them together: CAs give
 * up after some 10 s. */
#define ACME_ALPN_UPSTREAMS_MAX    8
#define ACME_ALPN_UPSTREAM_LONGEST apr_time_from_sec(8)
#define ACME_ALPN_UPSTREAM_TIMEOUT apr_time_from_sec(2)
#define ACME_ALPN_UPSTREAM_PLACES  8

typedef struct {
    const char *line;  /* HOST:PORT and the options, as written */
    const char *given; /* HOST:PORT, as written */
    const char *host, *port;
    apr_interval_time_t timeout; /* for a place, connecting and the handshake together */
    int places;            /* how many handshakes may be made at once by the whole server */
    int any_name;          /* also ask for names that this server does not have */
    acme_guard_row_t *row; /* set in post_config */
} acme_alpn_upstream_t;

/* AcmeAlpnUpstream HOST:PORT [timeout=TIME] [max=N] [any-name] */
const char *acme_alpn_upstream_set(cmd_parms *command, void *directory, int count,
                                   char *const arguments[]);

#endif
