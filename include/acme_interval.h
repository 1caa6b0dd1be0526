/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times as httpd's directives write them: a number and a unit, "30s", "10min", "12h", "7d".
 */
#ifndef ACME_INTERVAL_H
#define ACME_INTERVAL_H

#include <apr_time.h>

/* What acme_interval_parse takes, for messages. */
#define ACME_INTERVAL_ALLOWED                                                                  \
    "a number with a unit: ms, s (seconds, also without a unit), min, h or d"

/* The longest: ten years. What is longer is a slip of the keyboard, and could overflow with the
 * clock. */
#define ACME_INTERVAL_MAX apr_time_from_sec(APR_INT64_C(3650) * 24 * 60 * 60)

/* Returns whether `text` is a time from 0 to ACME_INTERVAL_MAX, which is then in *interval (in
 * microseconds). */
int acme_interval_parse(apr_interval_time_t *interval, const char *text);

#endif
