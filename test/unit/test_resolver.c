#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RTLD_NEXT */
#endif

#include "unit.h"

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <string.h>

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

/* Stands before the C library's: asks that, but for this host only when `hold` is free. */
#define SLOW "127.0.0.9"
static pthread_mutex_t hold = PTHREAD_MUTEX_INITIALIZER;

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
    return next(node, service, hints, found);
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
    };

    return cmocka_run_group_tests_name("resolver", tests, NULL, NULL);
}
