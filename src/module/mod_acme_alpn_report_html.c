/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report as one HTML page without script and without anything to load. Every text of the
 * document goes through html_get, which escapes it.
 */
#include "mod_acme_alpn_report.h"

#include <stdlib.h>

#include <apr_strings.h>

/* On a narrow screen each row of a table is a card, with the headings beside the values. */
static const char html_style[] =
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

/* Nothing may be loaded, run or sent, and of styles only this one (by its SHA-256) counts. */
const char acme_alpn_report_policy[] =
    "default-src 'none'; style-src 'sha256-iTtEPBDnkF+k4xZxQwD0+1GMpu4Vu+VgT62wbteSR5o='; "
    "base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'";

typedef struct {
    const char *heading; /* NULL after the last column */
    const char *classes;
    void (*render)(apr_bucket_brigade *out, const json_t *row, const char *key);
    const char *key; /* of the row's value, where that is all that the cell shows */
} html_column_t;

#define NUMBER "%" APR_INT64_T_FMT

#define html_put(out, ...) apr_brigade_printf(out, NULL, NULL, __VA_ARGS__)

/* Also of null: "". */
static const char *html_get(apr_bucket_brigade *out, const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? ap_escape_html2(out->p, text, 1) : "";
}

static apr_int64_t html_integer(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void html_table(apr_bucket_brigade *out, const html_column_t *columns,
                       const json_t *rows)
{
    const html_column_t *column;
    const json_t *row;
    size_t i;

    html_put(out, "<table><thead><tr>");
    for (column = columns; column->heading; column++) {
        html_put(out, "<th>%s</th>", column->heading);
    }
    html_put(out, "</tr></thead><tbody>\n");
    json_array_foreach(rows, i, row) {
        html_put(out, "<tr>");
        for (column = columns; column->heading; column++) {
            html_put(out, "<td data-h=\"%s\" class=\"%s\">", column->heading, column->classes);
            column->render(out, row, column->key);
        }
        html_put(out, "</tr>\n");
    }
    html_put(out, "</tbody></table>\n");
}

/* Cells */

static void html_text(apr_bucket_brigade *out, const json_t *row, const char *key)
{
    const char *text = html_get(out, row, key);

    html_put(out, "%s", *text ? text : "-");
}

static void html_code(apr_bucket_brigade *out, const json_t *row, const char *key)
{
    html_put(out, "<code>");
    html_text(out, row, key);
    html_put(out, "</code>");
}

static void html_age(apr_bucket_brigade *out, const json_t *row, const char *key)
{
    static const struct {
        apr_int64_t seconds;
        const char *name;
    } units[] = {{24 * 60 * 60, "d"}, {60 * 60, "h"}, {60, "min"}, {1, "s"}};
    apr_int64_t age = html_integer(row, key);
    int i = 0;

    while (units[i].seconds > 1 && llabs(age) < 2 * units[i].seconds) {
        i++;
    }
    html_put(out, NUMBER " %s", age / units[i].seconds, units[i].name);
}

static void html_duration(apr_bucket_brigade *out, const json_t *row, const char *key)
{
    html_put(out, "%.3f ms", json_real_value(json_object_get(row, key)) * 1000);
}

/* A slug that can be looked up, and what it means. */
static void html_reason(apr_bucket_brigade *out, const json_t *object)
{
    html_put(out, "<p class=bad><b>%s</b>: %s</p>", html_get(out, object, "reason"),
             html_get(out, object, "text"));
}

static void html_validity(apr_bucket_brigade *out, const json_t *entry, const char *key)
{
    if (json_is_true(json_object_get(entry, key))) {
        html_put(out, "<b class=good>valid</b>");
    } else {
        html_reason(out, entry);
    }
}

static void html_name(apr_bucket_brigade *out, const json_t *handshake, const char *key)
{
    html_code(out, handshake, *html_get(out, handshake, key) ? key : "sni");
}

/* There is a reason where it was refused, and a text alone where it is incomplete. */
static void html_outcome(apr_bucket_brigade *out, const json_t *handshake, const char *key)
{
    const char *text = html_get(out, handshake, "text");
    const char *class = *html_get(out, handshake, "reason") ? "bad" : *text ? "warn" : "good";

    html_put(out, "<b class=%s>%s</b> <span class=dim>%s</span>", class,
             html_get(out, handshake, key), html_get(out, handshake, "tag"));
    if (*class == 'b') {
        html_reason(out, handshake);
    } else if (*text) {
        html_put(out, "<p class=warn>%s</p>", text);
    }
}

static void html_vhost(apr_bucket_brigade *out, const json_t *vhost, const char *key)
{
    html_put(out, "%s <span class=dim>%s</span><p class=dim>%s</p>", html_get(out, vhost, key),
             html_get(out, vhost, "address"), html_get(out, vhost, "defined"));
}

static void html_settings(apr_bucket_brigade *out, const json_t *vhost, const char *key)
{
    const json_t *setting;
    size_t i;

    json_array_foreach(json_object_get(vhost, key), i, setting) {
        html_put(out, "<p><code>%s %s</code></p>", html_get(out, setting, "directive"),
                 html_get(out, setting, "value"));
    }
}

static void html_problems(apr_bucket_brigade *out, const json_t *vhost, const char *key)
{
    const json_t *problem;
    size_t i;

    json_array_foreach(json_object_get(vhost, key), i, problem) {
        html_reason(out, problem);
    }
    if (i == 0) {
        html_put(out, "<b class=good>ready</b>");
    }
}

/* Sections */

static void html_spool(apr_bucket_brigade *out, const json_t *spool)
{
    static const html_column_t columns[] = {{"Identifier", "", html_code, "identifier"},
                                            {"Age", "n", html_age, "age_seconds"},
                                            {"Source", "n", html_text, "source"},
                                            {"State", "", html_validity, "valid"},
                                            {0}};
    const json_t *entries = json_object_get(spool, "entries");
    apr_int64_t shown = (apr_int64_t)json_array_size(entries);
    apr_int64_t total = html_integer(spool, "total");

    html_put(out, "<p><code>%s</code> (accounts: %s)", html_get(out, spool, "directory"),
             html_get(out, spool, "accounts"));
    if (!json_is_true(json_object_get(spool, "usable"))) {
        html_put(out, "</p>");
        html_reason(out, spool);
        return;
    }
    html_put(out, ": %s" NUMBER " %s",
             json_is_true(json_object_get(spool, "total_is_exact")) ? "" : "at least ", total,
             total == 1 ? "entry" : "entries");
    if (shown < total) {
        html_put(out, ", of which this page shows " NUMBER, shown);
    }
    html_put(out, "</p>\n");
    if (shown > 0) {
        html_table(out, columns, entries);
    }
}

static void html_pending(apr_bucket_brigade *out, const json_t *document)
{
    apr_int64_t total = html_integer(document, "spools_total");
    const json_t *spool;
    size_t i;

    html_put(out, "<h2>Pending challenges</h2>\n");
    json_array_foreach(json_object_get(document, "spools"), i, spool) {
        html_spool(out, spool);
    }
    if (total == 0) {
        html_put(out, "<p class=dim>No TLS vhost answers from a spool.</p>\n");
    } else if (total > (apr_int64_t)i) {
        html_put(out, "<p class=dim>Spools of the configuration in all: " NUMBER "</p>\n",
                 total);
    }
}

static void html_handshakes(apr_bucket_brigade *out, const json_t *document)
{
    static const html_column_t columns[] = {
        {"Time", "n", html_text, "time"},
        {"Name", "w", html_name, "identifier"},
        {"Outcome", "w", html_outcome, "outcome"},
        {"Peer", "w", html_text, "peer"},
        {"Vhost", "w", html_text, "vhost"},
        {"TLS", "n", html_text, "tls"},
        {"Key", "n", html_text, "key"},
        {"Source", "n", html_text, "source"},
        {"Duration", "n", html_duration, "duration_seconds"},
        {0}};
    const json_t *handshakes = json_object_get(document, "handshakes");

    html_put(out, "<h2>Last handshakes</h2>\n");
    if (json_array_size(handshakes) > 0) {
        html_table(out, columns, handshakes);
    } else {
        html_put(out, "<p class=dim>No client has offered acme-tls/1 yet. If a CA should have, "
                      "it did not reach this server.</p>\n");
    }
}

/* A row for the number, or for each number of the object. */
static void html_count(apr_bucket_brigade *out, const char *what, json_t *counter)
{
    const char *kind;
    json_t *count;

    if (json_is_integer(counter)) {
        html_put(out,
                 "<tr><td data-h=\"What\" class=\"\">%s<td data-h=\"Count\" class=\"\">" NUMBER
                 "</tr>\n",
                 what, (apr_int64_t)json_integer_value(counter));
    }
    json_object_foreach(counter, kind, count) {
        html_count(out, apr_pstrcat(out->p, what, " ", kind, NULL), count);
    }
}

static void html_counters(apr_bucket_brigade *out, const json_t *document)
{
    const json_t *counters = json_object_get(document, "counters");

    html_put(out,
             "<h2>Counters since %s</h2>\n<table><thead><tr><th>What</th><th>Count</th>"
             "</tr></thead><tbody>\n",
             html_get(out, document, "since"));
    html_count(out, "answered from", json_object_get(counters, "answered"));
    html_count(out, "refused:", json_object_get(counters, "refused"));
    html_count(out, "incomplete", json_object_get(counters, "incomplete"));
    html_count(out, "certificates minted", json_object_get(counters, "minted"));
    html_count(out, "certificates from the cache", json_object_get(counters, "cached"));
    html_count(out, "handshakes with other responders", json_object_get(counters, "relays"));
    html_put(out, "</tbody></table>\n");
}

void acme_alpn_report_html(apr_bucket_brigade *out, const json_t *document)
{
    static const html_column_t vhost_columns[] = {{"Vhost", "", html_vhost, "name"},
                                                  {"Settings", "", html_settings, "settings"},
                                                  {"State", "", html_problems, "problems"},
                                                  {0}};

    html_put(out,
             "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>"
             "<meta name=viewport content=\"width=device-width\">"
             "<title>acme-tls/1 on this server</title><style>%s</style></head><body>\n"
             "<h1>acme-tls/1 on this server</h1>\n<p class=dim>%s, all children together; "
             "the record takes " NUMBER " bytes of shared memory</p>\n",
             html_style, html_get(out, document, "time"),
             html_integer(document, "shared_memory_bytes"));
    html_pending(out, document);
    html_handshakes(out, document);
    html_counters(out, document);
    html_put(out,
             "<h2>TLS vhosts</h2>\n<p class=dim>" NUMBER " in all, " NUMBER
             " with something to look at</p>\n",
             html_integer(document, "vhosts_total"),
             html_integer(document, "vhosts_with_problems"));
    html_table(out, vhost_columns, json_object_get(document, "vhosts"));
    html_put(out, "</body></html>\n");
}
