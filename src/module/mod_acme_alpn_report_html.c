/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report as one HTML page without script and without anything to load. Every text of the
 * document goes through html_get, which escapes it.
 */
#include "mod_acme_alpn_report.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "mod_acme_alpn_outcome.h"

/* On a narrow screen each row of a table is a card, with the headings beside the values. */
static const char html_style[] =
    ":root{color-scheme:light dark;--back:#fff;--fore:#1c2126;--dim:#57606a;--line:#d5dae0;"
    "--card:#f5f7f9;--good:#176f2c;--bad:#b3261e;--warn:#8a5a00}"
    "@media(prefers-color-scheme:dark){:root{--back:#14181c;--fore:#e4e8ec;--dim:#9aa5b1;"
    "--line:#343b43;--card:#1d2329;--good:#6fcf85;--bad:#ff8a80;--warn:#f0bf5c}}"
    "*{box-sizing:border-box}body{margin:0 auto;max-width:80rem;padding:1rem;"
    "background:var(--back);color:var(--fore);font:15px/1.45 system-ui,sans-serif;"
    "overflow-wrap:anywhere}h1{font-size:1.4rem;margin:.2rem 0}h2{font-size:1.1rem;"
    "margin:1.8rem 0 .5rem}p{margin:.4rem 0}.dim{color:var(--dim)}.good{color:var(--good)}"
    ".bad{color:var(--bad)}.warn{color:var(--warn)}b{font-weight:600}nav{display:grid;"
    "grid-template-columns:repeat(auto-fit,minmax(6.4rem,1fr));gap:.6rem;margin:1rem 0}"
    "a{color:var(--fore);padding:.4rem .7rem;background:var(--card);"
    "border:1px solid var(--line);border-left:.25rem solid;border-radius:6px;"
    "text-decoration:none}a b{display:block;font-size:1.5rem;line-height:1.2}"
    "time,time+span{white-space:nowrap}code{font:13px/1.4 ui-monospace,monospace}"
    "table{width:100%;border-collapse:collapse}th,td{padding:.35rem .6rem .35rem 0;"
    "text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}"
    "th{color:var(--dim);font-weight:500;font-size:13px}td{min-width:10.4rem}td p{margin:0}"
    "@media(max-width:52rem){thead{display:none}"
    ".cards,.cards tbody,.cards tr,.cards td{display:block}.cards tr{background:var(--card);"
    "border:1px solid var(--line);border-radius:6px;padding:.4rem .7rem;margin:.6rem 0}"
    "td{min-width:0}.cards td{border:0;padding:.1rem 0 .1rem 5rem;min-height:1.6rem;"
    "position:relative}td:before{content:attr(data-h);position:absolute;left:0;"
    "color:var(--dim);font-size:13px}}";

/* The browser loads, runs and sends nothing. It applies only the style with this SHA-256. */
const char acme_alpn_report_policy[] =
    "default-src 'none'; style-src 'sha256-Fl0CcsvXCPSdk7ei8q0FCdDwzD8oOXv3/E4sf4d36cE='; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

typedef struct {
    const char *heading; /* NULL after the last column */
    void (*render)(apr_bucket_brigade *out, const json_t *row, const char *key);
    const char *key;
} html_column_t;

#define NUMBER             "%" APR_INT64_T_FMT
#define ENGINE_OFF         "engine-off" /* the admin's choice, which is no problem */
#define PROBLEMS_MAX       20           /* listed at the top */
#define html_put(out, ...) apr_brigade_printf(out, NULL, NULL, __VA_ARGS__)

