#include "acme_flights.h"

#include <sched.h>
#include <string.h>
#include <time.h>

#include <apr_atomic.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

/* Some 80 KiB, for the names of the last second. */
#define BUCKETS 256
#define WAYS    4

/* A lock is held for the time of a copy. Whoever cannot have it goes without the table; one
 * that is held for longer than this belongs to a process that was stopped or killed. */
#define LOCK_ATTEMPTS   200
#define LOCK_LONGEST_MS 1000

/* Between two looks at a flight: from this to that. */
#define SHORTEST_LOOK apr_time_from_msec(1)
#define LONGEST_LOOK  apr_time_from_msec(8)

typedef enum { EMPTY, FLYING, LANDED } state_e;

typedef struct {
    state_e state;
    apr_uint32_t number;
    acme_flight_key_t key;
    apr_time_t since; /* LANDED */
    apr_time_t until; /* FLYING: when whoever leads has given up */
    acme_error_e outcome;
    acme_digest_t digest;
} entry_t;

typedef struct {
    apr_uint32_t locked; /* since when, by clock_ms; 0: it is free */
    entry_t entry[WAYS];
} bucket_t;

struct acme_flights_t {
    unsigned char secret[16];
    apr_uint32_t last_number;
    bucket_t bucket[BUCKETS];
};

apr_size_t acme_flights_size(void)
{
    return sizeof(acme_flights_t);
}

acme_error_e acme_flights_init(acme_flights_t *flights)
{
    memset(flights, 0, sizeof(*flights));
    return RAND_bytes(flights->secret, sizeof(flights->secret)) == 1 ? ACME_OK
                                                                     : ACME_SYSTEM_ERROR;
}

acme_error_e acme_flights_key(acme_flight_key_t *key, const acme_flights_t *flights,
                              const char *whom, const char *name)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int done = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) &&
               EVP_DigestUpdate(context, flights->secret, sizeof(flights->secret)) &&
               EVP_DigestUpdate(context, whom, strlen(whom) + 1) &&
               EVP_DigestUpdate(context, name, strlen(name)) &&
               EVP_DigestFinal_ex(context, hash, NULL);

    EVP_MD_CTX_free(context);
    if (!done) {
        return ACME_SYSTEM_ERROR;
    }
    memcpy(key->bytes, hash, sizeof(key->bytes));
    return ACME_OK;
}

static bucket_t *bucket_of(acme_flights_t *flights, const acme_flight_key_t *key)
{
    return &flights->bucket[key->bytes[0] % BUCKETS];
}

/* The same in all processes, never put back, and never 0; modulo 2^32, so only differences are
 * looked at. */
static apr_uint32_t clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return ((apr_uint32_t)now.tv_sec * 1000U + (apr_uint32_t)(now.tv_nsec / 1000000)) | 1;
}

/* From a process that will not give it back, with what it may have left half written. */
static int steal(bucket_t *bucket, apr_uint32_t now, apr_uint32_t held)
{
    /* Signed: whoever has it may have looked at the clock later. */
    if ((apr_int32_t)(now - held) <= LOCK_LONGEST_MS ||
        apr_atomic_cas32(&bucket->locked, now, held) != held) {
        return 0;
    }
    memset(bucket->entry, 0, sizeof(bucket->entry));
    return 1;
}

/* 0, or what unlocks it. */
static apr_uint32_t lock(bucket_t *bucket)
{
    int attempt;

    for (attempt = 0; attempt < LOCK_ATTEMPTS; attempt++) {
        apr_uint32_t now = clock_ms(), held = apr_atomic_cas32(&bucket->locked, now, 0);

        if (held == 0 || steal(bucket, now, held)) {
            return now;
        }
        sched_yield();
    }
    return 0;
}

/* By exchange, which is a full barrier in every APR; a plain store is not. Whoever has lost the
 * lock in the meantime takes it from nobody. */
static void unlock(bucket_t *bucket, apr_uint32_t since)
{
    apr_atomic_cas32(&bucket->locked, 0, since);
}

static entry_t *find(bucket_t *bucket, const acme_flight_key_t *key)
{
    int i;

    for (i = 0; i < WAYS; i++) {
        entry_t *entry = &bucket->entry[i];

        if (entry->state != EMPTY && memcmp(&entry->key, key, sizeof(*key)) == 0) {
            return entry;
        }
    }
    return NULL;
}

static int is_remembered(const entry_t *entry, apr_time_t now)
{
    return entry->state == LANDED && entry->outcome != ACME_OK && now >= entry->since &&
           now - entry->since < ACME_FLIGHTS_MEMORY;
}

/* What seems to take longer was boarded before the clock was put back. */
static int is_flying(const entry_t *entry, apr_time_t now)
{
    return entry->state == FLYING && entry->until > now &&
           entry->until - now <= ACME_FLIGHTS_LONGEST;
}

