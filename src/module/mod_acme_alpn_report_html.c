/*
 * The report as one HTML page without script and without anything to load. Every text goes
 * through `text`, which escapes it.
 */
#include "mod_acme_alpn_report.h"

#include <apr_strings.h>

#include "acme_text.h"
#include "mod_acme_alpn_outcome.h"
#include "mod_acme_alpn_connection.h"

/* On a narrow screen each row of a table is a card, with the headings beside the values. */
const char acme_alpn_report_style[] =
    ":root{color-scheme:light dark;--back:#fff;--fore:#1c2126;--dim:#57606a;--line:#d5dae0;"
    "--card:#f5f7f9;--good:#176f2c;--bad:#b3261e;--warn:#8a5a00}"
    "@media(prefers-color-scheme:dark){:root{--back:#14181c;--fore:#e4e8ec;--dim:#9aa5b1;"
    "--line:#343b43;--card:#1d2329;--good:#6fcf85;--bad:#ff8a80;--warn:#f0bf5c}}"
    "*{box-sizing:border-box}"
    "body{margin:0 auto;max-width:80rem;padding:1rem;background:var(--back);color:var(--fore);"
    "font:15px/1.45 system-ui,sans-serif}"
    "h1{font-size:1.4rem;margin:.2rem 0}h2{font-size:1.1rem;margin:1.8rem 0 .5rem}"
    "p{margin:.4rem 0}.dim{color:var(--dim)}.good{color:var(--good)}.bad{color:var(--bad)}"
    ".warn{color:var(--warn)}b{font-weight:600}"
    "code,td{overflow-wrap:anywhere}code{font:13px/1.4 ui-monospace,monospace}"
    "table{width:100%;border-collapse:collapse}"
    "th,td{padding:.35rem .6rem .35rem 0;text-align:left;vertical-align:top;"
    "border-bottom:1px solid var(--line)}th{color:var(--dim);font-weight:500;font-size:13px}"
    "td p{margin:0}.n{white-space:nowrap}.w{min-width:10rem}"
    "@media(max-width:52rem){thead{display:none}table,tbody,tr,td{display:block}"
    "tr{background:var(--card);border:1px solid var(--line);border-radius:6px;"
    "padding:.4rem .7rem;margin:.6rem 0}"
    "td{border:0;padding:.15rem 0 .15rem 6.5rem;min-height:1.6rem;position:relative}"
    ".w{min-width:0}td:before{content:attr(data-h);position:absolute;left:0;color:var(--dim);"
    "font-size:13px}}";

static void raw(apr_bucket_brigade *out, const char *markup)
{
    apr_brigade_puts(out, NULL, NULL, markup);
}

static void text(apr_bucket_brigade *out, const char *plain)
{
    raw(out, ap_escape_html2(out->p, plain, 1));
}

static void number(apr_bucket_brigade *out, apr_uint64_t value)
{
    apr_brigade_printf(out, NULL, NULL, "%" APR_UINT64_T_FMT, value);
}

/* The start of a table; `headings` ends with NULL. */
static void open_table(apr_bucket_brigade *out, const char *const *headings)
{
    raw(out, "<table><thead><tr>");
    for (; *headings; headings++) {
        raw(out, "<th>");
        text(out, *headings);
        raw(out, "</th>");
    }
    raw(out, "</tr></thead><tbody>\n");
}

static void close_table(apr_bucket_brigade *out)
{
    raw(out, "</tbody></table>\n");
}

/* The start of a cell, which the next one, or the end of the row, ends. */
static void cell(apr_bucket_brigade *out, const char *heading, const char *classes)
{
    apr_brigade_printf(out, NULL, NULL, "<td data-h=\"%s\" class=\"%s\">", heading, classes);
}

static void text_cell(apr_bucket_brigade *out, const char *heading, const char *classes,
                      const char *plain)
{
    cell(out, heading, classes);
    text(out, *plain ? plain : "-");
}

static void code(apr_bucket_brigade *out, const char *plain)
{
    raw(out, "<code>");
    text(out, *plain ? plain : "-");
    raw(out, "</code>");
}

/* A slug that can be looked up, and what it means. */
static void reason(apr_bucket_brigade *out, const char *slug, const char *meaning)
{
    raw(out, "<p class=bad><b>");
    text(out, slug);
    raw(out, "</b>: ");
    text(out, meaning);
    raw(out, "</p>");
}

static const char *duration_of(apr_pool_t *pool, apr_uint64_t microseconds)
{
    return apr_psprintf(pool, "%" APR_UINT64_T_FMT ".%03" APR_UINT64_T_FMT " ms",
                        microseconds / 1000, microseconds % 1000);
}

