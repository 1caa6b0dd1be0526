/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_status.h"

#include <stdlib.h>
#include <string.h>

#include <ap_expr.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>
#include <mod_status.h>
#include <util_filter.h>
#include <util_script.h>

#include "mod_acme_alpn_outcome.h"
#include "mod_acme_alpn_report.h"

#define HANDLER "acme-alpn-status"

typedef struct {
    const char *content_type;
    void (*render)(apr_bucket_brigade *out, const json_t *document);
} status_form_t;

static void status_json(apr_bucket_brigade *out, const json_t *document)
{
    char *text = json_dumps(document, JSON_INDENT(2) | JSON_PRESERVE_ORDER);

    if (text) {
        apr_brigade_putstrs(out, NULL, NULL, text, "\n", NULL);
        free(text);
    }
}

static const status_form_t status_form_html = {"text/html; charset=utf-8",
                                               acme_alpn_report_html};
static const status_form_t status_form_json = {"application/json", status_json};
static const status_form_t status_form_prometheus = {"text/plain; version=0.0.4; charset=utf-8",
                                                     acme_alpn_report_prometheus};

/* The quality that one element of an Accept header, as ap_get_list_item returns it, gives the
 * type (RFC 9110 section 12.4.2), or -1 where it is about another. */
static double status_quality(const char *element, const char *type)
{
    apr_size_t length = strlen(type);
    const char *parameter;

    if (strncmp(element, type, length) != 0 || (element[length] && element[length] != ';')) {
        return -1;
    }
    parameter = strstr(element + length, ";q=");
    return parameter ? strtod(parameter + 3, NULL) : 1;
}

/* Browsers name text/html. Clients that name none of the types, such as curl, get HTML, too.
 * The first of two types with the same quality wins. Prometheus names only the last three. */
static const status_form_t *status_accepted_form(request_rec *r)
{
    static const struct {
        const char *type;
        const status_form_t *form;
    } types[] = {{"application/json", &status_form_json},
                 {"text/html", &status_form_html},
                 {"text/plain", &status_form_prometheus},
                 {"application/openmetrics-text", &status_form_prometheus},
                 {"application/vnd.google.protobuf", &status_form_prometheus}};
    const status_form_t *form = &status_form_html;
    const char *accept, *element;
    double best = 0;
    size_t i;

    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        accept = apr_table_get(r->headers_in, "Accept");
        while (accept && (element = ap_get_list_item(r->pool, &accept)) != NULL) {
            double quality = status_quality(element, types[i].type);

            if (quality > best) {
                best = quality;
                form = types[i].form;
            }
        }
    }
    return form;
}

/* A parameter of the query, with or without a value, has precedence over the Accept header. */
static const status_form_t *status_choose_form(request_rec *r)
{
    apr_table_t *query;

    ap_args_to_table(r, &query);
    if (apr_table_get(query, "prometheus")) {
        return &status_form_prometheus;
    }
    if (apr_table_get(query, "json")) {
        return &status_form_json;
    }
    apr_table_mergen(r->headers_out, "Vary", "Accept");
    return status_accepted_form(r);
}

static int status_respond(request_rec *r, const status_form_t *form)
{
    apr_bucket_brigade *out = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    json_t *document = acme_alpn_report(r->pool, form != &status_form_prometheus);
    apr_off_t length = 0;

    if (document) {
        form->render(out, document);
        json_decref(document);
    }
    if (APR_BRIGADE_EMPTY(out)) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    apr_table_setn(r->headers_out, "Content-Security-Policy", acme_alpn_report_policy);
    apr_table_setn(r->headers_out, "Referrer-Policy", "no-referrer");
    ap_set_content_type(r, form->content_type);
    apr_brigade_length(out, 1, &length);
    ap_set_content_length(r, length);
    APR_BRIGADE_INSERT_TAIL(out, apr_bucket_eos_create(r->connection->bucket_alloc));
    /* An error means that the client has gone. */
    ap_pass_brigade(r->output_filters, out);
    return OK;
}

int acme_alpn_status_handler(request_rec *r)
{
    if (!r->handler || strcmp(r->handler, HANDLER) != 0) {
        return DECLINED;
    }
    ap_allow_standard_methods(r, REPLACE_ALLOW, M_GET, M_OPTIONS, -1);
    if (r->method_number == M_OPTIONS) {
        apr_table_setn(r->headers_out, "Allow", "GET,HEAD,OPTIONS");
        return OK;
    }
    if (r->method_number != M_GET) {
        return HTTP_METHOD_NOT_ALLOWED;
    }
    return status_respond(r, status_choose_form(r));
}

/* Link to the status page by the path of a Location in this vhost or in the main server. */
static void status_link(request_rec *r)
{
    const core_server_config *core = ap_get_core_module_config(r->server->module_config);
    const char *error, *handler;
    int i;

    for (i = core->sec_url->nelts - 1; i >= 0; i--) {
        const core_dir_config *location =
            ap_get_core_module_config(APR_ARRAY_IDX(core->sec_url, i, ap_conf_vector_t *));

        if (!location->expr_handler || location->r || location->d_is_fnmatch) {
            continue;
        }
        handler = ap_expr_str_exec(r, location->expr_handler, &error);
        if (handler && ap_cstr_casecmp(handler, HANDLER) == 0) {
            ap_rprintf(r, "<p><a href=\"%s\">Handshakes, spools and vhosts</a></p>\n",
                       ap_escape_html(r->pool, ap_escape_uri(r->pool, location->d)));
            return;
        }
    }
}

#define N "%" APR_UINT64_T_FMT

/* Both take the same numbers in the same order. */
static const char status_short[] =
    "AcmeAlpnPending: " N "\nAcmeAlpnAnswered: " N "\nAcmeAlpnRefused: " N
    "\nAcmeAlpnIncomplete: " N "\nAcmeAlpnStoresDown: " N "\nAcmeAlpnVhostsWithProblems: " N
    "\nAcmeAlpnVhosts: " N "\n";
static const char status_section[] =
    "<hr>\n<h3>ACME challenges (mod_acme_alpn)</h3>\n<dl>\n<dt>Pending: " N "</dt>\n"
    "<dt>Handshakes answered: " N " - refused: " N " - incomplete: " N "</dt>\n"
    "<dt>Stores that fail: " N "</dt>\n<dt>TLS vhosts with problems: " N " of " N "</dt>\n"
    "</dl>\n";

int acme_alpn_status_section(request_rec *r, int flags)
{
    json_int_t pending = 0, spools = 0, down = 0, bad = 0, all = 0;
    json_t *document = acme_alpn_report(r->pool, 0);
    int is_short = flags & AP_STATUS_SHORT;
    acme_record_counts_t counts;

    json_unpack(document, "{s:I, s:I, s:I, s:I, s:I}", "pending", &pending, "spools_total",
                &spools, "stores_down", &down, "vhosts_with_problems", &bad, "vhosts_total",
                &all);
    json_decref(document);
    /* Monitors get the same lines from every server. The page gets no section of zeros. */
    if (is_short || spools > 0) {
        acme_record_counts(&counts, acme_alpn_record_get());
        ap_rprintf(r, is_short ? status_short : status_section, (apr_uint64_t)pending,
                   counts.outcomes[ACME_RECORD_ANSWERED], counts.outcomes[ACME_RECORD_REFUSED],
                   counts.outcomes[ACME_RECORD_INCOMPLETE], (apr_uint64_t)down,
                   (apr_uint64_t)bad, (apr_uint64_t)all);
        if (!is_short) {
            status_link(r);
        }
    }
    return OK;
}
