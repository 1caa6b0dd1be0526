/*
 * All that the status page tells, gathered once for each request; the renderers (HTML, JSON,
 * Prometheus) only write it down. All texts are printable ASCII: what is not, in the name of a
 * file or of a vhost, is percent-encoded.
 */
#ifndef MOD_ACME_ALPN_REPORT_H
#define MOD_ACME_ALPN_REPORT_H

#include <httpd.h>

#include <apr_buckets.h>
#include <apr_hash.h>

#include "acme_record.h"
#include "acme_spool.h"

/* What bounds the page. */
#define ACME_ALPN_REPORT_ENTRIES 200  /* looked at in each spool */
#define ACME_ALPN_REPORT_SPOOLS  64   /* whose entries are listed */
#define ACME_ALPN_REPORT_VHOSTS  1000 /* listed, those with problems first */

/* Each directory once, unless vhosts have different ideas of how old an entry may be. */
typedef struct acme_alpn_report_spool_t {
    apr_interval_time_t max_age;
    acme_error_e state;        /* ACME_OK: it can be answered from */
    const char *unsafe_parent; /* or NULL */
    int is_writable_by_user;   /* it belongs to httpd's User */

    /* of those in report->spools alone */
    const char *directory;
    apr_size_t total;            /* of its entries; see acme_spool_sample */
    apr_array_header_t *entries; /* of acme_spool_entry_t; never NULL */

    struct acme_alpn_report_spool_t *next; /* of the same directory */
} acme_alpn_report_spool_t;

/* A directive that counts for a vhost, or something that is wrong with it. */
typedef struct {
    const char *name; /* the directive's; of a problem: a slug, as in acme_error.h */
    const char *value;
} acme_alpn_report_item_t;

typedef struct {
    const char *name;             /* ServerName */
    const char *address;          /* that it is bound to, such as "*:443" */
    const char *defined;          /* file and line */
    apr_array_header_t *settings; /* of acme_alpn_report_item_t */
    apr_array_header_t *problems; /* of acme_alpn_report_item_t */
} acme_alpn_report_vhost_t;

typedef struct {
    apr_time_t now;
    int has_lists;     /* of rows, entries and vhosts; otherwise they are counted alone */
    apr_size_t memory; /* bytes of shared memory that the record takes */
    acme_record_counts_t counts;
    acme_record_row_t *rows; /* the latest first */
    apr_size_t row_count;
    apr_array_header_t *spools; /* of acme_alpn_report_spool_t * */
    apr_size_t spools_total;
    apr_hash_t *seen;           /* all spools, by their directory */
    apr_array_header_t *vhosts; /* of acme_alpn_report_vhost_t * */
    apr_size_t vhosts_total;
    apr_size_t vhosts_with_problems;
} acme_alpn_report_t;

/* At each start and reload: the TLS vhosts, an array of server_rec *, also those that do not
 * answer acme-tls/1. */
void acme_alpn_report_init(const apr_array_header_t *servers);

/* All but the vhosts. */
acme_alpn_report_t *acme_alpn_report_gather(apr_pool_t *pool, int has_lists);

/* Count the TLS vhosts, and list some of them; there may be many more than are listed. */
void acme_alpn_report_vhosts(acme_alpn_report_t *report);

/* What is known of a server's spool. Allocates from `scratch` what is not in the report. */
const acme_alpn_report_spool_t *acme_alpn_report_spool(acme_alpn_report_t *report,
                                                       const server_rec *server,
                                                       apr_pool_t *scratch);

/* The name of a row as the log writes it: the identifier, or the percent-encoded SNI, or "". */
const char *acme_alpn_report_name(apr_pool_t *pool, const acme_record_row_t *row);

/* RFC 3339, in UTC and seconds. */
const char *acme_alpn_report_time(apr_pool_t *pool, apr_time_t when);

/* How old an entry is, in seconds; negative where it is of the future. */
apr_int64_t acme_alpn_report_age(const acme_alpn_report_t *report,
                                 const acme_spool_entry_t *entry);

/* The renderers. */
void acme_alpn_report_html(apr_bucket_brigade *out, const acme_alpn_report_t *report);
void acme_alpn_report_prometheus(apr_bucket_brigade *out, const acme_alpn_report_t *report);

/* Returns whether there was memory for it. */
int acme_alpn_report_json(apr_bucket_brigade *out, const acme_alpn_report_t *report);

/* The style sheet in the HTML page, whose hash its Content-Security-Policy names. */
extern const char acme_alpn_report_style[];

#endif
