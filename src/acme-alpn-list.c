#include "acme-alpn.h"

#include <stdio.h>

#include <apr_strings.h>

static apr_int64_t age_of(const acme_spool_entry_t *entry, apr_time_t now)
{
    return apr_time_sec(now) - apr_time_sec(entry->written);
}

static void print_text(apr_pool_t *pool, const apr_array_header_t *entries, apr_time_t now)
{
    int i;

    for (i = 0; i < entries->nelts; i++) {
        const acme_spool_entry_t *entry = &APR_ARRAY_IDX(entries, i, acme_spool_entry_t);

        printf("%-40s %8" APR_INT64_T_FMT " s  %s\n", acme_alpn_printable(pool, entry->name),
               age_of(entry, now),
               entry->state == ACME_OK ? "valid" : acme_error_text(entry->state));
    }
}

/* The caller drops the reference. */
static json_t *describe(apr_pool_t *pool, const acme_spool_entry_t *entry, apr_time_t now)
{
    return json_pack("{s:o, s:I, s:b, s:s, s:s}", "identifier",
                     acme_alpn_json_text(pool, entry->name), "age",
                     (json_int_t)age_of(entry, now), "valid", entry->state == ACME_OK, "reason",
                     acme_error_slug(entry->state), "text", acme_error_text(entry->state));
}

/* Whether all of it was written. */
static int print_json(apr_pool_t *pool, const char *spool, const apr_array_header_t *entries,
                      apr_time_t now)
{
    json_t *list = json_array();
    int i;

    for (i = 0; i < entries->nelts; i++) {
        json_array_append_new(
            list, describe(pool, &APR_ARRAY_IDX(entries, i, acme_spool_entry_t), now));
    }
    return acme_alpn_print_json(
        json_pack("{s:o, s:o}", "spool", acme_alpn_json_text(pool, spool), "entries", list));
}

static apr_int64_t seconds_left(const acme_store_entry_t *entry)
{
    return entry->left < 0 ? -1 : (apr_int64_t)apr_time_sec(entry->left);
}

static void print_store_text(apr_pool_t *pool, const apr_array_header_t *entries)
{
    int i;

    for (i = 0; i < entries->nelts; i++) {
        const acme_store_entry_t *entry = &APR_ARRAY_IDX(entries, i, acme_store_entry_t);
        const char *left =
            entry->left < 0
                ? "never expires"
                : apr_psprintf(pool, "expires in %" APR_INT64_T_FMT " s", seconds_left(entry));

        printf("%-40s %s  %s\n", acme_alpn_printable(pool, entry->name), left,
               entry->state == ACME_OK ? "valid" : acme_error_text(entry->state));
    }
}

/* The caller drops the reference. */
static json_t *describe_stored(apr_pool_t *pool, const acme_store_entry_t *entry)
{
    return json_pack("{s:o, s:o, s:b, s:s, s:s}", "identifier",
                     acme_alpn_json_text(pool, entry->name), "expires",
                     entry->left < 0 ? json_null()
                                     : json_integer((json_int_t)seconds_left(entry)),
                     "valid", entry->state == ACME_OK, "reason", acme_error_slug(entry->state),
                     "text", acme_error_text(entry->state));
}

/* Whether all of it was written. */
static int print_store_json(apr_pool_t *pool, const char *name,
                            const apr_array_header_t *entries)
{
    json_t *list = json_array();
    int i;

    for (i = 0; i < entries->nelts; i++) {
        json_array_append_new(
            list, describe_stored(pool, &APR_ARRAY_IDX(entries, i, acme_store_entry_t)));
    }
    return acme_alpn_print_json(
        json_pack("{s:o, s:o}", "spool", acme_alpn_json_text(pool, name), "entries", list));
}

static exit_e list_store(const acme_alpn_options_t *options)
{
    acme_store_connection_t *connection;
    apr_array_header_t *entries;
    acme_store_call_t call;
    exit_e code = acme_alpn_connect(&connection, &call, options);
    acme_error_e error;

    if (code != EXIT_PASS) {
        return code;
    }
    error = acme_store_list(options->pool, &entries, connection, &call);
    acme_store_close(connection);
    if (error != ACME_OK) {
        return acme_alpn_complain_store(&call, error);
    }
    if (options->json) {
        return print_store_json(options->pool, options->store->name, entries) ? EXIT_PASS
                                                                              : EXIT_FAIL;
    }
    print_store_text(options->pool, entries);
    return EXIT_PASS;
}

exit_e acme_alpn_list(const acme_alpn_options_t *options)
{
    acme_spool_t spool = acme_alpn_spool(options);
    apr_time_t now = apr_time_now();
    apr_array_header_t *entries;
    acme_error_e error;

    if (options->store) {
        return list_store(options);
    }
    error = acme_spool_list(options->pool, &entries, &spool, now);
    if (error != ACME_OK) {
        return acme_alpn_complain_spool(spool.directory, error);
    }
    if (options->json) {
        return print_json(options->pool, spool.directory, entries, now) ? EXIT_PASS : EXIT_FAIL;
    }
    print_text(options->pool, entries, now);
    return EXIT_PASS;
}
