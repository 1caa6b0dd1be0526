#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "acme_flights.h"

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
        CASE(test_clock_that_is_put_back),
        CASE(test_full_table),
        CASE(test_memory_is_bounded_and_takes_the_newest),
    };

    return cmocka_run_group_tests_name("flights", tests, NULL, NULL);
}