static const char *html_raw(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static const char *html_get(apr_bucket_brigade *out, const json_t *object, const char *key)
{
    return ap_escape_html2(out->p, html_raw(object, key), 1);
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

    html_put(out, "<table role=table class=cards><thead><tr>");
    for (column = columns; column->heading; column++) {
        html_put(out, "<th scope=col>%s</th>", column->heading);
    }
    html_put(out, "</tr></thead><tbody>\n");
    json_array_foreach(rows, i, row) {
        html_put(out, "<tr role=row>");
        for (column = columns; column->heading; column++) {
            html_put(out, "<td role=cell data-h=\"%s\">", column->heading);
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

/* In words, with the exact time beside them. */
static void html_time(apr_bucket_brigade *out, const json_t *object, const char *key)
{
    static const struct {
        apr_int64_t seconds;
        const char *name;
    } units[] = {{24 * 60 * 60, "days"}, {60 * 60, "hours"}, {60, "minutes"}, {1, "seconds"}};
    const char *exact = html_get(out, object, key), *words = "just now";
    apr_int64_t age = html_integer(object, "age_seconds"), size = llabs(age);
    int i = 0;

    while (units[i].seconds > 1 && size < 2 * units[i].seconds) {
        i++;
    }
    if (size > 1) {
        words = apr_psprintf(out->p, NUMBER " %s %s", size / units[i].seconds, units[i].name,
                             age < 0 ? "in the future" : "ago");
    }
    html_put(out, "<time datetime=\"%s\">%s</time> <span class=dim>%s</span>", exact, words,
             exact);
}

static void html_details(apr_bucket_brigade *out, const json_t *handshake, const char *key)
{
    html_put(out, "%s %s %s %.3f ms", html_get(out, handshake, "tls"),
             html_get(out, handshake, "key"), html_get(out, handshake, "source"),
             json_real_value(json_object_get(handshake, key)) * 1000);
}

static void html_reason(apr_bucket_brigade *out, const json_t *object, const char *key)
{
    const char *reason = html_get(out, object, key);

    html_put(out, *reason ? "<p class=%s><b>%s</b>: %s</p>" : "<b class=good>valid</b>",
             strcmp(reason, ENGINE_OFF) != 0 ? "bad" : "dim", reason,
             html_get(out, object, "text"));
}

static void html_name(apr_bucket_brigade *out, const json_t *handshake, const char *key)
{
    html_text(out, handshake, *html_raw(handshake, key) ? key : "sni");
}

/* A refused handshake has a reason and a text, an incomplete one only a text. */
static void html_outcome(apr_bucket_brigade *out, const json_t *handshake, const char *key)
{
    const char *text = html_get(out, handshake, "text");
    const char *class = *html_get(out, handshake, "reason") ? "bad" : *text ? "warn" : "good";

    html_put(out, "<b class=%s>%s</b> <span class=dim>%s</span>", class,
             html_get(out, handshake, key), html_get(out, handshake, "tag"));
    if (*class == 'b') {
        html_reason(out, handshake, "reason");
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

static void html_state(apr_bucket_brigade *out, const json_t *vhost, const char *key)
{
    const json_t *problem;
    size_t i;

    json_array_foreach(json_object_get(vhost, key), i, problem) {
        html_reason(out, problem, "reason");
    }
    if (i == 0) {
        html_put(out, "<b class=good>ready</b>");
    }
}

/* Sections */

/* Each problem once, by its text or its entry's path. An entry that the AcmeAlpnAccount of one
 * vhost refuses is no problem where another vhost with the same spool accepts it. */
static json_t *html_collect_problems(apr_bucket_brigade *out, const json_t *document)
{
    json_t *problems = json_object(), *row;
    const json_t *outer;
    size_t i, j, pass;

    json_array_foreach(json_object_get(document, "vhosts"), i, outer) {
        json_array_foreach(json_object_get(outer, "problems"), j, row) {
            if (strcmp(html_raw(row, "reason"), ENGINE_OFF) != 0) {
                json_object_set(problems, html_raw(row, "text"), row);
            }
        }
    }
    for (pass = 0; pass < 2; pass++) {
        json_array_foreach(json_object_get(document, "spools"), i, outer) {
            json_array_foreach(json_object_get(outer, "entries"), j, row) {
                const char *path = apr_pstrcat(out->p, html_raw(outer, "directory"), "/",
                                               html_raw(row, "identifier"), NULL);

                if (json_is_true(json_object_get(row, "valid"))) {
                    json_object_del(problems, path);
                } else if (pass == 0) {
                    json_object_set_new(problems, path,
                                        json_pack("{s:s, s:s++}", "reason",
                                                  html_raw(row, "reason"), "text", path, ": ",
                                                  html_raw(row, "text")));
                }
            }
        }
    }
    return problems;
}

/* Whether the document has all entries of all spools. */
static int html_has_all_entries(const json_t *document)
{
    const json_t *spools = json_object_get(document, "spools"), *spool;
    apr_int64_t unread = html_integer(document, "spools_total");
    size_t i;

    unread -= (apr_int64_t)json_array_size(spools);
    json_array_foreach(spools, i, spool) {
        unread += html_integer(spool, "total");
        unread -= (apr_int64_t)json_array_size(json_object_get(spool, "entries"));
    }
    return unread == 0;
}

static void html_overview(apr_bucket_brigade *out, const json_t *document)
{
    json_t *problems = html_collect_problems(out, document), *problem;
    int count = (int)json_object_size(problems), shown = 0;
    acme_record_counts_t counts;
    const char *key;

    acme_record_counts(&counts, acme_alpn_record_get());
    html_put(out,
             "<nav aria-label=Summary><a href=\"#problems\" class=%s><b>%d</b> problem%s</a>"
             "<a href=\"#pending\"><b>" NUMBER "</b> pending</a>"
             "<a href=\"#handshakes\"><b>" NUMBER "</b> answered</a>"
             "<a href=\"#handshakes\"><b>" NUMBER "</b> refused</a>"
             "<a href=\"#handshakes\"><b>" NUMBER "</b> incomplete</a>"
             "<a href=\"#vhosts\"><b>" NUMBER "</b> TLS vhosts</a></nav><main>\n%s",
             count > 0 ? "bad" : "good", count, count == 1 ? "" : "s",
             html_integer(document, "pending"), counts.outcomes[ACME_RECORD_ANSWERED],
             counts.outcomes[ACME_RECORD_REFUSED], counts.outcomes[ACME_RECORD_INCOMPLETE],
             html_integer(document, "vhosts_total"),
             count > 0 ? "<h2 id=problems>Problems</h2>\n<p class=dim>messages.md says what "
                         "to do about each.</p>\n"
             : html_has_all_entries(document)
                 ? "<h2 id=problems class=good>Nothing is wrong</h2>\n"
                 : "<h2 id=problems>No problem among the entries that this page read</h2>\n");
    json_object_foreach(problems, key, problem) {
        if (shown++ < PROBLEMS_MAX) {
            html_reason(out, problem, "reason");
        }
    }
    if (shown > PROBLEMS_MAX) {
        html_put(out, "<p>%d more come first in the tables below.</p>\n", count - PROBLEMS_MAX);
    }
    json_decref(problems);
}

static void html_spool(apr_bucket_brigade *out, const json_t *spool)
{
    static const html_column_t columns[] = {{"Name", html_text, "identifier"},
                                            {"State", html_reason, "reason"},
                                            {"Written", html_time, "time"},
                                            {0}};
    const json_t *entries = json_object_get(spool, "entries");
    apr_int64_t shown = (apr_int64_t)json_array_size(entries);
    apr_int64_t total = html_integer(spool, "total");

    html_put(out,
             "<p><code>%s</code> <span class=dim>AcmeAlpnMaxAge " NUMBER
             "s, AcmeAlpnAccount %s</span></p>\n",
             html_get(out, spool, "directory"), html_integer(spool, "max_age_seconds"),
             html_get(out, spool, "accounts"));
    if (!json_is_true(json_object_get(spool, "usable"))) {
        html_reason(out, spool, "reason");
    } else if (shown < total) {
        html_put(out,
                 "<p class=warn>" NUMBER " of %s" NUMBER " entries are not shown: this page "
                 "reads " NUMBER ". <code>acme-alpn list</code> shows all.</p>\n",
                 total - shown,
                 json_is_true(json_object_get(spool, "total_is_exact")) ? "" : "at least ",
                 total, shown);
    } else {
        html_put(out, "<p>Entries: " NUMBER "</p>\n", total);
    }
    if (shown > 0) {
        html_table(out, columns, entries);
    }
}

static void html_pending(apr_bucket_brigade *out, const json_t *document)
{
    apr_int64_t total = html_integer(document, "spools_total");
    const json_t *spool;
    size_t i;

    html_put(out, "<h2 id=pending>Pending challenges</h2>\n");
    json_array_foreach(json_object_get(document, "spools"), i, spool) {
        html_spool(out, spool);
    }
    if (total == 0) {
        html_put(out, "<p class=dim>No TLS vhost answers from a spool.</p>\n");
    } else if (total > (apr_int64_t)i) {
        html_put(out, "<p class=warn>This page shows " NUMBER " of " NUMBER " spools.</p>\n",
                 (apr_int64_t)i, total);
    }
}

static void html_handshakes(apr_bucket_brigade *out, const json_t *document)
{
    static const html_column_t columns[] = {{"When", html_time, "time"},
                                            {"Name", html_name, "identifier"},
                                            {"Outcome", html_outcome, "outcome"},
                                            {"Peer", html_text, "peer"},
                                            {"Vhost", html_text, "vhost"},
                                            {"Details", html_details, "duration_seconds"},
                                            {0}};
    const json_t *handshakes = json_object_get(document, "handshakes");

    html_put(out, "<h2 id=handshakes>Last handshakes</h2>\n");
    if (json_array_size(handshakes) > 0) {
        html_table(out, columns, handshakes);
    } else {
        html_put(out, "<p class=dim>No TLS client has offered acme-tls/1 yet. If a CA tried, "
                      "its connection did not reach this server.</p>\n");
    }
}

/* A row for the number, or for each number of the object. */
static void html_count(apr_bucket_brigade *out, const char *what, json_t *counter)
{
    const char *kind;
    json_t *count;

    if (json_is_integer(counter)) {
        html_put(out, "<tr><td>%s<td>" NUMBER "</tr>\n", what,
                 (apr_int64_t)json_integer_value(counter));
    }
    json_object_foreach(counter, kind, count) {
        html_count(out, apr_pstrcat(out->p, what, " ", kind, NULL), count);
    }
}

static void html_counters(apr_bucket_brigade *out, const json_t *document)
{
    const json_t *counters = json_object_get(document, "counters");

    html_put(out, "<h2 id=counters>Counters</h2>\n<p>Started ");
    html_time(out, document, "since");
    html_put(out, "</p>\n<table><tr><th scope=col>What<th scope=col>Count</tr>\n");
    html_count(out, "answered from", json_object_get(counters, "answered"));
    html_count(out, "refused:", json_object_get(counters, "refused"));
    html_count(out, "incomplete", json_object_get(counters, "incomplete"));
    html_count(out, "certificates minted", json_object_get(counters, "minted"));
    html_count(out, "certificates from the cache", json_object_get(counters, "cached"));
    html_count(out, "handshakes with upstreams", json_object_get(counters, "relays"));
    html_put(out, "</table>\n");
}

void acme_alpn_report_html(apr_bucket_brigade *out, const json_t *document)
{
    static const html_column_t vhost_columns[] = {{"Vhost", html_vhost, "name"},
                                                  {"State", html_state, "problems"},
                                                  {"Settings", html_settings, "settings"},
                                                  {0}};
    const json_t *vhosts = json_object_get(document, "vhosts");

    html_put(out,
             "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>"
             "<meta name=viewport content=\"width=device-width\">"
             "<title>ACME challenges on this server</title><style>%s</style></head><body>\n"
             "<header><h1>ACME challenges on this server</h1>\n<p class=dim>tls-alpn-01, from "
             "all children of httpd, at <time>%s</time></p></header>\n",
             html_style, html_get(out, document, "time"));
    html_overview(out, document);
    html_pending(out, document);
    html_handshakes(out, document);
    html_counters(out, document);
    html_put(out,
             "<h2 id=vhosts>TLS vhosts</h2>\n<p class=dim>" NUMBER " of " NUMBER
             " have a problem or are Off. This page shows " NUMBER ".</p>\n",
             html_integer(document, "vhosts_with_problems"),
             html_integer(document, "vhosts_total"), (apr_int64_t)json_array_size(vhosts));
    html_table(out, vhost_columns, vhosts);
    html_put(out, "</main></body></html>\n");
}
