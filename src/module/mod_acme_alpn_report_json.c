/*
 * The report as JSON; the fields are explained in docs/status.md. jansson takes UTF-8 alone,
 * and all texts of the report are ASCII.
 */
#include "mod_acme_alpn_report.h"

#include <stdlib.h>

#include <jansson.h>

#include "acme_text.h"
#include "mod_acme_alpn_outcome.h"
#include "mod_acme_alpn_connection.h"

#define NUMBER(value) (json_int_t)(value)

static double in_seconds(apr_uint64_t microseconds)
{
    return (double)microseconds / APR_USEC_PER_SEC;
}

static json_t *describe_entry(const acme_alpn_report_t *report, const acme_spool_entry_t *entry)
{
    int valid = entry->state == ACME_OK;

    return json_pack("{s:s, s:I, s:s, s:b, s:s?, s:s?}", "identifier", entry->name,
                     "age_seconds", NUMBER(acme_alpn_report_age(report, entry)), "source",
                     acme_alpn_source_name(ACME_ALPN_SOURCE_SPOOL), "valid", valid, "reason",
                     valid ? NULL : acme_error_slug(entry->state), "text",
                     valid ? NULL : acme_error_text(entry->state));
}

static json_t *describe_spool(const acme_alpn_report_t *report,
                              const acme_alpn_report_spool_t *spool)
{
    int usable = spool->state == ACME_OK, i;
    json_t *entries = json_array();

    for (i = 0; i < spool->entries->nelts; i++) {
        json_array_append_new(
            entries,
            describe_entry(report, &APR_ARRAY_IDX(spool->entries, i, acme_spool_entry_t)));
    }
    return json_pack("{s:s, s:I, s:b, s:s?, s:s?, s:I, s:b, s:o}", "directory",
                     spool->directory, "max_age_seconds", NUMBER(apr_time_sec(spool->max_age)),
                     "usable", usable, "reason", usable ? NULL : acme_error_slug(spool->state),
                     "text", usable ? NULL : acme_error_text(spool->state), "total",
                     NUMBER(spool->total), "total_is_exact",
                     spool->total < ACME_SPOOL_COUNT_MAX, "entries", entries);
}

static json_t *describe_spools(const acme_alpn_report_t *report)
{
    json_t *spools = json_array();
    int i;

    for (i = 0; i < report->spools->nelts; i++) {
        json_array_append_new(
            spools, describe_spool(
                        report, APR_ARRAY_IDX(report->spools, i, acme_alpn_report_spool_t *)));
    }
    return spools;
}

/* NULL, which is null, where there is nothing. */
static const char *or_null(const char *text)
{
    return *text ? text : NULL;
}

/* In words, why there was no answer; NULL where there was one. */
static const char *why_not(apr_pool_t *pool, const acme_record_row_t *row)
{
    switch (row->outcome) {
    case ACME_RECORD_REFUSED:
        return acme_error_text(row->reason);
    case ACME_RECORD_INCOMPLETE:
        return acme_alpn_outcome_end(pool, row);
    default:
        return NULL;
    }
}

/* That ended the handshake, null if none did. */
static json_t *describe_alert(const acme_record_row_t *row)
{
    if (row->outcome != ACME_RECORD_INCOMPLETE || !row->alert) {
        return json_null();
    }
    return json_pack("{s:i, s:s}", "number", row->alert, "by", acme_alpn_outcome_alert_by(row));
}

static json_t *describe_row(apr_pool_t *pool, const acme_record_row_t *row)
{
    const char *name = or_null(acme_alpn_report_name(pool, row));
    int is_answered = row->outcome == ACME_RECORD_ANSWERED;
    int is_refused = row->outcome == ACME_RECORD_REFUSED;

    return json_pack(
        "{s:s, s:s?, s:s?, s:s, s:s?, s:s?, s:s?, s:s, s:s, s:s?, s:s?, s:o, s:s, s:f}", "time",
        acme_alpn_report_time(pool, row->ended), "identifier", row->is_identifier ? name : NULL,
        "sni", row->is_identifier ? NULL : name, "peer", row->peer, "vhost",
        or_null(acme_text_phrase(pool, row->vhost)), "tls", or_null(row->tls), "key",
        is_answered ? acme_key_name(row->key_type) : NULL, "source",
        acme_alpn_source_name((acme_alpn_source_e)row->source), "outcome",
        acme_record_outcome_name(row->outcome), "reason",
        is_refused ? acme_error_slug(row->reason) : NULL, "text", why_not(pool, row), "alert",
        describe_alert(row), "tag", acme_alpn_outcome_tag(row->outcome), "duration_seconds",
        in_seconds(row->duration));
}

