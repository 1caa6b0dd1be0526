/*
 * The guard: who may wait, in which order of rules, and that a process that dies leaves nothing
 * behind.
 */
#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_general.h>

#include "acme_guard.h"

#define SHORT apr_time_from_msec(100)
#define LONG  apr_time_from_sec(20)

static const acme_guard_workers_t many = {1000, 1000};

static acme_guard_t *guard;

static int begin(void **state)
{
    (void)state;
    guard = mmap(NULL, acme_guard_size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                 -1, 0);
    assert_ptr_not_equal(guard, MAP_FAILED);
    acme_guard_begin(guard);
    return 0;
}

static int end(void **state)
{
    (void)state;
    return munmap(guard, acme_guard_size());
}

static acme_guard_answer_e enter(acme_guard_pass_t *pass, const char *line, unsigned int places,
                                 acme_guard_workers_t workers, apr_interval_time_t timeout)
{
    return acme_guard_enter(pass, guard, acme_guard_row(guard, line), places, workers,
                            acme_monotonic() + timeout);
}

/* In a process that holds it for a time, or is killed. */
static pid_t enter_elsewhere(const char *line, unsigned int places, apr_interval_time_t timeout,
                             apr_interval_time_t held)
{
    int ends[2];
    char byte;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    if (child == 0) {
        acme_guard_pass_t pass;

        if (enter(&pass, line, places, many, timeout) != ACME_GUARD_PASS) {
            _exit(1);
        }
        close(ends[1]);
        apr_sleep(held);
        acme_guard_leave(&pass, ACME_GUARD_ANSWERED);
        _exit(0);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 0);
    close(ends[0]);
    return child;
}

static void test_each_row_has_places_of_its_own(void **state)
{
    acme_guard_pass_t one, other, third;
    apr_time_t before;

    (void)state;
    assert_int_equal(enter(&one, "a", 1, many, LONG), ACME_GUARD_PASS);
    before = acme_monotonic();
    assert_int_equal(enter(&other, "a", 1, many, SHORT), ACME_GUARD_FULL);
    assert_true(acme_monotonic() - before >= SHORT);
    assert_int_equal(enter(&other, "b", 1, many, SHORT), ACME_GUARD_PASS);
    assert_int_equal(enter(&third, "a", 2, many, SHORT), ACME_GUARD_PASS);
    acme_guard_leave(&third, ACME_GUARD_ANSWERED);
    acme_guard_leave(&other, ACME_GUARD_ANSWERED);
    acme_guard_leave(&one, ACME_GUARD_ANSWERED);
    assert_int_equal(enter(&one, "a", 1, many, 0), ACME_GUARD_PASS);
    acme_guard_leave(&one, ACME_GUARD_ANSWERED);
}

