/* SPDX-License-Identifier: Apache-2.0 */
#include "acme-alpn.h"

#include <stdio.h>

#include <apr_strings.h>

#include "acme_text.h"

/* Prints an entry, or appends it to the JSON's list. `time` is the text and `seconds` the
 * number of `key`, "age" or "expires"; NULL: the entry never expires. */
static void list_show(const acme_alpn_options_t *options, json_t *list, const char *name,
                      const char *account, acme_error_e state, const char *time,
                      const char *key, const apr_int64_t *seconds)
{
    if (!options->json) {
        printf("%-40s %s  %-43s  %s\n", name, time, *account ? account : "-",
               state == ACME_OK ? "valid" : acme_error_text(state));
        return;
    }
    json_array_append_new(
        list, json_pack("{s:s, s:o, s:s?, s:b, s:s, s:s}", "identifier", name, key,
                        seconds ? json_integer((json_int_t)*seconds) : json_null(), "account",
                        *account ? account : NULL, "valid", state == ACME_OK, "reason",
                        acme_error_slug(state), "text", acme_error_text(state)));
}

static exit_e list_store(json_t *list, const acme_alpn_options_t *options)
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
        code = acme_alpn_complain_spool(options->store->name, call.detail, error);
        acme_alpn_complain("the list is incomplete");
    }
    for (i = 0; i < entries->nelts; i++) {
        const acme_store_entry_t *entry = &APR_ARRAY_IDX(entries, i, acme_store_entry_t);
        const char *name = acme_text_word(options->pool, entry->name);
        apr_int64_t left = apr_time_sec(entry->left);
        const char *time =
            entry->left < 0
                ? "never expires"
                : apr_psprintf(options->pool, "expires in %" APR_INT64_T_FMT " s", left);

        if (entry->state == ACME_STORE_KEY_REFUSED) {
            code = acme_alpn_complain_spool(name, entry->detail, entry->state);
        } else {
            list_show(options, list, name, entry->account, entry->state, time, "expires",
                      entry->left < 0 ? NULL : &left);
        }
    }
    return code;
}

static exit_e list_spool(json_t *list, const acme_alpn_options_t *options)
{
    apr_time_t now = apr_time_now();
    apr_array_header_t *entries;
    apr_size_t total;
    acme_error_e error =
        acme_spool_list(options->pool, &entries, &total, &options->spool, APR_SIZE_MAX, now);
    int i;

    if (error != ACME_OK) {
        return acme_alpn_complain_spool(options->spool.directory, "", error);
    }
    for (i = 0; i < entries->nelts; i++) {
        const acme_spool_entry_t *entry = &APR_ARRAY_IDX(entries, i, acme_spool_entry_t);
        apr_int64_t age = apr_time_sec(now) - apr_time_sec(entry->written);
        const char *time = apr_psprintf(options->pool, "%8" APR_INT64_T_FMT " s", age);

        list_show(options, list, acme_text_word(options->pool, entry->name), entry->account,
                  entry->state, time, "age", &age);
    }
    return EXIT_PASS;
}

exit_e acme_alpn_list(const acme_alpn_options_t *options)
{
    json_t *list = json_array();
    exit_e code = options->store ? list_store(list, options) : list_spool(list, options);
    const char *spool = options->store ? options->store->name : options->spool.directory;

    if (!options->json || (code != EXIT_PASS && json_array_size(list) == 0)) {
        json_decref(list);
        return code;
    }
    spool = acme_text_phrase(options->pool, spool);
    return acme_alpn_print_json(json_pack("{s:s, s:o}", "spool", spool, "entries", list))
               ? code
               : EXIT_FAIL;
}
