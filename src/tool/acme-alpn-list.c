/* SPDX-License-Identifier: Apache-2.0 */
#include "acme-alpn.h"

#include <stdio.h>

#include <apr_strings.h>

#include "acme_text.h"

/* An entry of the spool or of a store, as it is printed. */
typedef struct {
    const char *name;
    acme_error_e state;
    const char *time; /* in words */
    const char *key;  /* of the JSON's number of seconds: "age" or "expires" */
    apr_int64_t seconds;
    int has_seconds;
} list_row_t;

static void list_print_text(const apr_array_header_t *rows)
{
    int i;

    for (i = 0; i < rows->nelts; i++) {
        const list_row_t *row = &APR_ARRAY_IDX(rows, i, list_row_t);

        printf("%-40s %s  %s\n", row->name, row->time,
               row->state == ACME_OK ? "valid" : acme_error_text(row->state));
    }
}

/* Whether all of it was written. */
static int list_print_json(apr_pool_t *pool, const char *spool, const apr_array_header_t *rows)
{
    json_t *list = json_array();
    int i;

    for (i = 0; i < rows->nelts; i++) {
        const list_row_t *row = &APR_ARRAY_IDX(rows, i, list_row_t);

        json_array_append_new(
            list,
            json_pack("{s:s, s:o, s:b, s:s, s:s}", "identifier", row->name, row->key,
                      row->has_seconds ? json_integer((json_int_t)row->seconds) : json_null(),
                      "valid", row->state == ACME_OK, "reason", acme_error_slug(row->state),
                      "text", acme_error_text(row->state)));
    }
    return acme_alpn_print_json(
        json_pack("{s:s, s:o}", "spool", acme_text_phrase(pool, spool), "entries", list));
}

static exit_e list_store(apr_array_header_t *rows, const acme_alpn_options_t *options)
{
    acme_store_connection_t *connection;
    apr_array_header_t *entries;
    acme_store_call_t call;
    exit_e code = acme_alpn_connect(&connection, &call, options);
    acme_error_e error;
    int i;

    if (code != EXIT_PASS) {
        return code;
    }
    error = acme_store_list(options->pool, &entries, connection, &call);
    acme_store_close(connection);
    if (error != ACME_OK) {
        return acme_alpn_complain_store(&call, error);
    }
    for (i = 0; i < entries->nelts; i++) {
        const acme_store_entry_t *entry = &APR_ARRAY_IDX(entries, i, acme_store_entry_t);
        apr_int64_t left = apr_time_sec(entry->left);
        list_row_t row = {acme_text_word(options->pool, entry->name),
                          entry->state,
                          "never expires",
                          "expires",
                          left,
                          entry->left >= 0};

        if (row.has_seconds) {
            row.time = apr_psprintf(options->pool, "expires in %" APR_INT64_T_FMT " s", left);
        }
        APR_ARRAY_PUSH(rows, list_row_t) = row;
    }
    return EXIT_PASS;
}

static exit_e list_spool(apr_array_header_t *rows, const acme_alpn_options_t *options)
{
    acme_spool_t spool = acme_alpn_spool(options);
    apr_time_t now = apr_time_now();
    apr_array_header_t *entries;
    acme_error_e error = acme_spool_list(options->pool, &entries, &spool, now);
    int i;

    if (error != ACME_OK) {
        return acme_alpn_complain_spool(spool.directory, error);
    }
    for (i = 0; i < entries->nelts; i++) {
        const acme_spool_entry_t *entry = &APR_ARRAY_IDX(entries, i, acme_spool_entry_t);
        apr_int64_t age = apr_time_sec(now) - apr_time_sec(entry->written);
        list_row_t row = {acme_text_word(options->pool, entry->name),
                          entry->state,
                          apr_psprintf(options->pool, "%8" APR_INT64_T_FMT " s", age),
                          "age",
                          age,
                          1};

        APR_ARRAY_PUSH(rows, list_row_t) = row;
    }
    return EXIT_PASS;
}

exit_e acme_alpn_list(const acme_alpn_options_t *options)
{
    apr_array_header_t *rows = apr_array_make(options->pool, 8, sizeof(list_row_t));
    exit_e code = options->store ? list_store(rows, options) : list_spool(rows, options);
    const char *spool = options->store ? options->store->name : options->spool;

    if (code != EXIT_PASS) {
        return code;
    }
    if (options->json) {
        return list_print_json(options->pool, spool, rows) ? EXIT_PASS : EXIT_FAIL;
    }
    list_print_text(rows);
    return EXIT_PASS;
}