static void test_place_is_waited_for(void **state)
{
    acme_guard_pass_t pass;
    pid_t child = enter_elsewhere("a", 1, LONG, SHORT);

    (void)state;
    assert_int_equal(enter(&pass, "a", 1, many, LONG), ACME_GUARD_PASS);
    assert_false(pass.is_short);
    acme_guard_leave(&pass, ACME_GUARD_ANSWERED);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void test_time_out_opens_the_breaker(void **state)
{
    acme_guard_pass_t pass, trial;
    apr_time_t opened;

    (void)state;
    assert_int_equal(enter(&pass, "a", 8, many, LONG), ACME_GUARD_PASS);
    acme_guard_leave(&pass, ACME_GUARD_TIMED_OUT);
    opened = acme_monotonic();
    assert_int_equal(enter(&pass, "a", 8, many, LONG), ACME_GUARD_OPEN);
    assert_true(acme_monotonic() - opened < ACME_GUARD_BREAK);
    assert_int_equal(enter(&pass, "b", 8, many, LONG), ACME_GUARD_PASS);
    acme_guard_leave(&pass, ACME_GUARD_ANSWERED);

    /* After a second one tries; the others are refused until it knows. */
    apr_sleep(opened + ACME_GUARD_BREAK + apr_time_from_msec(10) - acme_monotonic());
    assert_int_equal(enter(&trial, "a", 8, many, LONG), ACME_GUARD_PASS);
    assert_int_equal(enter(&pass, "a", 8, many, LONG), ACME_GUARD_OPEN);
    acme_guard_leave(&trial, ACME_GUARD_NOT_ASKED);
    apr_sleep(apr_time_from_msec(2));
    assert_int_equal(enter(&trial, "a", 8, many, LONG), ACME_GUARD_PASS);
    acme_guard_leave(&trial, ACME_GUARD_ANSWERED);
    assert_int_equal(enter(&pass, "a", 8, many, LONG), ACME_GUARD_PASS);
    acme_guard_leave(&pass, ACME_GUARD_ANSWERED);
}

/* Milliseconds begin anew: a row that timed out weeks ago must not seem to lie ahead. */
static void test_breaker_of_weeks_ago_is_closed(void **state)
{
    acme_guard_pass_t pass;

    (void)state;
    acme_guard_row(guard, "a")->retry = acme_guard_clock() - 30u * 24 * 3600 * 1000;
    assert_int_equal(enter(&pass, "a", 8, many, LONG), ACME_GUARD_PASS);
    acme_guard_leave(&pass, ACME_GUARD_ANSWERED);
}

/* A time-out after most of the time went into waiting says nothing of the row. */
static void test_short_try_does_not_open_the_breaker(void **state)
{
    acme_guard_pass_t pass;
    pid_t child = enter_elsewhere("a", 1, LONG, 3 * SHORT);

    (void)state;
    assert_int_equal(enter(&pass, "a", 1, many, 5 * SHORT), ACME_GUARD_PASS);
    assert_true(pass.is_short);
    acme_guard_leave(&pass, ACME_GUARD_TIMED_OUT);
    assert_int_equal(enter(&pass, "a", 1, many, LONG), ACME_GUARD_PASS);
    acme_guard_leave(&pass, ACME_GUARD_ANSWERED);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

/* In the process, and in the server; for all rows together. */
static void test_workers_are_limited(void **state)
{
    static const acme_guard_workers_t limits[] = {{1, 1000}, {1000, 1}};
    acme_guard_pass_t pass, other;
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(limits); i++) {
        apr_time_t before;

        assert_int_equal(enter(&pass, "a", 8, limits[i], LONG), ACME_GUARD_PASS);
        before = acme_monotonic();
        assert_int_equal(enter(&other, "b", 8, limits[i], LONG), ACME_GUARD_FULL);
        assert_uint_in_range(acme_monotonic() - before, ACME_GUARD_MOMENT, LONG / 2);
        before = acme_monotonic();
        assert_int_equal(enter(&other, "b", 8, limits[i], apr_time_from_msec(10)),
                         ACME_GUARD_FULL);
        acme_guard_leave(&pass, ACME_GUARD_ANSWERED);
        assert_int_equal(enter(&other, "b", 8, limits[i], LONG), ACME_GUARD_PASS);
        acme_guard_leave(&other, ACME_GUARD_ANSWERED);
    }
}

static void test_killed_process_gives_its_place_back(void **state)
{
    acme_guard_pass_t pass;
    pid_t child = enter_elsewhere("a", 1, SHORT, LONG);

    (void)state;
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(enter(&pass, "a", 1, many, SHORT), ACME_GUARD_FULL);
    assert_int_equal(enter(&pass, "a", 1, many, LONG), ACME_GUARD_PASS);
    acme_guard_leave(&pass, ACME_GUARD_ANSWERED);
}

static void test_row_stays_over_a_reload(void **state)
{
    acme_guard_row_t *row = acme_guard_row(guard, "a"), *other;
    acme_addresses_t found, addresses = {.count = 1};
    char line[32];
    int i;

    (void)state;
    acme_guard_set_addresses(row, &addresses);
    acme_guard_begin(guard);
    assert_ptr_equal(acme_guard_row(guard, "a"), row);
    acme_guard_addresses(&found, row);
    assert_int_equal(found.count, 1);

    /* The same addresses are no reason to connect anew, others are. */
    assert_int_equal(row->generation, 1);
    acme_guard_set_addresses(row, &addresses);
    assert_int_equal(row->generation, 1);
    addresses.address[0].size = 1;
    acme_guard_set_addresses(row, &addresses);
    assert_int_equal(row->generation, 2);

    /* Rows of old configurations make room, those of this one do not. */
    other = acme_guard_row(guard, "b");
    acme_guard_begin(guard);
    acme_guard_row(guard, "a");
    for (i = 1; i < ACME_GUARD_ROWS; i++) {
        snprintf(line, sizeof(line), "%d", i);
        assert_non_null(acme_guard_row(guard, line));
    }
    assert_null(acme_guard_row(guard, "one more"));
    assert_ptr_equal(acme_guard_row(guard, "a"), row);
    assert_ptr_equal(acme_guard_row(guard, line), other);

    /* The one that has been unused for longest goes first. */
    acme_guard_begin(guard);
    acme_guard_row(guard, "a");
    acme_guard_begin(guard);
    assert_ptr_not_equal(acme_guard_row(guard, "one more"), row);
    acme_guard_addresses(&found, other);
    assert_int_equal(found.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_row_has_places_of_its_own, begin, end),
        cmocka_unit_test_setup_teardown(test_place_is_waited_for, begin, end),
        cmocka_unit_test_setup_teardown(test_time_out_opens_the_breaker, begin, end),
        cmocka_unit_test_setup_teardown(test_breaker_of_weeks_ago_is_closed, begin, end),
        cmocka_unit_test_setup_teardown(test_short_try_does_not_open_the_breaker, begin, end),
        cmocka_unit_test_setup_teardown(test_workers_are_limited, begin, end),
        cmocka_unit_test_setup_teardown(test_killed_process_gives_its_place_back, begin, end),
        cmocka_unit_test_setup_teardown(test_row_stays_over_a_reload, begin, end),
    };

    apr_initialize();
    return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
