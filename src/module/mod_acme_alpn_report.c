#include "mod_acme_alpn_report.h"

#include <unistd.h>

#include <apr_strings.h>

#include <http_config.h>
#include <unixd.h>

#include "acme_text.h"
#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_record.h"

const char *acme_alpn_report_name(apr_pool_t *pool, const acme_record_row_t *row)
{
    return row->is_identifier ? row->name : acme_text_word(pool, row->name);
}

const char *acme_alpn_report_time(apr_pool_t *pool, apr_time_t when)
{
    apr_time_exp_t parts;

    apr_time_exp_gmt(&parts, when);
    return apr_psprintf(pool, "%04d-%02d-%02dT%02d:%02d:%02dZ", parts.tm_year + 1900,
                        parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min,
                        parts.tm_sec);
}

apr_int64_t acme_alpn_report_age(const acme_alpn_report_t *report,
                                 const acme_spool_entry_t *entry)
{
    return apr_time_sec(report->now) - apr_time_sec(entry->written);
}

static void list_entries(apr_pool_t *pool, const acme_alpn_report_t *report,
                         acme_alpn_report_spool_t *made, const acme_spool_t *spool)
{
    apr_size_t most = report->has_lists ? ACME_ALPN_REPORT_ENTRIES : 0;
    int i;

    made->state =
        acme_spool_sample(pool, &made->entries, &made->total, spool, most, report->now);
    for (i = 0; i < made->entries->nelts; i++) {
        acme_spool_entry_t *entry = &APR_ARRAY_IDX(made->entries, i, acme_spool_entry_t);

        entry->name = acme_text_phrase(pool, entry->name);
    }
}

/* In a child, which is httpd's User, so it is opened as a handshake opens it. */
static acme_error_e look_at(const char *directory, uid_t *owner)
{
    struct stat status;
    int fd;
    acme_error_e error = acme_spool_open(&fd, &status, directory);

    if (error == ACME_OK) {
        *owner = status.st_uid;
        close(fd);
    }
    return error;
}

/* `scratch` is for what is not in the report. */
static acme_alpn_report_spool_t *describe_spool(apr_pool_t *pool, apr_pool_t *scratch,
                                                const acme_spool_t *spool)
{
    acme_alpn_report_spool_t *made = apr_pcalloc(pool, sizeof(*made));
    uid_t owner = 0;

    made->max_age = spool->max_age;
    made->state = look_at(spool->directory, &owner);
    if (made->state == ACME_OK) {
        const char *parent = acme_spool_unsafe_parent(scratch, spool->directory);

        made->unsafe_parent = parent ? acme_text_phrase(pool, parent) : NULL;
        made->is_writable_by_user = owner != 0 && owner == ap_unixd_config.user_id;
    }
    return made;
}

static void list_spool(apr_pool_t *pool, acme_alpn_report_t *report,
                       acme_alpn_report_spool_t *made, const acme_spool_t *spool)
{
    made->directory = acme_text_phrase(pool, spool->directory);
    made->entries = apr_array_make(pool, 1, sizeof(acme_spool_entry_t));
    if (made->state == ACME_OK) {
        list_entries(pool, report, made, spool);
    }
    APR_ARRAY_PUSH(report->spools, acme_alpn_report_spool_t *) = made;
}

const acme_alpn_report_spool_t *acme_alpn_report_spool(acme_alpn_report_t *report,
                                                       const server_rec *server,
                                                       apr_pool_t *scratch)
{
    acme_spool_t spool = acme_alpn_server_spool(server);
    acme_alpn_report_spool_t *first =
        apr_hash_get(report->seen, spool.directory, APR_HASH_KEY_STRING);
    acme_alpn_report_spool_t *made = first;
    apr_pool_t *pool = report->spools->pool;

    while (made && made->max_age != spool.max_age) {
        made = made->next;
    }
    if (!made) {
        made = describe_spool(pool, scratch, &spool);
        made->next = first;
        apr_hash_set(report->seen, spool.directory, APR_HASH_KEY_STRING, made);
        report->spools_total++;
        if (report->spools->nelts < ACME_ALPN_REPORT_SPOOLS) {
            list_spool(pool, report, made, &spool);
        }
    }
    return made;
}

acme_alpn_report_t *acme_alpn_report_gather(apr_pool_t *pool, int has_lists)
{
    acme_alpn_report_t *report = apr_pcalloc(pool, sizeof(*report));
    const acme_record_t *record = acme_alpn_record_get();

    report->now = apr_time_now();
    report->has_lists = has_lists;
    report->memory = acme_record_size();
    acme_record_counts(&report->counts, record);
    if (has_lists) {
        report->rows = apr_palloc(pool, ACME_RECORD_ROWS * sizeof(*report->rows));
        report->row_count = acme_record_read(report->rows, record);
    }
    report->seen = apr_hash_make(pool);
    report->spools = apr_array_make(pool, 4, sizeof(acme_alpn_report_spool_t *));
    report->vhosts = apr_array_make(pool, 8, sizeof(acme_alpn_report_vhost_t *));
    return report;
}
