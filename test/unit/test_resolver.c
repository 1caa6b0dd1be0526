#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RTLD_NEXT */
#endif

#include "unit.h"

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "acme_resolver.h"

#define LONG apr_time_from_sec(60)

/* Whether the text is an address of this machine's loopback. */
static int is_loopback(const char *text)
{
    return strncmp(text, "127.", 4) == 0 || strcmp(text, "::1") == 0;
}

static void test_host_has_its_addresses(void **state)
{
    acme_resolver_t *resolver = acme_resolver_create("localhost");
    acme_addresses_t found;
    int i, attempt;

    (void)state;
    assert_non_null(resolver);
    for (attempt = 0; attempt < 3; attempt++) {
        assert_reason(acme_resolver_ask(&found, resolver, apr_time_now() + LONG), ACME_OK);
        assert_true(found.count > 0);
        for (i = 0; i < found.count; i++) {
            assert_true(is_loopback(found.address[i]));
        }
    }
}

/* What is known needs no time. */
static void test_known_addresses_come_after_the_deadline(void **state)
{
    acme_resolver_t *resolver = acme_resolver_create("localhost");
    acme_addresses_t found;

    (void)state;
    assert_reason(acme_resolver_ask(&found, resolver, apr_time_now() + LONG), ACME_OK);
    memset(&found, 0, sizeof(found));
    assert_reason(acme_resolver_ask(&found, resolver, 0), ACME_OK);
    assert_true(found.count > 0);
}

static void test_address_as_text_is_itself(void **state)
{
    acme_resolver_t *resolver = acme_resolver_create("192.0.2.7");
    acme_addresses_t found;

    (void)state;
    assert_reason(acme_resolver_ask(&found, resolver, apr_time_now() + LONG), ACME_OK);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.address[0], "192.0.2.7");
}

/* A label cannot have a space, so no name server is asked. */
static void test_host_without_address(void **state)
{
    acme_resolver_t *resolver = acme_resolver_create("no such host");
    acme_addresses_t found;

    (void)state;
    assert_reason(acme_resolver_ask(&found, resolver, apr_time_now() + LONG),
                  ACME_PROBE_HOST_UNKNOWN);
    assert_int_equal(found.count, 0);
}

/* Stands before the C library's: asks that, but for this host only when `hold` is free, and for
 * that one for the address that `moved_to` has. */
#define SLOW  "127.0.0.9"
#define MOVES "moves.test"
static pthread_mutex_t hold = PTHREAD_MUTEX_INITIALIZER;
static const char *moved_to;

typedef int getaddrinfo_t(const char *node, const char *service, const struct addrinfo *hints,
                          struct addrinfo **found);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    getaddrinfo_t *next;

    *(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
    if (node && strcmp(node, SLOW) == 0) {
        pthread_mutex_lock(&hold);
        pthread_mutex_unlock(&hold);
    }
    if (node && strcmp(node, MOVES) == 0) {
        pthread_mutex_lock(&hold);
        node = moved_to;
        pthread_mutex_unlock(&hold);
    }
    return next(node, service, hints, found);
}

static int threads;

typedef int create_t(pthread_t *thread, const pthread_attr_t *attributes,
                     void *(*function)(void *), void *data);

/* Stands before the C library's, and counts. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                   void *(*function)(void *), void *data)
{
    create_t *next;

    *(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
    threads++;
    return next(thread, attributes, function, data);
}

/* Stands before APR's: how far the clock is behind the real one. */
static apr_interval_time_t behind;

apr_time_t apr_time_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return apr_time_make(now.tv_sec, now.tv_nsec / 1000) - behind;
}

/* Its first address, which it had so long ago. */
static acme_resolver_t *resolver_of(const char *address, apr_interval_time_t age)
{
    acme_resolver_t *resolver = acme_resolver_create(MOVES);
    acme_addresses_t found;

    moved_to = address;
    behind = age;
    assert_reason(acme_resolver_ask(&found, resolver, apr_time_now() + age + LONG), ACME_OK);
    behind = 0;
    assert_string_equal(found.address[0], address);
    return resolver;
}

