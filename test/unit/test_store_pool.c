#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RTLD_NEXT */
#endif

#include "unit.h"

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_thread_cond.h>

#include "acme_store_pool.h"
#include "fake_store.h"

#define LONG  apr_time_from_sec(60)
#define SHORT apr_time_from_msec(100)

/* The time of one who waits for a connection first; the test has to get there within it. */
#define MIDDLE apr_time_from_sec(2)

/* What any wait in here that does not end comes to. */
#define PATIENCE_S 120

static apr_pool_t *all, *pool;
static acme_store_pool_t *connections;
static acme_identifier_t identifier;

/* Threads that wait, or have waited, for a connection. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int waiting;

typedef apr_status_t timedwait_t(apr_thread_cond_t *condition, apr_thread_mutex_t *held,
                                 apr_interval_time_t timeout);

/* Stands before APR's, and counts. */
apr_status_t apr_thread_cond_timedwait(apr_thread_cond_t *condition, apr_thread_mutex_t *held,
                                       apr_interval_time_t timeout)
{
    timedwait_t *next;

    *(void **)&next = dlsym(RTLD_NEXT, "apr_thread_cond_timedwait");
    pthread_mutex_lock(&mutex);
    waiting++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
    return next(condition, held, timeout);
}

static void await_waiting(int count)
{
    pthread_mutex_lock(&mutex);
    while (waiting < count) {
        pthread_cond_wait(&changed, &mutex);
    }
    pthread_mutex_unlock(&mutex);
}

static void begin(const fake_answer_t *answers, int count)
{
    apr_pool_create(&pool, all);
    waiting = 0;
    fake_store_start(pool, answers, count);
    connections = acme_store_pool_create(pool, fake_store_settings());
    assert_non_null(connections);
}

static int end(void **state)
{
    (void)state;
    apr_pool_destroy(pool);
    fake_store_stop();
    return 0;
}

typedef struct {
    apr_interval_time_t timeout;
    acme_error_e error;
    acme_digest_t digest;
    pthread_t thread;
} question_t;

static void *ask(void *data)
{
    question_t *question = data;
    acme_store_call_t call;

    acme_store_begin(&call, fake_store_settings(), question->timeout);
    question->error =
        acme_store_pool_find(&question->digest, connections, &call, &identifier, 0);
    return NULL;
}

static void start_to_ask(question_t *question, apr_interval_time_t timeout)
{
    question->timeout = timeout;
    assert_int_equal(pthread_create(&question->thread, NULL, ask, question), 0);
}

static acme_error_e answer_to(question_t *question)
{
    pthread_join(question->thread, NULL);
    return question->error;
}

/* The first byte of each of the digests, which tells them apart. */
static void assert_finds(int first, apr_uint32_t generation)
{
    acme_store_call_t call;
    acme_digest_t digest;

    acme_store_begin(&call, fake_store_settings(), LONG);
    assert_reason(acme_store_pool_find(&digest, connections, &call, &identifier, generation),
                  ACME_OK);
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
    question_t question = {.timeout = SHORT};
    apr_time_t before;

    (void)state;
    begin(answers, COUNT(answers));
    assert_finds(0x11, 0);
    before = apr_time_now();
    ask(&question);
    assert_reason(question.error, ACME_STORE_TIMEOUT);
    assert_true(apr_time_now() - before >= SHORT);
    assert_int_equal(fake_store_requests(), 2);
    assert_finds(0x22, 0);
    assert_int_equal(fake_store_accepted(), 2);
}

/* Or it would be taken for the answer to what is asked next, which is another name. */
static void test_answer_that_nobody_asked_for_is_nobodys(void **state)
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

static void test_connections_are_bounded(void **state)
{
    static const fake_answer_t answers[] = {FAKE_SILENCE};
    question_t questions[ACME_STORE_POOL_MAX] = {{0}}, another = {.timeout = SHORT};
    int i;

    (void)state;
    begin(answers, COUNT(answers));
    for (i = 0; i < ACME_STORE_POOL_MAX; i++) {
        start_to_ask(&questions[i], LONG);
    }
    fake_store_await(ACME_STORE_POOL_MAX);
    ask(&another);
    assert_reason(another.error, ACME_STORE_BUSY);
    assert_int_equal(fake_store_accepted(), ACME_STORE_POOL_MAX);
    for (i = 0; i < ACME_STORE_POOL_MAX; i++) {
        fake_store_say(i, FAKE_VALUE("1"));
    }
    for (i = 0; i < ACME_STORE_POOL_MAX; i++) {
        assert_reason(answer_to(&questions[i]), ACME_OK);
    }
}

/* Here the store is silent to one that had only a part of the time left for it. */
static void test_who_waited_for_a_connection_does_not_blame_the_store(void **state)
{
    static const fake_answer_t answers[] = {FAKE_SILENCE};
    question_t questions[ACME_STORE_POOL_MAX] = {{0}}, last = {0};
    int i;

    (void)state;
    begin(answers, COUNT(answers));
    for (i = 0; i < ACME_STORE_POOL_MAX; i++) {
        start_to_ask(&questions[i], LONG);
    }
    fake_store_await(ACME_STORE_POOL_MAX);
    start_to_ask(&last, MIDDLE);
    await_waiting(1);
    for (i = 0; i < ACME_STORE_POOL_MAX; i++) {
        fake_store_say(i, FAKE_VALUE("1"));
    }
    fake_store_await(ACME_STORE_POOL_MAX + 1);
    assert_reason(answer_to(&last), ACME_STORE_BUSY);
    for (i = 0; i < ACME_STORE_POOL_MAX; i++) {
        assert_reason(answer_to(&questions[i]), ACME_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_connection_is_kept, end),
        cmocka_unit_test_teardown(test_kept_connection_that_ends_is_no_failure, end),
        cmocka_unit_test_teardown(test_kept_connection_has_all_of_the_time, end),
        cmocka_unit_test_teardown(test_answer_that_nobody_asked_for_is_nobodys, end),
        cmocka_unit_test_teardown(test_connections_are_bounded, end),
        cmocka_unit_test_teardown(test_who_waited_for_a_connection_does_not_blame_the_store,
                                  end),
    };

    alarm(PATIENCE_S);
    apr_initialize();
    apr_pool_create(&all, NULL);
    if (acme_identifier_from_text(&identifier, "name.test") != ACME_OK) {
        return 1;
    }
    return cmocka_run_group_tests_name("store pool", tests, NULL, NULL);
}
