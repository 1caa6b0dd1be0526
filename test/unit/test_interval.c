#include "unit.h"

#include "acme_interval.h"

#define UNTOUCHED 123456789

typedef struct {
    const char *text;
    double seconds; /* -1: refused */
} interval_row_t;

static const interval_row_t rows[] = {
    {"0", 0},
    {"1ms", 0.001},
    {"30", 30},
    {"30s", 30},
    {"2000ms", 2},
    {"10min", 600},
    {"12h", 43200},
    {"7d", 604800},
    {"007", 7},
    {"3650d", 315360000},
    {"315360000", 315360000},
    {"315360000000ms", 315360000},

    {"3651d", -1},
    {"315360001", -1},
    {"315360000001ms", -1},
    {"9223372036854775807d", -1},
    {"9223372036854775808", -1},
    {"99999999999999999999999999", -1},
    {"", -1},
    {" ", -1},
    {"s", -1},
    {"-1", -1},
    {"+1", -1},
    {" 1", -1},
    {"1 s", -1},
    {"1s ", -1},
    {"1S", -1},
    {"1m", -1},
    {"1hour", -1},
    {"5 hats", -1},
    {"1.5h", -1},
    {"0x10", -1},
    {"1h30min", -1},
};

static void test_interval(void **state)
{
    const interval_row_t *row = *state;
    apr_interval_time_t interval = UNTOUCHED;

    assert_int_equal(acme_interval_parse(&interval, row->text), row->seconds >= 0);
    assert_int_equal(interval, row->seconds >= 0
                                   ? (apr_interval_time_t)(row->seconds * APR_USEC_PER_SEC)
                                   : UNTOUCHED);
}

int main(void)
{
    UNIT_ADD_ROWS(test_interval, rows);
    return cmocka_run_group_tests_name("interval", unit_tests, NULL, NULL);
}
