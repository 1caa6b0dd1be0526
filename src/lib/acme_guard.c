/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_guard.h"

#include <string.h>

#include <apr_atomic.h>

#include "acme_text.h"

/* The pause between two attempts to get a place grows from the first to the second. */
#define SHORTEST_LOOK apr_time_from_msec(1)
#define LONGEST_LOOK  apr_time_from_msec(8)

/* For a worker that is slow to give its lease back after the deadline. */
#define GRACE_MS 1000

#define LEASE_MAX_MS ((apr_int32_t)apr_time_as_msec(ACME_GUARD_LONGEST) + GRACE_MS)

struct acme_guard_t {
    apr_uint32_t round;                      /* counts configurations */
    apr_uint32_t worker[ACME_GUARD_WORKERS]; /* leases of those that wait */
    acme_guard_row_t row[ACME_GUARD_ROWS];
};

/* How many of this process wait. */
static apr_uint32_t guard_inside;

static apr_uint32_t guard_time(apr_time_t time)
{
    return (apr_uint32_t)apr_time_as_msec(time) | 1;
}

apr_uint32_t acme_guard_clock(void)
{
    return guard_time(acme_monotonic());
}

apr_size_t acme_guard_size(void)
{
    return sizeof(acme_guard_t);
}

/* Rows */

/* Never 0. */
static apr_uint64_t guard_key(const char *line)
{
    return acme_text_hash(ACME_TEXT_HASH_BASIS, line, strlen(line)) | 1;
}

static acme_guard_row_t *guard_find(acme_guard_t *guard, apr_uint64_t key)
{
    apr_size_t i;

    for (i = 0; i < ACME_GUARD_ROWS; i++) {
        if (guard->row[i].key == key) {
            return &guard->row[i];
        }
    }
    return NULL;
}

/* The longest unused row, since children of the last configuration may still run. */
static acme_guard_row_t *guard_find_unused(acme_guard_t *guard)
{
    acme_guard_row_t *oldest = &guard->row[0], *row;

    for (row = guard->row; row < guard->row + ACME_GUARD_ROWS; row++) {
        if (guard->round - row->round > guard->round - oldest->round) {
            oldest = row;
        }
    }
    return oldest->round == guard->round ? NULL : oldest;
}

void acme_guard_begin(acme_guard_t *guard)
{
    guard->round++;
}

acme_guard_row_t *acme_guard_row(acme_guard_t *guard, const char *line)
{
    apr_uint64_t key = guard_key(line);
    acme_guard_row_t *row = guard_find(guard, key);

    row = row ? row : guard_find(guard, 0);
    row = row ? row : guard_find_unused(guard);
    if (row && row->key != key) {
        memset(row, 0, sizeof(*row));
        row->key = key;
    }
    if (row) {
        row->round = guard->round;
    }
    return row;
}

/* Writes the copy that is not current. Its last readers finished seconds ago. */
void acme_guard_set_addresses(acme_guard_row_t *row, const acme_addresses_t *addresses)
{
    apr_uint32_t other = !apr_atomic_read32(&row->current);

    if (memcmp(&row->addresses[!other], addresses, sizeof(*addresses)) != 0) {
        memcpy(&row->addresses[other], addresses, sizeof(*addresses));
        apr_atomic_xchg32(&row->current, other);
        apr_atomic_inc32(&row->generation);
    }
}

void acme_guard_addresses(acme_addresses_t *addresses, const acme_guard_row_t *row)
{
    *addresses = row->addresses[apr_atomic_read32((apr_uint32_t *)&row->current) & 1];
}

/* Whether the moment is in the future. The clock wraps every 49 days, so a moment further ahead
 * than a lease lasts is in the past. */
static int guard_is_ahead(apr_uint32_t moment, apr_uint32_t now)
{
    apr_int32_t left = (apr_int32_t)(moment - now);

    return moment != 0 && left > 0 && left <= LEASE_MAX_MS;
}

/* Leases */

/* Returns whether one of the slots was free. */
static int guard_lease(acme_guard_lease_t *lease, apr_uint32_t *slots, unsigned int count,
                       apr_uint32_t until)
{
    apr_uint32_t now = acme_guard_clock();
    unsigned int i;

    for (i = 0; i < count; i++) {
        apr_uint32_t taken = apr_atomic_read32(&slots[i]);

        if (!guard_is_ahead(taken, now) && apr_atomic_cas32(&slots[i], until, taken) == taken) {
            lease->slot = &slots[i];
            lease->until = until;
            return 1;
        }
    }
    return 0;
}

