#include "unit.h"

#include <stdio.h>
#include <string.h>

#include <apr_general.h>
#include <apr_thread_proc.h>

/* For the locks, which nobody outside sees. */
#include "../../src/acme_flights.c"

#define NOW    apr_time_from_sec(1768478400)
#define SECOND apr_time_from_sec(1)

static acme_flights_t *flights;
static acme_flight_t flight;
static acme_digest_t digest;
static acme_error_e outcome;

static int make(void **state)
{
    (void)state;
    flights = calloc(1, acme_flights_size());
    memset(&digest, 7, sizeof(digest));
    return flights && acme_flights_init(flights) == ACME_OK ? 0 : -1;
}

static int drop(void **state)
{
    (void)state;
    free(flights);
    return 0;
}

static acme_flight_key_t key_of(const char *whom, const char *name)
{
    acme_flight_key_t key;

    assert_reason(acme_flights_key(&key, flights, whom, name), ACME_OK);
    return key;
}

static acme_flight_role_e board(const char *name, apr_time_t now)
{
    acme_flight_key_t key = key_of("whom", name);

    return acme_flights_board(&flight, flights, &key, now, now + 2 * SECOND);
}

static int recall(const char *name, apr_time_t now)
{
    acme_flight_key_t key = key_of("whom", name);

    return acme_flights_recall(&outcome, flights, &key, now);
}

static void test_key_is_of_both_parts_and_of_this_table(void **state)
{
    acme_flight_key_t one = key_of("a", "bc"), same = key_of("a", "bc"),
                      other = key_of("ab", "c");

    (void)state;
    assert_memory_equal(&one, &same, sizeof(one));
    assert_memory_not_equal(&one, &other, sizeof(one));
    assert_reason(acme_flights_init(flights), ACME_OK);
    other = key_of("a", "bc");
    assert_memory_not_equal(&one, &other, sizeof(one));
}

static void test_who_follows_gets_the_answer(void **state)
{
    acme_flight_t first;
    acme_digest_t got;

    (void)state;
    assert_int_equal(board("name", NOW), ACME_FLIGHT_LEADS);
    first = flight;
    assert_int_equal(board("name", NOW + SECOND), ACME_FLIGHT_FOLLOWS);
    assert_int_equal(board("other", NOW), ACME_FLIGHT_LEADS);
    assert_int_equal(board("name", NOW), ACME_FLIGHT_FOLLOWS);
    assert_false(acme_flights_await(&outcome, &got, flights, &flight, 0));
    acme_flights_land(flights, &first, ACME_OK, &digest, NOW);
    assert_true(acme_flights_await(&outcome, &got, flights, &flight, 0));
    assert_reason(outcome, ACME_OK);
    assert_memory_equal(&got, &digest, sizeof(got));
}

/* What there is may change at any time. */
static void test_answer_is_for_those_who_followed_alone(void **state)
{
    (void)state;
    assert_int_equal(board("name", NOW), ACME_FLIGHT_LEADS);
    acme_flights_land(flights, &flight, ACME_OK, &digest, NOW);
    assert_false(recall("name", NOW));
    assert_int_equal(board("name", NOW), ACME_FLIGHT_LEADS);
}

static void test_no_answer_is_remembered_for_a_second(void **state)
{
    (void)state;
    assert_false(recall("name", NOW));
    assert_int_equal(board("name", NOW), ACME_FLIGHT_LEADS);
    assert_false(recall("name", NOW));
    acme_flights_land(flights, &flight, ACME_PROBE_CLOSED, &digest, NOW);
    assert_true(recall("name", NOW));
    assert_reason(outcome, ACME_PROBE_CLOSED);
    assert_true(recall("name", NOW + SECOND - 1));
    assert_false(recall("name", NOW + SECOND));
    assert_false(recall("name", NOW - 1));
    assert_false(recall("other", NOW));
}

/* As after a process was killed. */
static void test_flight_that_never_lands(void **state)
{
    acme_flight_t lost;

    (void)state;
    assert_int_equal(board("name", NOW), ACME_FLIGHT_LEADS);
    lost = flight;
    assert_int_equal(board("name", NOW + 2 * SECOND - 1), ACME_FLIGHT_FOLLOWS);
    assert_int_equal(board("name", NOW + 2 * SECOND), ACME_FLIGHT_LEADS);
    acme_flights_land(flights, &lost, ACME_PROBE_CLOSED, &digest, NOW + 2 * SECOND);
    assert_false(recall("name", NOW + 2 * SECOND));
    assert_false(acme_flights_await(&outcome, &digest, flights, &lost, 0));
}

static void test_clock_that_is_put_back(void **state)
{
    (void)state;
    assert_int_equal(board("name", NOW + 3600 * SECOND), ACME_FLIGHT_LEADS);
    assert_int_equal(board("name", NOW), ACME_FLIGHT_LEADS);
}

/* Nothing is remembered of it, and those who follow board again. */
static void test_flight_that_is_cancelled(void **state)
{
    acme_flight_t first;

    (void)state;
    assert_int_equal(board("name", NOW), ACME_FLIGHT_LEADS);
    first = flight;
    assert_int_equal(board("name", NOW), ACME_FLIGHT_FOLLOWS);
    acme_flights_cancel(flights, &first);
    assert_false(acme_flights_await(&outcome, &digest, flights, &flight, 0));
    assert_false(recall("name", NOW));
    assert_int_equal(board("name", NOW), ACME_FLIGHT_LEADS);
    assert_int_not_equal(flight.number, 0);
}

