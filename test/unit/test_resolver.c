#include "unit.h"

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

/* The thread has only begun when the deadline is over already. */
static void test_deadline(void **state)
{
    acme_resolver_t *resolver = acme_resolver_create("localhost");
    acme_addresses_t found;
    apr_time_t begin = apr_time_now();

    (void)state;
    assert_reason(acme_resolver_ask(&found, resolver, begin - 1), ACME_PROBE_TIMEOUT);
    assert_int_equal(found.count, 0);
    assert_reason(acme_resolver_ask(&found, resolver, apr_time_now() + LONG), ACME_OK);
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
