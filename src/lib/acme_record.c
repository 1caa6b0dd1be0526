/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_record.h"

#include <stddef.h>
#include <string.h>

#include <apr_atomic.h>

#include "acme_text.h"

typedef struct {
    apr_uint32_t ticket; /* from 1 on; 0: the row is empty, or a writer fills it */
    apr_uint32_t unused;
    apr_uint64_t checksum; /* of the ticket and the row */
    acme_record_row_t row;
} slot_t;

struct acme_record_t {
    apr_uint32_t tickets; /* how many rows have been added, modulo 2^32 */
    acme_record_counts_t counts;
    slot_t slots[ACME_RECORD_ROWS];
};

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

/* Skips the unused bytes after the texts, which are most of a row. */
static apr_uint64_t record_checksum_of(apr_uint32_t ticket, const acme_record_row_t *row)
{
    apr_uint64_t sum = acme_text_hash(ACME_TEXT_HASH_BASIS, &ticket, sizeof(ticket));

    sum = acme_text_hash(sum, row, offsetof(acme_record_row_t, name));
    sum = acme_text_hash(sum, row->name, strnlen(row->name, sizeof(row->name)));
    sum = acme_text_hash(sum, row->peer, strnlen(row->peer, sizeof(row->peer)));
    sum = acme_text_hash(sum, row->vhost, strnlen(row->vhost, sizeof(row->vhost)));
    return acme_text_hash(sum, row->tls, strnlen(row->tls, sizeof(row->tls)));
}

/* Works between processes; on 32 bits APR's function may use a mutex of the process. */
#define INCREASE(counter, number) __atomic_fetch_add(&(counter), number, __ATOMIC_SEQ_CST)

void acme_record_add(acme_record_t *record, const acme_record_row_t *row)
{
    acme_record_counts_t *counts = &record->counts;
    apr_uint32_t ticket;
    slot_t *slot;

    INCREASE(counts->outcomes[row->outcome], 1);
    if (row->outcome == ACME_RECORD_ANSWERED) {
        INCREASE(counts->answered[row->source % ACME_RECORD_SOURCES], 1);
        INCREASE(counts->answered_duration, row->duration);
    } else if (row->outcome == ACME_RECORD_REFUSED) {
        INCREASE(counts->refused[(unsigned int)row->reason % ACME_ERRORS], 1);
    }
    do { /* 0 marks an empty slot; the number wraps to it once in 2^32 rows. */
        ticket = apr_atomic_inc32(&record->tickets) + 1;
    } while (ticket == 0);
    slot = &record->slots[ticket % ACME_RECORD_ROWS];
    /* The exchanges are barriers before and after the copy. */
    apr_atomic_xchg32(&slot->ticket, 0);
    memcpy(&slot->row, row, sizeof(*row));
    slot->checksum = record_checksum_of(ticket, row);
    apr_atomic_xchg32(&slot->ticket, ticket);
}

void acme_record_count(acme_record_t *record, acme_record_event_e event)
{
    INCREASE(record->counts.events[event], 1);
}

/* Returns whether the slot holds the whole row of this ticket. The cast drops const, since only
 * APR's addition, here of 0, is a read with a barrier. */
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
    /* Each counter is right; they need not be of the same instant. */
    memcpy(counts, &record->counts, sizeof(*counts));
}
