/*
 * What others send, as it is printed.
 */
#include "unit.h"

#include <apr_general.h>

#include "acme_text.h"

static void test_bytes(void **state)
{
    static const struct {
        const char *text, *phrase, *word;
    } rows[] = {
        {"", "", ""},
        {"www.example.com", "www.example.com", "www.example.com"},
        {"two words", "two words", "two%20words"},
        {"\"\\", "\"\\", "%22%5c"},
        {"100%", "100%25", "100%25"},
        {"a\nb\x1b[31m\x7f", "a%0ab%1b[31m%7f", "a%0ab%1b%5b31m%7f"},
        {"a=b", "a=b", "a%3db"},
        {"\xc3\xa4\xff", "%c3%a4%ff", "%c3%a4%ff"},
    };
    apr_pool_t *pool;
    size_t i;

    (void)state;
    apr_pool_create(&pool, NULL);
    for (i = 0; i < COUNT(rows); i++) {
        assert_string_equal(acme_text_phrase(pool, rows[i].text), rows[i].phrase);
        assert_string_equal(acme_text_word(pool, rows[i].text), rows[i].word);
    }
    apr_pool_destroy(pool);
}

static void test_what_does_not_fit_is_left_out(void **state)
{
    char *to = malloc(8);

    (void)state;
    acme_text_copy(to, 8, "abcd\n");
    assert_string_equal(to, "abcd%0a");
    acme_text_copy(to, 8, "abcdefgh");
    assert_string_equal(to, "abcde");
    acme_text_copy(to, 8, "\n\n\n");
    assert_string_equal(to, "%0a%0a");
    free(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_what_does_not_fit_is_left_out),
    };

    apr_initialize();
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
