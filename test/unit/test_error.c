#include "unit.h"

#include <string.h>

static void test_slug_is_set_and_plain(void **state)
{
    int error;

    (void)state;
    for (error = ACME_OK; error < ACME_ERRORS; error++) {
        const char *slug = acme_error_slug((acme_error_e)error);

        assert_non_null(slug);
        assert_true(strlen(slug) > 0);
        assert_int_equal(strspn(slug, "abcdefghijklmnopqrstuvwxyz0123456789-"), strlen(slug));
    }
}

static void assert_unique(const char *(*words)(acme_error_e error))
{
    int one, other;

    for (one = ACME_OK; one < ACME_ERRORS; one++) {
        for (other = one + 1; other < ACME_ERRORS; other++) {
            assert_string_not_equal(words((acme_error_e)one), words((acme_error_e)other));
        }
    }
}

static void test_slug_is_unique(void **state)
{
    (void)state;
    assert_unique(acme_error_slug);
}

static void test_text_is_set_and_without_full_stop(void **state)
{
    int error;

    (void)state;
    for (error = ACME_OK; error < ACME_ERRORS; error++) {
        const char *text = acme_error_text((acme_error_e)error);

        assert_non_null(text);
        assert_true(strlen(text) > 0);
        assert_int_not_equal(text[strlen(text) - 1], '.');
        assert_null(strchr(text, '\n'));
    }
}

static void test_text_is_unique(void **state)
{
    (void)state;
    assert_unique(acme_error_text);
}

static void test_what_is_no_reason_reads_as_a_failure(void **state)
{
    (void)state;
    assert_string_equal(acme_error_slug(ACME_ERRORS), "system-error");
    assert_string_equal(acme_error_slug((acme_error_e)-1), "system-error");
    assert_string_equal(acme_error_text(ACME_ERRORS), acme_error_text(ACME_SYSTEM_ERROR));
}

/* Scripts and counters go by these. */
static void test_slugs_stay(void **state)
{
    (void)state;
    assert_string_equal(acme_error_slug(ACME_OK), "ok");
    assert_string_equal(acme_error_slug(ACME_NO_SNI), "no-sni");
    assert_string_equal(acme_error_slug(ACME_SPOOL_WRITABLE), "spool-writable");
    assert_string_equal(acme_error_slug(ACME_NO_ENTRY), "no-entry");
    assert_string_equal(acme_error_slug(ACME_ENTRY_TOO_OLD), "entry-too-old");
    assert_string_equal(acme_error_slug(ACME_VALUE_MALFORMED), "value-malformed");
}

/* What is to be mended is told, whatever else lacks the name. */
static void test_what_is_a_mere_lack(void **state)
{
    (void)state;
    assert_true(acme_error_is(ACME_NO_ENTRY, ACME_CLASS_LACK));
    assert_true(acme_error_is(ACME_PROBE_REFUSED, ACME_CLASS_LACK));
    assert_false(acme_error_is(ACME_OK, ACME_CLASS_LACK));
    assert_false(acme_error_is(ACME_PROBE_CLOSED, ACME_CLASS_LACK));
    assert_false(acme_error_is(ACME_RELAY_BUSY, ACME_CLASS_LACK));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slug_is_set_and_plain),
        cmocka_unit_test(test_slug_is_unique),
        cmocka_unit_test(test_text_is_set_and_without_full_stop),
        cmocka_unit_test(test_text_is_unique),
        cmocka_unit_test(test_what_is_no_reason_reads_as_a_failure),
        cmocka_unit_test(test_slugs_stay),
        cmocka_unit_test(test_what_is_a_mere_lack),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
