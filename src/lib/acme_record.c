/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_record.h"

#include <stddef.h>
#include <string.h>

#include <apr_atomic.h>

/* To be changed with the meaning of anything below that keeps its size. */
#define LAYOUT_VERSION 1

typedef struct {
    apr_uint32_t ticket; /* 0: never filled, or being filled; else from 1 on */
    apr_uint32_t unused;
    apr_uint64_t checksum; /* of the ticket and the row */
    acme_record_row_t row;
} slot_t;

struct acme_record_t {
    apr_uint32_t tickets; /* how many rows have been added, modulo 2^32 */
    acme_record_counts_t counts;
    slot_t slots[ACME_RECORD_ROWS];
};

/* FNV-1a, which is quick on a few hundred bytes; nobody has a reason to forge it. */
#define FNV_BASIS APR_UINT64_C(14695981039346656037)
#define FNV_PRIME APR_UINT64_C(1099511628211)

static apr_uint64_t record_hash(apr_uint64_t so_far, const void *bytes, apr_size_t length)
{
    const unsigned char *byte = bytes, *end = byte + length;

    for (; byte < end; byte++) {
        so_far = (so_far ^ *byte) * FNV_PRIME;
    }
    return so_far;
}

/* A reason that is added, or that moves, gives another number, too. */
apr_uint32_t acme_record_layout(const char *meanings)
{
    const apr_size_t numbers[] = {LAYOUT_VERSION, sizeof(acme_record_t), sizeof(slot_t),
                                  ACME_KEY_TYPES, ACME_ERRORS};
    apr_uint64_t layout = record_hash(FNV_BASIS, numbers, sizeof(numbers));
    int reason;

    for (reason = 0; reason < ACME_ERRORS; reason++) {
        const char *slug = acme_error_slug((acme_error_e)reason);

        layout = record_hash(layout, slug, strlen(slug) + 1);
    }
    layout = record_hash(layout, meanings, strlen(meanings));
    return (apr_uint32_t)(layout ^ (layout >> 32));
}

apr_size_t acme_record_size(void)
{
    return sizeof(acme_record_t);
}

void acme_record_begin(acme_record_t *record, apr_time_t now)
{
    if (record->counts.since == 0) {
        record->counts.since = now;
    }
}

/* Only what is in use of the texts, which are the most of it. */
static apr_uint64_t record_checksum_of(apr_uint32_t ticket, const acme_record_row_t *row)
{
    apr_uint64_t sum = record_hash(FNV_BASIS, &ticket, sizeof(ticket));

    sum = record_hash(sum, row, offsetof(acme_record_row_t, name));
    sum = record_hash(sum, row->name, strnlen(row->name, sizeof(row->name)));
    sum = record_hash(sum, row->peer, strnlen(row->peer, sizeof(row->peer)));
    sum = record_hash(sum, row->vhost, strnlen(row->vhost, sizeof(row->vhost)));
    return record_hash(sum, row->tls, strnlen(row->tls, sizeof(row->tls)));
}

static apr_uint32_t record_next_ticket(acme_record_t *record)
{
    apr_uint32_t ticket = apr_atomic_inc32(&record->tickets) + 1;

    /* Nought means empty; it is reached once in four thousand million. */
    return ticket ? ticket : apr_atomic_inc32(&record->tickets) + 1;
}

static void record_keep(acme_record_t *record, const acme_record_row_t *row)
{
    apr_uint32_t ticket = record_next_ticket(record);
    slot_t *slot = &record->slots[ticket % ACME_RECORD_ROWS];

    /* The exchanges are also barriers, on both sides of the copy. */
    apr_atomic_xchg32(&slot->ticket, 0);
    memcpy(&slot->row, row, sizeof(*row));
    slot->checksum = record_checksum_of(ticket, row);
    apr_atomic_xchg32(&slot->ticket, ticket);
}

static void record_count_outcome(acme_record_counts_t *counts, const acme_record_row_t *row)
{
    switch (row->outcome) {
    case ACME_RECORD_ANSWERED:
        apr_atomic_inc64(&counts->answered[row->source % ACME_RECORD_SOURCES]);
        apr_atomic_add64(&counts->answered_duration, row->duration);
        break;
    case ACME_RECORD_REFUSED:
        apr_atomic_inc64(&counts->refused[(unsigned int)row->reason % ACME_ERRORS]);
        break;
    default:
        apr_atomic_inc64(&counts->incomplete);
        break;
    }
}

void acme_record_add(acme_record_t *record, const acme_record_row_t *row)
{
    record_count_outcome(&record->counts, row);
    record_keep(record, row);
}

void acme_record_count(acme_record_t *record, acme_record_event_e event)
{
    apr_atomic_inc64(&record->counts.events[event]);
}

/* Whether the slot holds the row with this ticket, whole. The record is const to the caller,
 * and stays as it is; reading with a barrier takes an addition of nought. */
static int record_copy(acme_record_row_t *row, const slot_t *slot, apr_uint32_t ticket)
{
    volatile apr_uint32_t *sequence = (volatile apr_uint32_t *)&slot->ticket;
    apr_uint64_t checksum;

    if (apr_atomic_add32(sequence, 0) != ticket) {
        return 0;
    }
    memcpy(row, &slot->row, sizeof(*row));
    checksum = slot->checksum;
    return apr_atomic_add32(sequence, 0) == ticket &&
           checksum == record_checksum_of(ticket, row);
}

apr_size_t acme_record_read(acme_record_row_t rows[ACME_RECORD_ROWS],
                            const acme_record_t *record)
{
    apr_uint32_t latest = apr_atomic_read32((volatile apr_uint32_t *)&record->tickets);
    apr_size_t count = 0;
    apr_uint32_t back;

    for (back = 0; back < ACME_RECORD_ROWS; back++) {
        apr_uint32_t ticket = latest - back;

        if (ticket &&
            record_copy(&rows[count], &record->slots[ticket % ACME_RECORD_ROWS], ticket)) {
            count++;
        }
    }
    return count;
}

void acme_record_counts(acme_record_counts_t *counts, const acme_record_t *record)
{
    /* Each number by itself is right; that they are of the same instant nobody needs. */
    memcpy(counts, &record->counts, sizeof(*counts));
}

const char *acme_record_outcome_name(acme_record_outcome_e outcome)
{
    static const char *const names[ACME_RECORD_OUTCOMES] = {"answered", "refused",
                                                            "incomplete"};

    return names[outcome];
}
