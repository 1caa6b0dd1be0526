/* SPDX-License-Identifier: Apache-2.0 */
/* Times as httpd's directives write them: a number and a unit, "30s", "10min", "12h", "7d". */
#ifndef ACME_INTERVAL_H
#define ACME_INTERVAL_H

#include <apr_time.h>

/* What acme_interval_parse accepts, for messages. */
#define ACME_INTERVAL_ALLOWED                                                                  \
    "a number with a unit: ms, s (seconds, also without a unit), min, h or d"

/* Ten years. A longer time is a typing error, and added to the clock could overflow. */
#define ACME_INTERVAL_MAX apr_time_from_sec(APR_INT64_C(3650) * 24 * 60 * 60)

/* Returns whether `text` is a time from 0 to ACME_INTERVAL_MAX, and sets *interval (µs) if so.
 */
int acme_interval_parse(apr_interval_time_t *interval, const char *text);

#endif
