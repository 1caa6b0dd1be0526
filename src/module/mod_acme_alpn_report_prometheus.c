/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report in Prometheus's text format, version 0.0.4. A label is a source, a reason or a
 * spool of the configuration, never a name that a client sent.
 */
#include "mod_acme_alpn_report.h"

#include "mod_acme_alpn_connection.h"
#include "mod_acme_alpn_outcome.h"

#define NUMBER "%" APR_UINT64_T_FMT

/* Whole seconds and microseconds: a double would round them. */
#define SECONDS_FMT NUMBER ".%06" APR_UINT64_T_FMT
#define SECONDS(microseconds)                                                                  \
    (microseconds) / APR_USEC_PER_SEC, (microseconds) % APR_USEC_PER_SEC

#define prometheus_put(out, ...) apr_brigade_printf(out, NULL, NULL, __VA_ARGS__)

static void prometheus_head(apr_bucket_brigade *out, const char *name, const char *type,
                            const char *help)
{
    prometheus_put(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void prometheus_single(apr_bucket_brigade *out, const char *name, const char *type,
                              const char *help, apr_uint64_t value)
{
    prometheus_head(out, name, type, help);
    prometheus_put(out, "%s " NUMBER "\n", name, value);
}

/* From the record: the document lacks exact durations, and reasons that have not occurred. */
static void prometheus_counters(apr_bucket_brigade *out)
{
    acme_record_counts_t counts;
    int i;

    acme_record_counts(&counts, acme_alpn_record_get());
    prometheus_head(
        out, "acme_alpn_handshakes_answered_total", "counter",
        "Handshakes answered with a challenge certificate, by source of the challenge.");
    for (i = ACME_ALPN_SOURCE_NONE + 1; i < ACME_ALPN_SOURCES; i++) {
        prometheus_put(out, "acme_alpn_handshakes_answered_total{source=\"%s\"} " NUMBER "\n",
                       acme_alpn_source_name((acme_alpn_source_e)i), counts.answered[i]);
    }
    /* Prometheus sees no increase when a series starts at 1, so each reason starts at 0. */
    prometheus_head(out, "acme_alpn_handshakes_refused_total", "counter",
                    "Handshakes refused, by reason.");
    for (i = ACME_OK + 1; i < ACME_ERRORS; i++) {
        prometheus_put(out, "acme_alpn_handshakes_refused_total{reason=\"%s\"} " NUMBER "\n",
                       acme_error_slug((acme_error_e)i), counts.refused[i]);
    }
    prometheus_single(out, "acme_alpn_handshakes_incomplete_total", "counter",
                      "Handshakes that ended before they were complete.",
                      counts.outcomes[ACME_RECORD_INCOMPLETE]);
    prometheus_head(out, "acme_alpn_handshake_duration_seconds", "summary",
                    "Time from the ClientHello to the end of answered handshakes.");
    prometheus_put(out,
                   "acme_alpn_handshake_duration_seconds_sum " SECONDS_FMT "\n"
                   "acme_alpn_handshake_duration_seconds_count " NUMBER "\n",
                   SECONDS(counts.answered_duration), counts.outcomes[ACME_RECORD_ANSWERED]);
    prometheus_head(out, "acme_alpn_certificates_total", "counter",
                    "Challenge certificates, by origin.");
    prometheus_put(out,
                   "acme_alpn_certificates_total{origin=\"minted\"} " NUMBER "\n"
                   "acme_alpn_certificates_total{origin=\"cache\"} " NUMBER "\n",
                   counts.events[ACME_RECORD_MINTED], counts.events[ACME_RECORD_CACHED]);
    prometheus_single(out, "acme_alpn_relays_total", "counter", "Handshakes with upstreams.",
                      counts.events[ACME_RECORD_RELAYS]);
    prometheus_head(out, "acme_alpn_start_time_seconds", "gauge",
                    "When the counters began, in seconds since the Unix epoch.");
    prometheus_put(out, "acme_alpn_start_time_seconds " SECONDS_FMT "\n",
                   SECONDS((apr_uint64_t)counts.since));
}

/* A number of the document, or 1 for true. */
static apr_uint64_t prometheus_get(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_true(value) ? 1 : (apr_uint64_t)json_integer_value(value);
}

static void prometheus_spools(apr_bucket_brigade *out, const json_t *document, const char *name,
                              const char *help, const char *key)
{
    const json_t *spool;
    size_t i;

    prometheus_head(out, name, "gauge", help);
    json_array_foreach(json_object_get(document, "spools"), i, spool) {
        const char *directory = json_string_value(json_object_get(spool, "directory"));

        /* Of printable text, Prometheus and httpd's logs both escape " and \ alone. */
        prometheus_put(
            out, "%s{spool=\"%s\",max_age_seconds=\"" NUMBER "\",accounts=\"%s\"} " NUMBER "\n",
            name, ap_escape_logitem(out->p, directory),
            prometheus_get(spool, "max_age_seconds"),
            json_string_value(json_object_get(spool, "accounts")), prometheus_get(spool, key));
    }
}

void acme_alpn_report_prometheus(apr_bucket_brigade *out, const json_t *document)
{
    prometheus_counters(out);
    prometheus_spools(out, document, "acme_alpn_spool_entries",
                      "Entries in the spool, valid or not.", "total");
    prometheus_spools(out, document, "acme_alpn_spool_usable",
                      "1 where httpd can answer challenges from the spool.", "usable");
    prometheus_single(out, "acme_alpn_vhosts", "gauge", "Virtual hosts with TLS.",
                      prometheus_get(document, "vhosts_total"));
    prometheus_single(out, "acme_alpn_vhosts_with_problems", "gauge",
                      "TLS virtual hosts with a problem, or with AcmeAlpnEngine Off.",
                      prometheus_get(document, "vhosts_with_problems"));
    prometheus_single(out, "acme_alpn_shared_memory_bytes", "gauge",
                      "Size of the shared memory that holds the handshakes and counters.",
                      prometheus_get(document, "shared_memory_bytes"));
}
