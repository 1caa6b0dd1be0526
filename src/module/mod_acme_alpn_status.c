#include "mod_acme_alpn_status.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <util_filter.h>

#include <openssl/evp.h>

#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_report.h"

APLOG_USE_MODULE(acme_alpn);

#define HANDLER "acme-alpn-status"

typedef enum { FORM_HTML, FORM_JSON, FORM_PROMETHEUS } form_e;

static const char *const content_types[] = {
    [FORM_HTML] = "text/html; charset=utf-8",
    [FORM_JSON] = "application/json",
    [FORM_PROMETHEUS] = "text/plain; version=0.0.4; charset=utf-8",
};

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

/* Only who names JSON, and likes HTML no more, gets it. */
static int status_prefers_json(request_rec *r)
{
    const char *accept = apr_table_get(r->headers_in, "Accept");
    double json = 0, html = 0;
    const char *element;

    while (accept && (element = ap_get_list_item(r->pool, &accept)) != NULL) {
        double its_json = status_quality(element, "application/json");
        double its_html = status_quality(element, "text/html");

        json = its_json >= 0 ? its_json : json;
        html = its_html >= 0 ? its_html : html;
    }
    return json > 0 && json >= html;
}

static form_e status_choose_form(request_rec *r)
{
    if (r->args && strcmp(r->args, "prometheus") == 0) {
        return FORM_PROMETHEUS;
    }
    return status_prefers_json(r) ? FORM_JSON : FORM_HTML;
}

/* Nothing may be loaded, run or sent, and of styles only the page's own counts. */
static const char *status_policy(apr_pool_t *pool)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned char text[2 * EVP_MAX_MD_SIZE];
    unsigned int length = 0;

    EVP_Digest(acme_alpn_report_style, strlen(acme_alpn_report_style), digest, &length,
               EVP_sha256(), NULL);
    EVP_EncodeBlock(text, digest, (int)length);
    return apr_pstrcat(pool, "default-src 'none'; style-src 'sha256-", (const char *)text,
                       "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", NULL);
}

static void status_set_headers(request_rec *r, form_e form)
{
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    apr_table_setn(r->headers_out, "Content-Security-Policy", status_policy(r->pool));
    apr_table_setn(r->headers_out, "Referrer-Policy", "no-referrer");
    if (form != FORM_PROMETHEUS) {
        apr_table_mergen(r->headers_out, "Vary", "Accept");
    }
    ap_set_content_type(r, content_types[form]);
}

static int status_render(apr_bucket_brigade *out, form_e form, const acme_alpn_report_t *report)
{
    switch (form) {
    case FORM_JSON:
        return acme_alpn_report_json(out, report);
    case FORM_PROMETHEUS:
        acme_alpn_report_prometheus(out, report);
        return 1;
    default:
        acme_alpn_report_html(out, report);
        return 1;
    }
}

static int status_respond(request_rec *r, form_e form)
{
    apr_bucket_brigade *out = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    acme_alpn_report_t *report = acme_alpn_report_gather(r->pool, form != FORM_PROMETHEUS);
    apr_off_t length = 0;

    acme_alpn_report_vhosts(report);
    if (!status_render(out, form, report)) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    status_set_headers(r, form);
    apr_brigade_length(out, 1, &length);
    ap_set_content_length(r, length);
    APR_BRIGADE_INSERT_TAIL(out, apr_bucket_eos_create(r->connection->bucket_alloc));
    /* Where that fails the client has gone. */
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
