/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay: makes a challenge handshake with another acme-tls/1 responder, as a CA would, and
 * answers with its digest. So an ACME client's own responder works behind httpd, and the nodes
 * of a fleet can ask the one that runs the client.
 *
 * The guard (acme_guard.h) limits how many workers wait for upstreams.
 */
#ifndef MOD_ACME_ALPN_RELAY_H
#define MOD_ACME_ALPN_RELAY_H

#include <httpd.h>

#include <http_config.h>

#include "acme_guard.h"
#include "mod_acme_alpn_connection.h"

/* How many upstreams a server can have, and how long a handshake waits for all of them
 * together: CAs time out after about 10 s. */
#define ACME_ALPN_UPSTREAMS_MAX    8
#define ACME_ALPN_UPSTREAM_LONGEST apr_time_from_sec(8)
#define ACME_ALPN_UPSTREAM_TIMEOUT apr_time_from_sec(2)
#define ACME_ALPN_UPSTREAM_PLACES  8

typedef struct {
    const char *line;  /* HOST:PORT and the options, as written */
    const char *given; /* HOST:PORT, as written */
    const char *host, *port;
    apr_interval_time_t timeout; /* for a place, connecting and the handshake together */
    int places;            /* how many handshakes of the whole server may ask it at once */
    int any_name;          /* also ask for names that this server does not have */
    acme_guard_row_t *row; /* set in post_config */
} acme_alpn_upstream_t;

/* AcmeAlpnUpstream HOST:PORT [timeout=TIME] [max=N] [any-name] */
const char *acme_alpn_relay_configure(cmd_parms *command, void *directory, int count,
                                      char *const arguments[]);

/* In the parent, at each start and reload, after the guard's, for these TLS vhosts (an array of
 * server_rec *). Returns 0, after a log line, where httpd cannot start. */
int acme_alpn_relay_init(apr_pool_t *config_pool, server_rec *server,
                         const apr_array_header_t *vhosts);

/* In a child, before its first connection. */
void acme_alpn_relay_child_init(server_rec *server);

/*
 * Asks the upstreams of challenge->server, at least one, for challenge->identifier in their
 * order.
 *
 * Returns ACME_OK with challenge->digest set, or ACME_RELAY_*, ACME_PROBE_*, ACME_CERTIFICATE_*
 * or ACME_SYSTEM_ERROR. challenge->upstream is the upstream of this result, challenge->detail
 * its message or NULL.
 */
acme_error_e acme_alpn_relay_ask(acme_alpn_challenge_t *challenge, apr_pool_t *pool);

#endif
