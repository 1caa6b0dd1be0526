#include "unit.h"

#include <apr_atomic.h>
#include <apr_general.h>
#include <apr_thread_proc.h>

#include "acme_places.h"

#define NOW    apr_time_from_sec(1768478400)
#define SECOND apr_time_from_sec(1)

static acme_places_t places;
static acme_place_t place;

static int clear(void **state)
{
    (void)state;
    acme_places_init(&places, NOW);
    return 0;
}

static int take(unsigned int limit, apr_time_t now)
{
    return acme_places_take(&place, &places, limit, now, 2 * SECOND);
}

static void test_as_many_as_there_may_be(void **state)
{
    acme_place_t first;

    (void)state;
    assert_true(take(2, NOW));
    first = place;
    assert_true(take(2, NOW));
    assert_false(take(2, NOW));
    acme_places_leave(&places, &first);
    assert_true(take(2, NOW));
    assert_false(take(2, NOW));
    assert_true(take(3, NOW));
}

static void test_no_more_than_the_table_has(void **state)
{
    int i;

    (void)state;
    for (i = 0; i < ACME_PLACES_MAX; i++) {
        assert_true(take(ACME_PLACES_MAX + 1, NOW));
    }
    assert_false(take(ACME_PLACES_MAX + 1, NOW));
}

/* As after a process was killed. */
static void test_lease_ends(void **state)
{
    (void)state;
    assert_true(take(1, NOW));
    assert_false(take(1, NOW + 2 * SECOND));
    assert_true(take(1, NOW + 2 * SECOND + SECOND / 2));
}

static void test_who_is_late_takes_nothing_away(void **state)
{
    acme_place_t late;

    (void)state;
    assert_true(take(1, NOW));
    late = place;
    assert_true(take(1, NOW + 3 * SECOND));
    acme_places_leave(&places, &late);
    assert_false(take(1, NOW + 3 * SECOND));
    acme_places_leave(&places, &place);
    assert_true(take(1, NOW + 3 * SECOND));
}

/* A lease of before is no reason to wait for an hour, nor one of before the beginning. */
static void test_clock_that_is_put_back(void **state)
{
    (void)state;
    assert_true(take(1, NOW + 3600 * SECOND));
    assert_true(take(1, NOW));
    acme_places_leave(&places, &place);
    assert_true(take(1, NOW - 3600 * SECOND));
}

static void test_lease_is_bounded(void **state)
{
    (void)state;
    assert_true(acme_places_take(&place, &places, 1, NOW, 3600 * SECOND));
    assert_false(take(1, NOW + ACME_PLACES_LEASE_MAX));
    assert_true(take(1, NOW + ACME_PLACES_LEASE_MAX + SECOND));
}

#define THREADS 4
#define LIMIT   2
#define ROUNDS  50000

static volatile apr_uint32_t inside, too_many, entered;

static void *APR_THREAD_FUNC come_and_go(apr_thread_t *thread, void *data)
{
    int i;

    (void)thread;
    (void)data;
    for (i = 0; i < ROUNDS; i++) {
        acme_place_t mine;

        if (acme_places_take(&mine, &places, LIMIT, NOW, SECOND)) {
            if (apr_atomic_inc32(&inside) >= LIMIT) {
                apr_atomic_inc32(&too_many);
            }
            apr_atomic_inc32(&entered);
            apr_atomic_dec32(&inside);
            acme_places_leave(&places, &mine);
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    apr_thread_t *threads[THREADS];
    apr_status_t status;
    apr_pool_t *pool;
    int i;

    (void)state;
    assert_int_equal(apr_pool_create(&pool, NULL), APR_SUCCESS);
    for (i = 0; i < THREADS; i++) {
        assert_int_equal(apr_thread_create(&threads[i], NULL, come_and_go, NULL, pool),
                         APR_SUCCESS);
    }
    for (i = 0; i < THREADS; i++) {
        assert_int_equal(apr_thread_join(&status, threads[i]), APR_SUCCESS);
    }
    apr_pool_destroy(pool);
    assert_true(entered > 0);
    assert_int_equal(too_many, 0);
    assert_true(take(LIMIT, NOW));
    assert_true(take(LIMIT, NOW));
    assert_false(take(LIMIT, NOW));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_as_many_as_there_may_be, clear),
        cmocka_unit_test_setup(test_no_more_than_the_table_has, clear),
        cmocka_unit_test_setup(test_lease_ends, clear),
        cmocka_unit_test_setup(test_who_is_late_takes_nothing_away, clear),
        cmocka_unit_test_setup(test_clock_that_is_put_back, clear),
        cmocka_unit_test_setup(test_lease_is_bounded, clear),
        cmocka_unit_test_setup(test_threads, clear),
    };
    int failed;

    if (apr_initialize() != APR_SUCCESS) {
        return 1;
    }
    failed = cmocka_run_group_tests_name("places", tests, NULL, NULL);
    apr_terminate();
    return failed;
}
