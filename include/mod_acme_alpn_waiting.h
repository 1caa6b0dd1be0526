/*
 * Who may wait: a handshake that asks a store or an upstream holds a worker until that answers.
 * Ordinary requests keep half of the workers, in the whole server and in each of its processes;
 * where both stores and upstreams are in use each has a part of the other half, so that one
 * that hangs takes nothing from the other.
 *
 * A burst of validations is no reason to refuse any, as long as what they ask answers at once.
 * So beyond those places workers may wait for a moment, until it is seen that this is not
 * enough.
 */
#ifndef MOD_ACME_ALPN_WAITING_H
#define MOD_ACME_ALPN_WAITING_H

#include <httpd.h>

#include "acme_places.h"

typedef enum {
    ACME_ALPN_WAITING_STORE,
    ACME_ALPN_WAITING_UPSTREAM,
    ACME_ALPN_WAITING_KINDS
} acme_alpn_waiting_e;

/* A worker that waits, until it is given back. */
typedef struct {
    acme_alpn_waiting_e kind;
    apr_time_t since;
    int is_brief; /* it has no place, and waits for a moment */
    acme_place_t place;
} acme_alpn_waiting_t;

/* For whoever is slow to give a place back, beyond the deadline for which it was taken. */
#define ACME_ALPN_WAITING_GRACE apr_time_from_sec(1)

/* In the parent, at each start and reload, for these TLS vhosts (an array of server_rec *).
 * Those who wait go on being counted. */
void acme_alpn_waiting_init(server_rec *server, const apr_array_header_t *vhosts);

/* Whether this worker may wait, until the deadline at the latest, which becomes an earlier one
 * if waiting->is_brief. Never waits itself. */
int acme_alpn_waiting_enter(acme_alpn_waiting_t *waiting, acme_alpn_waiting_e kind,
                            apr_time_t *deadline);

/* Whether it has come to an answer or a failure shows whether there is a quick one. */
void acme_alpn_waiting_leave(const acme_alpn_waiting_t *waiting, int is_answered);

#endif
