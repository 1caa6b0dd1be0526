#include "acme-alpn.h"

#include <stdio.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include <jansson.h>

static apr_int64_t age_of(const acme_spool_entry_t *entry, apr_time_t now)
{
    return apr_time_sec(now) - apr_time_sec(entry->written);
}

/* Whoever writes the spool chooses the names, and must not write to this terminal with them. */
static const char *printable(apr_pool_t *pool, const char *name)
{
    char *copy = apr_pstrdup(pool, name), *character;

    for (character = copy; *character; character++) {
        if (!apr_isascii(*character) || !apr_isprint(*character)) {
            *character = '?';
        }
    }
    return copy;
}

static void print_text(apr_pool_t *pool, const apr_array_header_t *entries, apr_time_t now)
{
    int i;

    for (i = 0; i < entries->nelts; i++) {
        const acme_spool_entry_t *entry = &APR_ARRAY_IDX(entries, i, acme_spool_entry_t);

        printf("%-40s %8" APR_INT64_T_FMT " s  %s\n", printable(pool, entry->name),
               age_of(entry, now),
               entry->state == ACME_OK ? "valid" : acme_error_text(entry->state));
    }
}

/* The caller drops the reference. A name that is not UTF-8 cannot be in JSON and is null. */
static json_t *describe(const acme_spool_entry_t *entry, apr_time_t now)
{
    return json_pack("{s:s*, s:I, s:b, s:s, s:s}", "identifier", entry->name, "age",
                     (json_int_t)age_of(entry, now), "valid", entry->state == ACME_OK, "reason",
                     acme_error_slug(entry->state), "text", acme_error_text(entry->state));
}

static int print_json(const char *spool, const apr_array_header_t *entries, apr_time_t now)
{
    json_t *list = json_array(), *document;
    int i, failed;

    for (i = 0; i < entries->nelts; i++) {
        json_array_append_new(list,
                              describe(&APR_ARRAY_IDX(entries, i, acme_spool_entry_t), now));
    }
    document = json_pack("{s:s, s:o}", "spool", spool, "entries", list);
    failed = json_dumpf(document, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    putchar('\n');
    json_decref(document);
    return failed;
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

        printf("%-40s %s  %s\n", printable(pool, entry->name), left,
               entry->state == ACME_OK ? "valid" : acme_error_text(entry->state));
    }
}

static int print_store_json(const char *name, const apr_array_header_t *entries)
{
    json_t *list = json_array(), *document;
    int i, failed;

    for (i = 0; i < entries->nelts; i++) {
        const acme_store_entry_t *entry = &APR_ARRAY_IDX(entries, i, acme_store_entry_t);

        json_array_append_new(
            list,
            json_pack("{s:s*, s:o, s:b, s:s, s:s}", "identifier", entry->name, "expires",
                      entry->left < 0 ? json_null()
                                      : json_integer((json_int_t)seconds_left(entry)),
                      "valid", entry->state == ACME_OK, "reason", acme_error_slug(entry->state),
                      "text", acme_error_text(entry->state)));
    }
    document = json_pack("{s:s, s:o}", "spool", name, "entries", list);
    failed = json_dumpf(document, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    putchar('\n');
    json_decref(document);
    return failed;
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
        return print_store_json(options->store->name, entries) == 0 ? EXIT_PASS : EXIT_FAIL;
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
        return print_json(spool.directory, entries, now) == 0 ? EXIT_PASS : EXIT_FAIL;
    }
    print_text(options->pool, entries, now);
    return EXIT_PASS;
}
