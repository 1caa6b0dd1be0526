/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The history of a server's acme-tls/1 handshakes: a row for each of the last ones, and
 * counters of all, in memory that processes share and that outlives them.
 *
 * There is no lock. A writer takes the next slot atomically, and stores the row with its number
 * and a checksum. A reader skips rows with a wrong checksum. A killed writer costs one row.
 */
#ifndef ACME_RECORD_H
#define ACME_RECORD_H

#include <apr.h>
#include <apr_time.h>

#include "acme_error.h"
#include "acme_key.h"

/* How many handshakes have a row. */
#define ACME_RECORD_ROWS 256

/* How many sources there may be; the caller numbers them. */
#define ACME_RECORD_SOURCES 8

typedef enum {
    ACME_RECORD_ANSWERED,
    ACME_RECORD_REFUSED,
    ACME_RECORD_INCOMPLETE,
    ACME_RECORD_OUTCOMES
} acme_record_outcome_e;

/* Counters beside those of handshakes. */
typedef enum {
    ACME_RECORD_MINTED, /* challenge certificates made */
    ACME_RECORD_CACHED, /* taken from the cache of a process */
    ACME_RECORD_RELAYS, /* handshakes with another responder */
    ACME_RECORD_EVENTS
} acme_record_event_e;

/* One handshake. Texts are cut to size, end in NUL and may hold any other bytes. */
typedef struct {
    apr_time_t ended;
    apr_uint32_t duration; /* from the ClientHello to `ended`, in microseconds */
    acme_record_outcome_e outcome;
    acme_error_e reason;      /* with ACME_RECORD_REFUSED */
    acme_key_type_e key_type; /* with ACME_RECORD_ANSWERED */
    unsigned int source;      /* the caller's number, less than ACME_RECORD_SOURCES */
    int is_identifier;        /* `name` is canonical; otherwise as the client sent it */
    int alert;                /* of TLS, that ended the handshake (RFC 8446 section 6), or 0 */
    int alert_sent;           /* by this server; otherwise by the client */
    char name[256];
    char peer[80];
    char vhost[256];
    char tls[16];
} acme_record_row_t;

/* Aligned: on 32 bits, a number of 64 bits might else lie across two cache lines. */
typedef struct {
    apr_time_t since;
    apr_uint64_t outcomes[ACME_RECORD_OUTCOMES];
    apr_uint64_t answered[ACME_RECORD_SOURCES];
    apr_uint64_t answered_duration; /* of all of them, in microseconds */
    apr_uint64_t refused[ACME_ERRORS];
    apr_uint64_t events[ACME_RECORD_EVENTS];
} __attribute__((aligned(8))) acme_record_counts_t;

typedef struct acme_record_t acme_record_t;

/* The size of a record, in bytes. */
apr_size_t acme_record_size(void);

/* Begin an empty record: acme_record_size() zero bytes, aligned as by malloc. Does nothing to a
 * record that has begun. */
void acme_record_begin(acme_record_t *record, apr_time_t now);

/* Add a row, and count it. */
void acme_record_add(acme_record_t *record, const acme_record_row_t *row);

void acme_record_count(acme_record_t *record, acme_record_event_e event);

/* Copy the rows, the latest first. Returns their number. */
apr_size_t acme_record_read(acme_record_row_t rows[ACME_RECORD_ROWS],
                            const acme_record_t *record);

void acme_record_counts(acme_record_counts_t *counts, const acme_record_t *record);

#endif
