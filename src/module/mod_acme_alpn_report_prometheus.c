/*
 * The report in Prometheus's text format, version 0.0.4. Labels have few values: sources and
 * reasons are closed lists, and the spools are those of the configuration. No name of a
 * client's is a label.
 */
#include "mod_acme_alpn_report.h"

#include <string.h>

#include <apr_strings.h>

#include "mod_acme_alpn_connection.h"

#define PREFIX "acme_alpn_"

static void head(apr_bucket_brigade *out, const char *name, const char *type, const char *help)
{
    apr_brigade_printf(out, NULL, NULL, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n",
                       name, help, name, type);
}

static void single(apr_bucket_brigade *out, const char *name, const char *type,
                   const char *help, apr_uint64_t value)
{
    head(out, name, type, help);
    apr_brigade_printf(out, NULL, NULL, PREFIX "%s %" APR_UINT64_T_FMT "\n", name, value);
}

static void labelled(apr_bucket_brigade *out, const char *name, const char *label,
                     const char *value, apr_uint64_t number)
{
    apr_brigade_printf(out, NULL, NULL, PREFIX "%s{%s=\"%s\"} %" APR_UINT64_T_FMT "\n", name,
                       label, value, number);
}

/* Of printable text only these two have a meaning within quotation marks. */
static const char *escape(apr_pool_t *pool, const char *text)
{
    char *made = apr_palloc(pool, 2 * strlen(text) + 1), *to = made;

    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            *to++ = '\\';
        }
        *to++ = *text;
    }
    *to = '\0';
    return made;
}

static void counters(apr_bucket_brigade *out, const acme_record_counts_t *counts)
{
    int i;

    head(out, "handshakes_answered_total", "counter",
         "Handshakes answered with a challenge certificate, by source of the challenge.");
    for (i = ACME_ALPN_SOURCE_NONE + 1; i < ACME_ALPN_SOURCES; i++) {
        labelled(out, "handshakes_answered_total", "source",
                 acme_alpn_source_name((acme_alpn_source_e)i), counts->answered[i]);
    }
    /* Also those that have not occurred: from nothing to 1 is no increase to Prometheus. */
    head(out, "handshakes_refused_total", "counter", "Handshakes refused, by reason.");
    for (i = ACME_OK + 1; i < ACME_ERRORS; i++) {
        labelled(out, "handshakes_refused_total", "reason", acme_error_slug((acme_error_e)i),
                 counts->refused[i]);
    }
    single(out, "handshakes_incomplete_total", "counter",
           "Handshakes that ended before they were complete.", counts->incomplete);
}

/* Whole seconds and what is left over, without the rounding of a double. */
static void seconds(apr_bucket_brigade *out, const char *name, apr_uint64_t microseconds)
{
    apr_brigade_printf(out, NULL, NULL,
                       PREFIX "%s %" APR_UINT64_T_FMT ".%06" APR_UINT64_T_FMT "\n", name,
                       microseconds / APR_USEC_PER_SEC, microseconds % APR_USEC_PER_SEC);
}

static void durations(apr_bucket_brigade *out, const acme_record_counts_t *counts)
{
    apr_uint64_t answered = 0;
    int i;

    for (i = 0; i < ACME_RECORD_SOURCES; i++) {
        answered += counts->answered[i];
    }
    head(out, "handshake_duration_seconds", "summary",
         "Time from the ClientHello to the end of answered handshakes.");
    seconds(out, "handshake_duration_seconds_sum", counts->answered_duration);
    apr_brigade_printf(out, NULL, NULL,
                       PREFIX "handshake_duration_seconds_count %" APR_UINT64_T_FMT "\n",
                       answered);
}

static void events(apr_bucket_brigade *out, const acme_record_counts_t *counts)
{
    head(out, "certificates_total", "counter", "Challenge certificates, by origin.");
    labelled(out, "certificates_total", "origin", "minted", counts->events[ACME_RECORD_MINTED]);
    labelled(out, "certificates_total", "origin", "cache", counts->events[ACME_RECORD_CACHED]);
    single(out, "relays_total", "counter", "Handshakes made with other responders.",
           counts->events[ACME_RECORD_RELAYS]);
    head(out, "start_time_seconds", "gauge",
         "When the counters began, in seconds since the Unix epoch.");
    seconds(out, "start_time_seconds", (apr_uint64_t)counts->since);
}

static void spools(apr_bucket_brigade *out, const acme_alpn_report_t *report, const char *name,
                   const char *help, int is_total)
{
    int i;

    head(out, name, "gauge", help);
    for (i = 0; i < report->spools->nelts; i++) {
        const acme_alpn_report_spool_t *spool =
            APR_ARRAY_IDX(report->spools, i, acme_alpn_report_spool_t *);

        apr_brigade_printf(out, NULL, NULL,
                           PREFIX "%s{spool=\"%s\",max_age_seconds=\"%" APR_INT64_T_FMT
                                  "\"} %" APR_SIZE_T_FMT "\n",
                           name, escape(out->p, spool->directory), apr_time_sec(spool->max_age),
                           is_total ? spool->total : (apr_size_t)(spool->state == ACME_OK));
    }
}

void acme_alpn_report_prometheus(apr_bucket_brigade *out, const acme_alpn_report_t *report)
{
    counters(out, &report->counts);
    durations(out, &report->counts);
    events(out, &report->counts);
    spools(out, report, "spool_entries", "Entries in the spool, valid or not.", 1);
    spools(out, report, "spool_usable", "Whether challenges can be answered from the spool.",
           0);
    single(out, "vhosts", "gauge", "Virtual hosts with TLS.", report->vhosts_total);
    single(out, "vhosts_with_problems", "gauge",
           "Those of them with something wrong or switched off.", report->vhosts_with_problems);
    single(out, "shared_memory_bytes", "gauge",
           "Shared memory of the handshakes and counters, which is fixed.", report->memory);
}
