#include "mod_acme_alpn_report.h"

#include <string.h>

#include <apr_hash.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include <http_config.h>
#include <unixd.h>

#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_record.h"
#include "mod_acme_alpn_store.h"
#include "mod_acme_alpn_upstream.h"

static const apr_array_header_t *tls_servers;

void acme_alpn_report_init(const apr_array_header_t *servers)
{
    tls_servers = servers;
}

static int is_plain(char byte)
{
    return byte >= ' ' && byte <= '~' && byte != '%';
}

const char *acme_alpn_report_printable(apr_pool_t *pool, const char *text)
{
    char *made = apr_palloc(pool, 3 * strlen(text) + 1), *to = made;

    for (; *text; text++) {
        if (is_plain(*text)) {
            *to++ = *text;
        } else {
            to += apr_snprintf(to, 4, "%%%02x", (unsigned int)(unsigned char)*text);
        }
    }
    *to = '\0';
    return made;
}

const char *acme_alpn_report_name(apr_pool_t *pool, const acme_record_row_t *row)
{
    return row->is_identifier ? row->name : ap_escape_urlencoded(pool, row->name);
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

static void add_item(apr_array_header_t *items, const char *name, const char *value)
{
    acme_alpn_report_item_t *item = apr_array_push(items);

    item->name = name;
    item->value = acme_alpn_report_printable(items->pool, value);
}

void acme_alpn_report_setting(acme_alpn_report_vhost_t *vhost, const char *directive,
                              const char *value)
{
    add_item(vhost->settings, directive, value);
}

void acme_alpn_report_problem(acme_alpn_report_vhost_t *vhost, const char *slug,
                              const char *text)
{
    add_item(vhost->problems, slug, text);
}

static void list_entries(apr_pool_t *pool, acme_alpn_report_spool_t *made,
                         const acme_spool_t *spool, apr_time_t now)
{
    int i;

    made->state = acme_spool_sample(pool, &made->entries, &made->total, spool,
                                    ACME_ALPN_REPORT_ENTRIES, now);
    for (i = 0; i < made->entries->nelts; i++) {
        acme_spool_entry_t *entry = &APR_ARRAY_IDX(made->entries, i, acme_spool_entry_t);

        entry->name = acme_alpn_report_printable(pool, entry->name);
    }
}

static acme_alpn_report_spool_t *describe_spool(apr_pool_t *pool, const acme_spool_t *spool,
                                                int is_listed, apr_time_t now)
{
    acme_alpn_report_spool_t *made = apr_pcalloc(pool, sizeof(*made));
    uid_t owner = 0;

    made->directory = acme_alpn_report_printable(pool, spool->directory);
    made->entry_age = spool->entry_age;
    made->entries = apr_array_make(pool, 1, sizeof(acme_spool_entry_t));
    made->state = acme_spool_check(spool->directory, ap_unixd_config.user_id,
                                   ap_unixd_config.group_id, &owner);
    if (made->state == ACME_OK) {
        const char *parent = acme_spool_unsafe_parent(pool, spool->directory);

        made->unsafe_parent = parent ? acme_alpn_report_printable(pool, parent) : NULL;
        made->is_writable_by_user = owner != 0 && owner == ap_unixd_config.user_id;
        if (is_listed) {
            list_entries(pool, made, spool, now);
        }
    }
    return made;
}

/* Each directory once, unless vhosts have different ideas of how old an entry may be. */
static acme_alpn_report_spool_t *spool_of(apr_pool_t *pool, acme_alpn_report_t *report,
                                          apr_hash_t *seen, const server_rec *server)
{
    acme_spool_t spool = acme_alpn_server_spool(server);
    const char *key = apr_psprintf(pool, "%" APR_INT64_T_FMT " %s",
                                   (apr_int64_t)spool.entry_age, spool.directory);
    acme_alpn_report_spool_t *made = apr_hash_get(seen, key, APR_HASH_KEY_STRING);
    int is_listed = report->spools->nelts < ACME_ALPN_REPORT_SPOOLS;

    if (!made) {
        made = describe_spool(pool, &spool, is_listed, report->now);
        apr_hash_set(seen, key, APR_HASH_KEY_STRING, made);
        report->spools_total++;
        if (is_listed) {
            APR_ARRAY_PUSH(report->spools, acme_alpn_report_spool_t *) = made;
        }
    }
    return made;
}

static const char *address_of(apr_pool_t *pool, const server_rec *server)
{
    const server_addr_rec *address = server->addrs;

    return address ? apr_psprintf(pool, "%s:%d", address->virthost, (int)address->host_port)
                   : "";
}

static void describe_problems(acme_alpn_report_vhost_t *vhost,
                              const acme_alpn_report_spool_t *spool)
{
    apr_pool_t *pool = vhost->problems->pool;

    if (spool->state != ACME_OK) {
        acme_alpn_report_problem(vhost, acme_error_slug(spool->state),
                                 acme_error_text(spool->state));
    }
    if (spool->is_writable_by_user) {
        acme_alpn_report_problem(
            vhost, "spool-owner",
            "the spool belongs to httpd's User: whatever runs in httpd can "
            "get certificates for every name of this server");
    }
    if (spool->unsafe_parent) {
        acme_alpn_report_problem(
            vhost, "spool-parent",
            apr_psprintf(pool, "others than root and the spool's owner own or can write %s",
                         spool->unsafe_parent));
    }
}

static void describe_stores(acme_alpn_report_vhost_t *vhost, const server_rec *server)
{
    const apr_array_header_t *stores = acme_alpn_server_get(server)->stores;
    int i;

    for (i = 0; stores && i < stores->nelts; i++) {
        const acme_alpn_store_t *store = APR_ARRAY_IDX(stores, i, acme_alpn_store_t *);

        acme_alpn_report_setting(vhost, "AcmeAlpnStore", acme_alpn_store_name(store));
        if (acme_alpn_store_is_down(store)) {
            acme_alpn_report_problem(
                vhost, "store-down",
                apr_psprintf(vhost->problems->pool,
                             "the last call of %s has failed; the handshakes and the log tell "
                             "why",
                             acme_alpn_store_name(store)));
        }
    }
}

static void describe_upstreams(acme_alpn_report_vhost_t *vhost, const server_rec *server)
{
    const apr_array_header_t *upstreams = acme_alpn_server_get(server)->upstreams;
    int i;

    for (i = 0; upstreams && i < upstreams->nelts; i++) {
        const acme_alpn_upstream_t *upstream =
            APR_ARRAY_IDX(upstreams, i, acme_alpn_upstream_t *);

        acme_alpn_report_setting(
            vhost, "AcmeAlpnUpstream",
            apr_psprintf(vhost->settings->pool, "%s timeout=%" APR_INT64_T_FMT "ms max=%d%s",
                         upstream->given, (apr_int64_t)apr_time_as_msec(upstream->timeout),
                         upstream->places, upstream->any_name ? " any-name" : ""));
    }
}

static void describe_placeholder(acme_alpn_report_vhost_t *vhost, const server_rec *server)
{
    acme_alpn_report_setting(vhost, "AcmeAlpnPlaceholder",
                             acme_alpn_server_wants_placeholder(server) ? "On" : "Off");
    if (acme_alpn_server_get(server)->has_placeholder) {
        acme_alpn_report_problem(vhost, "placeholder",
                                 "it has no certificate yet and serves 503 with a placeholder; "
                                 "reload httpd once there is one");
    }
}

/* What can be told of a vhost that answers acme-tls/1. */
static void describe_sources(acme_alpn_report_vhost_t *vhost,
                             const acme_alpn_report_spool_t *spool, const server_rec *server)
{
    acme_alpn_report_setting(vhost, "AcmeAlpnSpool", acme_alpn_server_spool(server).directory);
    acme_alpn_report_setting(vhost, "AcmeAlpnMaxAge",
                             apr_psprintf(vhost->settings->pool, "%" APR_INT64_T_FMT "s",
                                          (apr_int64_t)apr_time_sec(spool->entry_age)));
    describe_stores(vhost, server);
    describe_upstreams(vhost, server);
    describe_placeholder(vhost, server);
    describe_problems(vhost, spool);
}

static acme_alpn_report_vhost_t *new_vhost(apr_pool_t *pool, const server_rec *server)
{
    acme_alpn_report_vhost_t *vhost = apr_pcalloc(pool, sizeof(*vhost));
    const char *defined = server->defn_name ? apr_psprintf(pool, "%s:%u", server->defn_name,
                                                           server->defn_line_number)
                                            : "";

    vhost->name = acme_alpn_report_printable(
        pool, server->server_hostname ? server->server_hostname : "");
    vhost->address = acme_alpn_report_printable(pool, address_of(pool, server));
    vhost->defined = acme_alpn_report_printable(pool, defined);
    vhost->settings = apr_array_make(pool, 6, sizeof(acme_alpn_report_item_t));
    vhost->problems = apr_array_make(pool, 1, sizeof(acme_alpn_report_item_t));
    return vhost;
}

static acme_alpn_report_vhost_t *describe_vhost(apr_pool_t *pool, acme_alpn_report_t *report,
                                                apr_hash_t *seen, const server_rec *server)
{
    acme_alpn_report_vhost_t *vhost = new_vhost(pool, server);
    int answers = acme_alpn_server_answers(server);

    acme_alpn_report_setting(vhost, "AcmeAlpnEngine", answers ? "On" : "Off");
    if (answers) {
        describe_sources(vhost, spool_of(pool, report, seen, server), server);
    } else {
        acme_alpn_report_problem(vhost, "engine-off",
                                 "AcmeAlpnEngine is Off: acme-tls/1 is not answered here");
    }
    return vhost;
}

/* Those with problems before the others, each in the order of the configuration. */
static void list_vhosts(acme_alpn_report_t *report, const apr_array_header_t *all,
                        int with_problems)
{
    int i;

    for (i = 0; i < all->nelts && report->vhosts->nelts < ACME_ALPN_REPORT_VHOSTS; i++) {
        acme_alpn_report_vhost_t *vhost = APR_ARRAY_IDX(all, i, acme_alpn_report_vhost_t *);

        if ((vhost->problems->nelts > 0) == with_problems) {
            APR_ARRAY_PUSH(report->vhosts, acme_alpn_report_vhost_t *) = vhost;
        }
    }
}

static void gather_vhosts(apr_pool_t *pool, acme_alpn_report_t *report)
{
    apr_array_header_t *all = apr_array_make(pool, 8, sizeof(acme_alpn_report_vhost_t *));
    apr_hash_t *seen = apr_hash_make(pool);
    int i;

    for (i = 0; tls_servers && i < tls_servers->nelts; i++) {
        acme_alpn_report_vhost_t *vhost =
            describe_vhost(pool, report, seen, APR_ARRAY_IDX(tls_servers, i, server_rec *));

        APR_ARRAY_PUSH(all, acme_alpn_report_vhost_t *) = vhost;
        report->vhosts_with_problems += vhost->problems->nelts > 0;
    }
    report->vhosts_total = (apr_size_t)all->nelts;
    list_vhosts(report, all, 1);
    list_vhosts(report, all, 0);
}

acme_alpn_report_t *acme_alpn_report_gather(apr_pool_t *pool)
{
    acme_alpn_report_t *report = apr_pcalloc(pool, sizeof(*report));
    const acme_record_t *record = acme_alpn_record_get();

    report->now = apr_time_now();
    report->memory = acme_record_size();
    acme_record_counts(&report->counts, record);
    report->rows = apr_palloc(pool, ACME_RECORD_ROWS * sizeof(*report->rows));
    report->row_count = acme_record_read(report->rows, record);
    report->spools = apr_array_make(pool, 4, sizeof(acme_alpn_report_spool_t *));
    report->vhosts = apr_array_make(pool, 8, sizeof(acme_alpn_report_vhost_t *));
    gather_vhosts(pool, report);
    return report;
}