static json_t *describe_rows(apr_pool_t *pool, const acme_alpn_report_t *report)
{
    json_t *rows = json_array();
    apr_size_t i;

    for (i = 0; i < report->row_count; i++) {
        json_array_append_new(rows, describe_row(pool, &report->rows[i]));
    }
    return rows;
}

static json_t *describe_counts(const acme_record_counts_t *counts)
{
    json_t *answered = json_object(), *refused = json_object();
    int i;

    for (i = ACME_ALPN_SOURCE_NONE + 1; i < ACME_ALPN_SOURCES; i++) {
        json_object_set_new(answered, acme_alpn_source_name((acme_alpn_source_e)i),
                            json_integer(NUMBER(counts->answered[i])));
    }
    for (i = 0; i < ACME_ERRORS; i++) {
        if (counts->refused[i] > 0) {
            json_object_set_new(refused, acme_error_slug((acme_error_e)i),
                                json_integer(NUMBER(counts->refused[i])));
        }
    }
    return json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:f}", "answered", answered, "refused",
                     refused, "incomplete", NUMBER(counts->incomplete), "minted",
                     NUMBER(counts->events[ACME_RECORD_MINTED]), "cached",
                     NUMBER(counts->events[ACME_RECORD_CACHED]), "relays",
                     NUMBER(counts->events[ACME_RECORD_RELAYS]), "answered_seconds",
                     in_seconds(counts->answered_duration));
}

static json_t *describe_vhost(const acme_alpn_report_vhost_t *vhost)
{
    json_t *settings = json_array(), *problems = json_array();
    int i;

    for (i = 0; i < vhost->settings->nelts; i++) {
        const acme_alpn_report_item_t *item =
            &APR_ARRAY_IDX(vhost->settings, i, acme_alpn_report_item_t);

        json_array_append_new(
            settings, json_pack("{s:s, s:s}", "directive", item->name, "value", item->value));
    }
    for (i = 0; i < vhost->problems->nelts; i++) {
        const acme_alpn_report_item_t *item =
            &APR_ARRAY_IDX(vhost->problems, i, acme_alpn_report_item_t);

        json_array_append_new(
            problems, json_pack("{s:s, s:s}", "reason", item->name, "text", item->value));
    }
    return json_pack("{s:s, s:s, s:s?, s:o, s:o}", "name", vhost->name, "address",
                     vhost->address, "defined", or_null(vhost->defined), "settings", settings,
                     "problems", problems);
}

static json_t *describe_vhosts(const acme_alpn_report_t *report)
{
    json_t *vhosts = json_array();
    int i;

    for (i = 0; i < report->vhosts->nelts; i++) {
        json_array_append_new(vhosts, describe_vhost(APR_ARRAY_IDX(
                                          report->vhosts, i, acme_alpn_report_vhost_t *)));
    }
    return vhosts;
}

int acme_alpn_report_json(apr_bucket_brigade *out, const acme_alpn_report_t *report)
{
    apr_pool_t *pool = out->p;
    json_t *document =
        json_pack("{s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:I, s:I, s:o}", "time",
                  acme_alpn_report_time(pool, report->now), "since",
                  acme_alpn_report_time(pool, report->counts.since), "shared_memory_bytes",
                  NUMBER(report->memory), "spools_total", NUMBER(report->spools_total),
                  "spools", describe_spools(report), "handshakes", describe_rows(pool, report),
                  "counters", describe_counts(&report->counts), "vhosts_total",
                  NUMBER(report->vhosts_total), "vhosts_with_problems",
                  NUMBER(report->vhosts_with_problems), "vhosts", describe_vhosts(report));
    char *text = document ? json_dumps(document, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
    int done = text != NULL;

    if (done) {
        apr_brigade_puts(out, NULL, NULL, text);
        apr_brigade_puts(out, NULL, NULL, "\n");
    }
    json_decref(document);
    free(text);
    return done;
}