static const char *age_of(apr_pool_t *pool, apr_int64_t seconds)
{
    const char *sign = seconds < 0 ? "-" : "";
    apr_int64_t age = seconds < 0 ? -seconds : seconds;

    if (age < 120) {
        return apr_psprintf(pool, "%s%" APR_INT64_T_FMT " s", sign, age);
    }
    if (age < 2 * 60 * 60) {
        return apr_psprintf(pool, "%s%" APR_INT64_T_FMT " min", sign, age / 60);
    }
    if (age < 2 * 24 * 60 * 60) {
        return apr_psprintf(pool, "%s%" APR_INT64_T_FMT " h", sign, age / (60 * 60));
    }
    return apr_psprintf(pool, "%s%" APR_INT64_T_FMT " d", sign, age / (24 * 60 * 60));
}

static void entry_row(apr_bucket_brigade *out, const acme_alpn_report_t *report,
                      const acme_spool_entry_t *entry)
{
    raw(out, "<tr>");
    cell(out, "Identifier", "");
    code(out, entry->name);
    text_cell(out, "Age", "n", age_of(out->p, acme_alpn_report_age(report, entry)));
    text_cell(out, "Source", "n", acme_alpn_source_name(ACME_ALPN_SOURCE_SPOOL));
    cell(out, "State", "");
    if (entry->state == ACME_OK) {
        raw(out, "<b class=good>valid</b>");
    } else {
        reason(out, acme_error_slug(entry->state), acme_error_text(entry->state));
    }
    raw(out, "</tr>\n");
}

static void spool_entries(apr_bucket_brigade *out, const acme_alpn_report_t *report,
                          const acme_alpn_report_spool_t *spool)
{
    static const char *const headings[] = {"Identifier", "Age", "Source", "State", NULL};
    int i;

    open_table(out, headings);
    for (i = 0; i < spool->entries->nelts; i++) {
        entry_row(out, report, &APR_ARRAY_IDX(spool->entries, i, acme_spool_entry_t));
    }
    close_table(out);
}

static void spool_part(apr_bucket_brigade *out, const acme_alpn_report_t *report,
                       const acme_alpn_report_spool_t *spool)
{
    apr_size_t shown = (apr_size_t)spool->entries->nelts;

    raw(out, "<p>");
    code(out, spool->directory);
    if (spool->state != ACME_OK) {
        raw(out, "</p>");
        reason(out, acme_error_slug(spool->state), acme_error_text(spool->state));
        return;
    }
    raw(out, spool->total < ACME_SPOOL_COUNT_MAX ? ": " : ": at least ");
    number(out, spool->total);
    raw(out, spool->total == 1 ? " entry" : " entries");
    if (shown < spool->total) {
        raw(out, ", of which this page shows ");
        number(out, shown);
    }
    raw(out, "</p>\n");
    if (shown > 0) {
        spool_entries(out, report, spool);
    }
}

static void pending_section(apr_bucket_brigade *out, const acme_alpn_report_t *report)
{
    int i;

    raw(out, "<h2>Pending challenges</h2>\n");
    if (report->spools->nelts == 0) {
        raw(out, "<p class=dim>No TLS vhost answers from a spool.</p>\n");
    }
    for (i = 0; i < report->spools->nelts; i++) {
        spool_part(out, report, APR_ARRAY_IDX(report->spools, i, acme_alpn_report_spool_t *));
    }
    if (report->spools_total > (apr_size_t)report->spools->nelts) {
        raw(out, "<p class=dim>Spools of the configuration in all: ");
        number(out, report->spools_total);
        raw(out, "</p>\n");
    }
}

static void outcome_cell(apr_bucket_brigade *out, const acme_record_row_t *row)
{
    static const char *const classes[ACME_RECORD_OUTCOMES] = {"good", "bad", "warn"};

    cell(out, "Outcome", "w");
    apr_brigade_printf(out, NULL, NULL, "<b class=%s>%s</b> <span class=dim>%s</span>",
                       classes[row->outcome], acme_record_outcome_name(row->outcome),
                       acme_alpn_outcome_tag(row->outcome));
    if (row->outcome == ACME_RECORD_REFUSED) {
        reason(out, acme_error_slug(row->reason), acme_error_text(row->reason));
    } else if (row->outcome == ACME_RECORD_INCOMPLETE) {
        raw(out, "<p class=warn>");
        text(out, acme_alpn_outcome_end(out->p, row));
        raw(out, "</p>");
    }
}

static void handshake_row(apr_bucket_brigade *out, const acme_record_row_t *row)
{
    raw(out, "<tr>");
    cell(out, "Time", "n");
    text(out, acme_alpn_report_time(out->p, row->ended));
    cell(out, "Name", "w");
    code(out, acme_alpn_report_name(out->p, row));
    outcome_cell(out, row);
    text_cell(out, "Peer", "w", row->peer);
    text_cell(out, "Vhost", "w", acme_text_phrase(out->p, row->vhost));
    text_cell(out, "TLS", "n", row->tls);
    text_cell(out, "Key", "n",
              row->outcome == ACME_RECORD_ANSWERED ? acme_key_name(row->key_type) : "");
    text_cell(out, "Source", "n", acme_alpn_source_name((acme_alpn_source_e)row->source));
    cell(out, "Duration", "n");
    text(out, duration_of(out->p, row->duration));
    raw(out, "</tr>\n");
}

