/*
 * What the unit tests share: cmocka, behind the headers that it wants first, and tables whose
 * every row is a test case of its own.
 */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "acme_error.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A string literal with its length, which NULs inside it do not end. */
#define BYTES(literal) literal, sizeof(literal) - 1

/* Compares slugs, so that a failure names both reasons. */
#define assert_reason(got, expected)                                                           \
    assert_string_equal(acme_error_slug(got), acme_error_slug(expected))

/* What cmocka's own skip() lacks: why. */
#define skip_because(reason)                                                                   \
    do {                                                                                       \
        print_message("# skipped: %s\n", reason);                                              \
        skip();                                                                                \
    } while (0)

/* A test case that `test` runs with *state pointing to `row`, one row of its table. */
static inline struct CMUnitTest unit_case(const char *name, CMUnitTestFunction test,
                                          const void *row)
{
    return (struct CMUnitTest){
        .name = name, .test_func = test, .initial_state = (void *)(uintptr_t)row};
}

/* The name that cmocka 2 has for it. */
#ifndef assert_uint_in_range
#define assert_uint_in_range assert_in_range
#endif

/* All test cases of a program, for cmocka_run_group_tests_name, which passes over the empty
 * ones; and the fixture of those that are added next. */
static struct CMUnitTest unit_tests[150];
static CMFixtureFunction unit_setup, unit_teardown;

static inline void unit_add(const char *name, CMUnitTestFunction test, const void *row)
{
    static size_t count;

    assert_uint_in_range(count, 0, COUNT(unit_tests) - 1);
    unit_tests[count] = unit_case(name, test, row);
    unit_tests[count].setup_func = unit_setup;
    unit_tests[count++].teardown_func = unit_teardown;
}

#define UNIT_ADD(test) unit_add(#test, test, NULL)

/* One case for each row of a table, whose first column is the name. */
#define UNIT_ADD_ROWS(test, rows)                                                              \
    for (size_t row_ = 0; row_ < COUNT(rows); row_++)                                          \
    unit_add(*(const char *const *)&(rows)[row_], test, &(rows)[row_])

/* The bytes on the heap and in just that much of it, so that a sanitizer sees a read beyond
 * them; to be freed. */
static inline void *exact_copy(const void *bytes, size_t length)
{
    void *copy = malloc(length > 0 ? length : 1);

    assert_non_null(copy);
    return memcpy(copy, bytes, length);
}

#endif