/* Another handshake may hold the slot after this lease expired. Its lease ends at another time,
 * so the swap fails. */
static void guard_release(const acme_guard_lease_t *lease)
{
    apr_atomic_cas32(lease->slot, 0, lease->until);
}

static unsigned int guard_least(unsigned int one, unsigned int other)
{
    return one < other ? one : other;
}

/* The breaker */

/* When an open breaker's time is over, one handshake tries. The guard refuses the others until
 * that one has a result. */
static int guard_may_try(acme_guard_pass_t *pass, apr_uint32_t until)
{
    apr_uint32_t retry = apr_atomic_read32(&pass->row->retry);

    if (retry == 0) {
        return 1;
    }
    pass->tries = !guard_is_ahead(retry, acme_guard_clock()) &&
                  apr_atomic_cas32(&pass->row->retry, until, retry) == retry;
    return pass->tries;
}

/* Workers and places */

static int guard_take_worker(acme_guard_pass_t *pass, acme_guard_t *guard,
                             acme_guard_workers_t workers, apr_uint32_t until)
{
    if (apr_atomic_inc32(&guard_inside) < workers.process &&
        guard_lease(&pass->worker, guard->worker,
                    guard_least(workers.server, ACME_GUARD_WORKERS), until)) {
        return 1;
    }
    apr_atomic_dec32(&guard_inside);
    return 0;
}

static void guard_give_back(const acme_guard_pass_t *pass)
{
    if (pass->place.slot) {
        guard_release(&pass->place);
    }
    if (pass->worker.slot) {
        guard_release(&pass->worker);
        apr_atomic_dec32(&guard_inside);
    }
}

/* Returns whether the pass has both a worker's lease and a place. */
static int guard_take(acme_guard_pass_t *pass, acme_guard_t *guard, unsigned int places,
                      acme_guard_workers_t workers, apr_uint32_t until)
{
    return (pass->worker.slot || guard_take_worker(pass, guard, workers, until)) &&
           guard_lease(&pass->place, pass->row->place, guard_least(places, ACME_GUARD_PLACES),
                       until);
}

static acme_guard_answer_e guard_wait(acme_guard_pass_t *pass, acme_guard_t *guard,
                                      unsigned int places, acme_guard_workers_t workers,
                                      apr_time_t deadline)
{
    const apr_uint32_t until = guard_time(deadline) + GRACE_MS;
    const apr_time_t begin = acme_monotonic(), moment = begin + ACME_GUARD_MOMENT;
    apr_interval_time_t look = SHORTEST_LOOK;
    apr_time_t now = begin;

    while (!guard_is_ahead(apr_atomic_read32(&pass->row->retry), acme_guard_clock())) {
        if (guard_take(pass, guard, places, workers, until)) {
            pass->is_short = now - begin > (deadline - begin) / 2;
            return guard_may_try(pass, until) ? ACME_GUARD_PASS : ACME_GUARD_OPEN;
        }
        now = acme_monotonic();
        if (now >= deadline || (!pass->worker.slot && now >= moment)) {
            return ACME_GUARD_FULL;
        }
        apr_sleep(look);
        look = look < LONGEST_LOOK ? 2 * look : look;
    }
    return ACME_GUARD_OPEN;
}

acme_guard_answer_e acme_guard_enter(acme_guard_pass_t *pass, acme_guard_t *guard,
                                     acme_guard_row_t *row, unsigned int places,
                                     acme_guard_workers_t workers, apr_time_t deadline)
{
    acme_guard_answer_e answer;

    memset(pass, 0, sizeof(*pass));
    pass->row = row;
    answer = guard_wait(pass, guard, places, workers, deadline);
    if (answer != ACME_GUARD_PASS) {
        guard_give_back(pass);
    }
    return answer;
}

void acme_guard_leave(const acme_guard_pass_t *pass, acme_guard_result_e result)
{
    apr_uint32_t *retry = &pass->row->retry;

    if (result == ACME_GUARD_ANSWERED) {
        if (apr_atomic_read32(retry)) {
            apr_atomic_set32(retry, 0);
        }
    } else if (result == ACME_GUARD_TIMED_OUT && !pass->is_short) {
        apr_atomic_inc32(&pass->row->generation);
        apr_atomic_set32(retry, guard_time(acme_monotonic() + ACME_GUARD_BREAK));
    } else if (pass->tries) {
        /* The next one may try. */
        apr_atomic_set32(retry, acme_guard_clock());
    }
    guard_give_back(pass);
}