/* Where a new flight can be: the least worth keeping, and never one that is in the air. */
static entry_t *find_room(bucket_t *bucket, apr_time_t now)
{
    entry_t *best = NULL;
    int i;

    for (i = 0; i < WAYS; i++) {
        entry_t *entry = &bucket->entry[i];

        if (is_flying(entry, now)) {
            continue;
        }
        if (!is_remembered(entry, now)) {
            return entry;
        }
        if (!best || entry->since < best->since) {
            best = entry;
        }
    }
    return best;
}

/* Never 0. */
static apr_uint32_t new_number(acme_flights_t *flights)
{
    apr_uint32_t number;

    do {
        number = apr_atomic_inc32(&flights->last_number) + 1;
    } while (number == 0);
    return number;
}

int acme_flights_recall(acme_error_e *outcome, acme_flights_t *flights,
                        const acme_flight_key_t *key, apr_time_t now)
{
    bucket_t *bucket = bucket_of(flights, key);
    apr_uint32_t locked = lock(bucket);
    const entry_t *entry;
    int known;

    if (!locked) {
        return 0;
    }
    entry = find(bucket, key);
    known = entry && is_remembered(entry, now);
    if (known) {
        *outcome = entry->outcome;
    }
    unlock(bucket, locked);
    return known;
}

acme_flight_role_e acme_flights_board(acme_flight_t *flight, acme_flights_t *flights,
                                      const acme_flight_key_t *key, apr_time_t now,
                                      apr_time_t deadline)
{
    bucket_t *bucket = bucket_of(flights, key);
    apr_uint32_t locked = lock(bucket);
    acme_flight_role_e role = ACME_FLIGHT_LEADS;
    entry_t *entry;

    flight->key = *key;
    flight->number = 0;
    if (!locked) {
        return role;
    }
    entry = find(bucket, key);
    if (entry && is_flying(entry, now)) {
        role = ACME_FLIGHT_FOLLOWS;
        flight->number = entry->number;
    } else {
        entry = entry ? entry : find_room(bucket, now);
    }
    if (entry && role == ACME_FLIGHT_LEADS) {
        flight->number = new_number(flights);
        entry->state = FLYING;
        entry->number = flight->number;
        entry->key = *key;
        entry->until = deadline;
    }
    unlock(bucket, locked);
    return role;
}

static entry_t *find_flight(bucket_t *bucket, const acme_flight_t *flight)
{
    entry_t *entry = find(bucket, &flight->key);

    return entry && entry->number == flight->number ? entry : NULL;
}

/* For those who cannot go without. It takes no longer than a lock is held at most. */
static apr_uint32_t await_lock(bucket_t *bucket)
{
    apr_uint32_t locked;

    while ((locked = lock(bucket)) == 0) {
        apr_sleep(SHORTEST_LOOK);
    }
    return locked;
}

/* The flight is over, and its entry is what follows of it. */
static void end(acme_flights_t *flights, const acme_flight_t *flight, const entry_t *result)
{
    bucket_t *bucket = bucket_of(flights, &flight->key);
    apr_uint32_t locked;
    entry_t *entry;

    if (flight->number == 0) {
        return;
    }
    locked = await_lock(bucket);
    entry = find_flight(bucket, flight);
    if (entry && entry->state == FLYING) {
        *entry = *result;
    }
    unlock(bucket, locked);
}

void acme_flights_land(acme_flights_t *flights, const acme_flight_t *flight,
                       acme_error_e outcome, const acme_digest_t *digest, apr_time_t now)
{
    entry_t result = {LANDED, flight->number, flight->key, now, 0, outcome, *digest};

    end(flights, flight, &result);
}

void acme_flights_cancel(acme_flights_t *flights, const acme_flight_t *flight)
{
    static const entry_t nothing;

    end(flights, flight, &nothing);
}

/* 1: landed, with the answer; 0: not yet; -1: it is not there any more. */
static int look(acme_error_e *outcome, acme_digest_t *digest, acme_flights_t *flights,
                const acme_flight_t *flight)
{
    bucket_t *bucket = bucket_of(flights, &flight->key);
    apr_uint32_t locked = lock(bucket);
    const entry_t *entry;
    int result = -1;

    if (!locked) {
        return 0;
    }
    entry = find_flight(bucket, flight);
    if (entry && entry->state == LANDED) {
        *outcome = entry->outcome;
        *digest = entry->digest;
        result = 1;
    } else if (entry) {
        result = 0;
    }
    unlock(bucket, locked);
    return result;
}

int acme_flights_await(acme_error_e *outcome, acme_digest_t *digest, acme_flights_t *flights,
                       const acme_flight_t *flight, apr_time_t deadline)
{
    apr_interval_time_t interval = SHORTEST_LOOK;
    int result;

    while ((result = look(outcome, digest, flights, flight)) == 0 &&
           apr_time_now() < deadline) {
        apr_sleep(interval);
        if (interval < LONGEST_LOOK) {
            interval *= 2;
        }
    }
    return result == 1;
}