static void assert_answer(acme_resolver_t *resolver, apr_time_t deadline, const char *address)
{
    acme_addresses_t found;

    assert_reason(acme_resolver_ask(&found, resolver, deadline), ACME_OK);
    assert_string_equal(found.address[0], address);
}

static void test_old_addresses_are_not_used_before_the_host_was_asked_again(void **state)
{
    acme_resolver_t *resolver = resolver_of("127.0.0.1", 24 * 60 * LONG);

    (void)state;
    moved_to = "127.0.0.2";
    assert_answer(resolver, apr_time_now() + LONG, "127.0.0.2");
}

/* There is time left to use them then. */
static void test_old_addresses_are_used_when_there_are_no_others_in_time(void **state)
{
    acme_resolver_t *resolver = resolver_of("127.0.0.1", 24 * 60 * LONG);
    apr_time_t begin, half = apr_time_from_sec(1);

    (void)state;
    pthread_mutex_lock(&hold);
    moved_to = "127.0.0.2";
    begin = apr_time_now();
    assert_answer(resolver, begin + 2 * half, "127.0.0.1");
    assert_true(apr_time_now() >= begin + half);
    pthread_mutex_unlock(&hold);
    assert_answer(resolver, apr_time_now() + LONG, "127.0.0.2");
}

/* And that a host is asked again costs nobody time. */
static void test_stale_addresses_are_used_until_there_are_others(void **state)
{
    acme_resolver_t *resolver = resolver_of("127.0.0.1", ACME_RESOLVER_FRESH + 1);
    apr_time_t begin = apr_time_now();
    acme_addresses_t found;

    (void)state;
    pthread_mutex_lock(&hold);
    moved_to = "127.0.0.2";
    assert_answer(resolver, begin + LONG, "127.0.0.1");
    assert_true(apr_time_now() - begin < LONG / 4);
    pthread_mutex_unlock(&hold);
    do {
        assert_reason(acme_resolver_ask(&found, resolver, apr_time_now() + LONG), ACME_OK);
    } while (strcmp(found.address[0], "127.0.0.2") != 0 && usleep(1000) == 0);
}

static void test_fresh_addresses_are_used_again(void **state)
{
    acme_resolver_t *resolver = resolver_of("127.0.0.1", 0);
    int before = threads;

    (void)state;
    assert_answer(resolver, apr_time_now() + LONG, "127.0.0.1");
    assert_int_equal(threads, before);
}

/* Whoever asks goes on without the thread, and what that finds later counts. */
static void test_deadline(void **state)
{
    acme_resolver_t *resolver = acme_resolver_create(SLOW);
    acme_addresses_t found;
    int attempt;

    (void)state;
    pthread_mutex_lock(&hold);
    for (attempt = 0; attempt < 3; attempt++) {
        apr_time_t deadline = apr_time_now() + apr_time_from_msec(20);

        assert_reason(acme_resolver_ask(&found, resolver, deadline), ACME_PROBE_TIMEOUT);
        assert_true(apr_time_now() >= deadline);
        assert_int_equal(found.count, 0);
    }
    pthread_mutex_unlock(&hold);
    assert_reason(acme_resolver_ask(&found, resolver, apr_time_now() + LONG), ACME_OK);
    assert_string_equal(found.address[0], SLOW);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_has_its_addresses),
        cmocka_unit_test(test_known_addresses_come_after_the_deadline),
        cmocka_unit_test(test_address_as_text_is_itself),
        cmocka_unit_test(test_host_without_address),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_old_addresses_are_not_used_before_the_host_was_asked_again),
        cmocka_unit_test(test_old_addresses_are_used_when_there_are_no_others_in_time),
        cmocka_unit_test(test_stale_addresses_are_used_until_there_are_others),
        cmocka_unit_test(test_fresh_addresses_are_used_again),
    };

    return cmocka_run_group_tests_name("resolver", tests, NULL, NULL);
}