static bucket_t *bucket_of_name(const char *name)
{
    acme_flight_key_t key = key_of("whom", name);

    return bucket_of(flights, &key);
}

static void test_whoever_cannot_have_the_lock_goes_without_the_table(void **state)
{
    bucket_t *bucket = bucket_of_name("name");

    (void)state;
    assert_int_equal(board("name", NOW), ACME_FLIGHT_LEADS);
    acme_flights_land(flights, &flight, ACME_PROBE_CLOSED, &digest, NOW);
    /* Whoever has it may have looked at the clock later than those who want it. */
    apr_atomic_set32(&bucket->locked, clock_ms() + 60 * LOCK_LONGEST_MS);
    assert_false(recall("name", NOW));
    assert_int_equal(board("name", NOW), ACME_FLIGHT_LEADS);
    assert_int_equal(flight.number, 0);
    apr_atomic_set32(&bucket->locked, 0);
    assert_true(recall("name", NOW));
}

/* And nothing that they may have left half written is believed. */
static void test_lock_of_the_dead_is_taken(void **state)
{
    bucket_t *bucket = bucket_of_name("name");

    (void)state;
    assert_int_equal(board("name", NOW), ACME_FLIGHT_LEADS);
    acme_flights_land(flights, &flight, ACME_PROBE_CLOSED, &digest, NOW);
    apr_atomic_set32(&bucket->locked, (clock_ms() - 2 * LOCK_LONGEST_MS) | 1);
    assert_false(recall("name", NOW));
    assert_int_equal(apr_atomic_read32(&bucket->locked), 0);
    assert_int_equal(board("name", NOW), ACME_FLIGHT_LEADS);
    assert_int_not_equal(flight.number, 0);
}

static void test_who_has_lost_the_lock_takes_it_from_nobody(void **state)
{
    bucket_t *bucket = bucket_of_name("name");

    (void)state;
    apr_atomic_set32(&bucket->locked, 3);
    unlock(bucket, 1);
    assert_int_equal(apr_atomic_read32(&bucket->locked), 3);
}

/* Longer than anybody tries who can go without. */
#define HELD apr_time_from_msec(50)

static void *APR_THREAD_FUNC hold(apr_thread_t *thread, void *data)
{
    bucket_t *bucket = data;

    (void)thread;
    apr_sleep(HELD);
    apr_atomic_set32(&bucket->locked, 0);
    return NULL;
}

/* The answer is not lost to those who follow. */
static void test_who_lands_waits_for_the_lock(void **state)
{
    bucket_t *bucket = bucket_of_name("name");
    apr_thread_t *thread;
    apr_status_t status;
    apr_pool_t *pool;

    (void)state;
    assert_int_equal(apr_pool_create(&pool, NULL), APR_SUCCESS);
    assert_int_equal(board("name", NOW), ACME_FLIGHT_LEADS);
    apr_atomic_set32(&bucket->locked, clock_ms());
    assert_int_equal(apr_thread_create(&thread, NULL, hold, bucket, pool), APR_SUCCESS);
    acme_flights_land(flights, &flight, ACME_PROBE_CLOSED, &digest, NOW);
    assert_int_equal(apr_thread_join(&status, thread), APR_SUCCESS);
    apr_pool_destroy(pool);
    assert_true(recall("name", NOW));
}

/* Whoever finds no room goes alone, and those in the air stay. */
static void test_full_table(void **state)
{
    char name[16];
    int i, alone = 0;

    (void)state;
    for (i = 0; i < 10000; i++) {
        snprintf(name, sizeof(name), "%d", i);
        assert_int_equal(board(name, NOW), ACME_FLIGHT_LEADS);
        alone += flight.number == 0;
    }
    assert_in_range(alone, 8000, 9999);
    acme_flights_land(flights, &flight, ACME_PROBE_CLOSED, &digest, NOW);
    assert_int_equal(board("0", NOW), ACME_FLIGHT_FOLLOWS);
}

/* Strangers' names take each other's place. */
static void test_memory_is_bounded_and_takes_the_newest(void **state)
{
    char name[16];
    int i;

    (void)state;
    for (i = 0; i < 10000; i++) {
        snprintf(name, sizeof(name), "%d", i);
        assert_int_equal(board(name, NOW + i), ACME_FLIGHT_LEADS);
        assert_int_not_equal(flight.number, 0);
        acme_flights_land(flights, &flight, ACME_PROBE_CLOSED, &digest, NOW + i);
        assert_true(recall(name, NOW + i));
    }
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_key_is_of_both_parts_and_of_this_table),
        CASE(test_who_follows_gets_the_answer),
        CASE(test_answer_is_for_those_who_followed_alone),
        CASE(test_no_answer_is_remembered_for_a_second),
        CASE(test_flight_that_never_lands),
        CASE(test_flight_that_is_cancelled),
        CASE(test_whoever_cannot_have_the_lock_goes_without_the_table),
        CASE(test_lock_of_the_dead_is_taken),
        CASE(test_who_has_lost_the_lock_takes_it_from_nobody),
        CASE(test_who_lands_waits_for_the_lock),
        CASE(test_clock_that_is_put_back),
        CASE(test_full_table),
        CASE(test_memory_is_bounded_and_takes_the_newest),
    };

    int failed;

    if (apr_initialize() != APR_SUCCESS) {
        return 1;
    }
    failed = cmocka_run_group_tests_name("flights", tests, NULL, NULL);
    apr_terminate();
    return failed;
}