static void handshakes_section(apr_bucket_brigade *out, const acme_alpn_report_t *report)
{
    static const char *const headings[] = {"Time", "Name", "Outcome", "Peer",     "Vhost",
                                           "TLS",  "Key",  "Source",  "Duration", NULL};
    apr_size_t i;

    raw(out, "<h2>Last handshakes</h2>\n");
    if (report->row_count == 0) {
        raw(out,
            "<p class=dim>No client has offered acme-tls/1 yet. If a CA should have, it did "
            "not reach this server.</p>\n");
        return;
    }
    open_table(out, headings);
    for (i = 0; i < report->row_count; i++) {
        handshake_row(out, &report->rows[i]);
    }
    close_table(out);
}

static void count_row(apr_bucket_brigade *out, const char *what, const char *which,
                      apr_uint64_t value)
{
    raw(out, "<tr>");
    cell(out, "What", "");
    text(out, what);
    raw(out, " ");
    text(out, which);
    cell(out, "Count", "");
    number(out, value);
    raw(out, "</tr>\n");
}

static void counters_section(apr_bucket_brigade *out, const acme_alpn_report_t *report)
{
    static const char *const headings[] = {"What", "Count", NULL};
    const acme_record_counts_t *counts = &report->counts;
    int i;

    raw(out, "<h2>Counters since ");
    text(out, acme_alpn_report_time(out->p, counts->since));
    raw(out, "</h2>\n");
    open_table(out, headings);
    for (i = ACME_ALPN_SOURCE_NONE + 1; i < ACME_ALPN_SOURCES; i++) {
        count_row(out, "answered from", acme_alpn_source_name((acme_alpn_source_e)i),
                  counts->answered[i]);
    }
    for (i = 0; i < ACME_ERRORS; i++) {
        if (counts->refused[i] > 0) {
            count_row(out, "refused:", acme_error_slug((acme_error_e)i), counts->refused[i]);
        }
    }
    count_row(out, "incomplete", "", counts->incomplete);
    count_row(out, "certificates minted", "", counts->events[ACME_RECORD_MINTED]);
    count_row(out, "certificates from the cache", "", counts->events[ACME_RECORD_CACHED]);
    count_row(out, "handshakes with other responders", "", counts->events[ACME_RECORD_RELAYS]);
    close_table(out);
}

static void vhost_row(apr_bucket_brigade *out, const acme_alpn_report_vhost_t *vhost)
{
    int i;

    raw(out, "<tr>");
    cell(out, "Vhost", "");
    text(out, vhost->name);
    raw(out, " <span class=dim>");
    text(out, vhost->address);
    raw(out, "</span><p class=dim>");
    text(out, vhost->defined);
    raw(out, "</p>");
    cell(out, "Settings", "");
    for (i = 0; i < vhost->settings->nelts; i++) {
        const acme_alpn_report_item_t *item =
            &APR_ARRAY_IDX(vhost->settings, i, acme_alpn_report_item_t);

        raw(out, "<p>");
        code(out, apr_pstrcat(out->p, item->name, " ", item->value, NULL));
        raw(out, "</p>");
    }
    cell(out, "State", "");
    for (i = 0; i < vhost->problems->nelts; i++) {
        const acme_alpn_report_item_t *item =
            &APR_ARRAY_IDX(vhost->problems, i, acme_alpn_report_item_t);

        reason(out, item->name, item->value);
    }
    raw(out, vhost->problems->nelts > 0 ? "</tr>\n" : "<b class=good>ready</b></tr>\n");
}

static void vhosts_section(apr_bucket_brigade *out, const acme_alpn_report_t *report)
{
    static const char *const headings[] = {"Vhost", "Settings", "State", NULL};
    int i;

    raw(out, "<h2>TLS vhosts</h2>\n<p class=dim>");
    number(out, report->vhosts_total);
    raw(out, " in all, ");
    number(out, report->vhosts_with_problems);
    raw(out, " with something to look at</p>\n");
    open_table(out, headings);
    for (i = 0; i < report->vhosts->nelts; i++) {
        vhost_row(out, APR_ARRAY_IDX(report->vhosts, i, acme_alpn_report_vhost_t *));
    }
    close_table(out);
}

void acme_alpn_report_html(apr_bucket_brigade *out, const acme_alpn_report_t *report)
{
    raw(out, "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>"
             "<meta name=viewport content=\"width=device-width\">"
             "<title>acme-tls/1 on this server</title><style>");
    raw(out, acme_alpn_report_style);
    raw(out, "</style></head><body>\n<h1>acme-tls/1 on this server</h1>\n<p class=dim>");
    text(out, acme_alpn_report_time(out->p, report->now));
    raw(out, ", all children together; the record takes ");
    number(out, report->memory);
    raw(out, " bytes of shared memory</p>\n");
    pending_section(out, report);
    handshakes_section(out, report);
    counters_section(out, report);
    vhosts_section(out, report);
    raw(out, "</body></html>\n");
}
