/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_interval.h"

#include <errno.h>
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

/* httpd's ap_timeout_parameter_parse has no days, and reads "5 hats" as five hours. */
int acme_interval_parse(apr_interval_time_t *interval, const char *text)
{
    static const struct {
        const char *name;
        apr_int64_t milliseconds;
    } units[] = {{"", 1000},     {"ms", 1},      {"s", 1000},
                 {"min", 60000}, {"h", 3600000}, {"d", 86400000}};
    apr_size_t i;
    char *unit;
    apr_int64_t number;

    if (!apr_isdigit(*text)) {
        return 0;
    }
    errno = 0;
    number = apr_strtoi64(text, &unit, 10);
    for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(unit, units[i].name) == 0) {
            if (errno || number > ACME_INTERVAL_MAX / 1000 / units[i].milliseconds) {
                return 0;
            }
            *interval = number * units[i].milliseconds * 1000;
            return 1;
        }
    }
    return 0;
}
