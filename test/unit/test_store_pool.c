#include "unit.h"

#include <unistd.h>

#include <apr_general.h>

#include "acme_store_pool.h"
#include "fake_store.h"

#define LONG  apr_time_from_sec(60)
#define SHORT apr_time_from_msec(100)

/* What any wait in here that does not end comes to. */
#define PATIENCE_S 120

static apr_pool_t *all, *pool;
static acme_store_pool_t *connections;
static acme_identifier_t identifier;

static void begin(const fake_answer_t *answers, int count)
{
    apr_pool_create(&pool, all);
    fake_store_start(pool, answers, count);
    connections = acme_store_pool_create(pool);
    assert_non_null(connections);
}

static int end(void **state)
{
    (void)state;
    apr_pool_destroy(pool);
    fake_store_stop();
    return 0;
}

static acme_error_e ask(acme_digest_t *digest, apr_interval_time_t timeout,
                        apr_uint32_t generation)
{
    acme_store_call_t call = {fake_store_settings(), acme_monotonic() + timeout, NULL, NULL,
                              ""};

    return acme_store_pool_find(digest, connections, &call, &identifier, generation);
}

/* The first byte of each of the digests, which tells them apart. */
static void assert_finds(int first, apr_uint32_t generation)
{
    acme_digest_t digest;

    assert_reason(ask(&digest, LONG, generation), ACME_OK);
    assert_int_equal(digest.bytes[0], first);
}

static void test_connection_is_kept(void **state)
{
    static const fake_answer_t answers[] = {FAKE_VALUE("1"), FAKE_VALUE("2"), FAKE_VALUE("3")};

    (void)state;
    begin(answers, COUNT(answers));
    assert_finds(0x11, 0);
    assert_finds(0x22, 0);
    assert_int_equal(fake_store_accepted(), 1);
    /* Not so one from before a failure. */
    assert_finds(0x33, 1);
    assert_int_equal(fake_store_accepted(), 2);
}

static void test_kept_connection_that_ends_is_no_failure(void **state)
{
    static const fake_answer_t answers[] = {FAKE_VALUE("1"), FAKE_END, FAKE_VALUE("2")};

    (void)state;
    begin(answers, COUNT(answers));
    assert_finds(0x11, 0);
    assert_finds(0x22, 0);
    assert_int_equal(fake_store_requests(), 3);
    assert_int_equal(fake_store_accepted(), 2);
}

/* A store that is slow has all of the time, and is not asked a second time. */
static void test_kept_connection_has_all_of_the_time(void **state)
{
    static const fake_answer_t answers[] = {FAKE_VALUE("1"), FAKE_SILENCE, FAKE_VALUE("2")};
    acme_digest_t digest;
    apr_time_t before;

    (void)state;
    begin(answers, COUNT(answers));
    assert_finds(0x11, 0);
    before = apr_time_now();
    assert_reason(ask(&digest, SHORT, 0), ACME_STORE_TIMEOUT);
    assert_true(apr_time_now() - before >= SHORT);
    assert_int_equal(fake_store_requests(), 2);
    assert_finds(0x22, 0);
    assert_int_equal(fake_store_accepted(), 2);
}

/* The next look-up, of another name, would take such bytes for its reply. */
static void test_bytes_after_a_reply_end_the_connection(void **state)
{
    static const fake_answer_t answers[] = {FAKE_VALUE("1") FAKE_VALUE("2"), FAKE_VALUE("3"),
                                            FAKE_VALUE("4")};

    (void)state;
    begin(answers, COUNT(answers));
    assert_finds(0x11, 0);
    assert_finds(0x33, 0);
    assert_int_equal(fake_store_accepted(), 2);
    fake_store_say(1, FAKE_VALUE("2"));
    assert_finds(0x44, 0);
    assert_int_equal(fake_store_accepted(), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_connection_is_kept, end),
        cmocka_unit_test_teardown(test_kept_connection_that_ends_is_no_failure, end),
        cmocka_unit_test_teardown(test_kept_connection_has_all_of_the_time, end),
        cmocka_unit_test_teardown(test_bytes_after_a_reply_end_the_connection, end),
    };

    alarm(PATIENCE_S);
    apr_initialize();
    apr_pool_create(&all, NULL);
    if (acme_identifier_from_text(&identifier, "name.test") != ACME_OK) {
        return 1;
    }
    return cmocka_run_group_tests_name("store pool", tests, NULL, NULL);
}
