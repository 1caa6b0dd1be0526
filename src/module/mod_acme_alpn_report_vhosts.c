/*
 * What the report tells of the TLS vhosts. A server may have a hundred thousand of them, so
 * what is wrong with each is found in memory that the next one uses again, and those that are
 * listed are described alone.
 */
#include "mod_acme_alpn_report.h"

#include <apr_strings.h>

#include "acme_text.h"
#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_relay.h"
#include "mod_acme_alpn_store.h"

static const apr_array_header_t *tls_servers;

void acme_alpn_report_init(const apr_array_header_t *servers)
{
    tls_servers = servers;
}

static void add_item(apr_array_header_t *items, const char *name, const char *value)
{
    acme_alpn_report_item_t *item = apr_array_push(items);

    item->name = name;
    item->value = acme_text_phrase(items->pool, value);
}

/* Problems */

static void find_spool_problems(apr_array_header_t *problems,
                                const acme_alpn_report_spool_t *spool)
{
    if (spool->state != ACME_OK) {
        add_item(problems, acme_error_slug(spool->state), acme_error_text(spool->state));
    }
    if (spool->is_writable_by_user) {
        add_item(problems, "spool-owner",
                 "the spool belongs to httpd's User: whatever runs in httpd can "
                 "get certificates for every name of this server");
    }
    if (spool->unsafe_parent) {
        add_item(problems, "spool-parent",
                 apr_pstrcat(problems->pool,
                             "others than root and the spool's owner own or can write ",
                             spool->unsafe_parent, NULL));
    }
}

static void find_store_problems(apr_array_header_t *problems, const server_rec *server)
{
    const apr_array_header_t *stores = acme_alpn_server_get(server)->stores;
    int i;

    for (i = 0; stores && i < stores->nelts; i++) {
        const acme_alpn_store_t *store = APR_ARRAY_IDX(stores, i, acme_alpn_store_t *);

        if (acme_alpn_store_is_down(store)) {
            add_item(problems, "store-down",
                     apr_pstrcat(problems->pool, "the last call of ",
                                 acme_alpn_store_name(store),
                                 " has failed; the handshakes and the log tell why", NULL));
        }
    }
}

/* `spool` is NULL where acme-tls/1 is not answered. */
static void find_problems(apr_array_header_t *problems, const server_rec *server,
                          const acme_alpn_report_spool_t *spool)
{
    if (!spool) {
        add_item(problems, "engine-off",
                 "AcmeAlpnEngine is Off: acme-tls/1 is not answered here");
        return;
    }
    find_store_problems(problems, server);
    if (acme_alpn_server_get(server)->has_placeholder) {
        add_item(problems, "placeholder",
                 "it has no certificate yet and serves 503 with a placeholder; "
                 "reload httpd once there is one");
    }
    find_spool_problems(problems, spool);
}

/* Settings */

static void describe_stores(apr_array_header_t *settings, const server_rec *server)
{
    const apr_array_header_t *stores = acme_alpn_server_get(server)->stores;
    int i;

    for (i = 0; stores && i < stores->nelts; i++) {
        add_item(settings, "AcmeAlpnStore",
                 acme_alpn_store_name(APR_ARRAY_IDX(stores, i, acme_alpn_store_t *)));
    }
}

static void describe_upstreams(apr_array_header_t *settings, const server_rec *server)
{
    const apr_array_header_t *upstreams = acme_alpn_server_get(server)->upstreams;
    int i;

    for (i = 0; upstreams && i < upstreams->nelts; i++) {
        const acme_alpn_upstream_t *upstream =
            APR_ARRAY_IDX(upstreams, i, acme_alpn_upstream_t *);

        add_item(settings, "AcmeAlpnUpstream",
                 apr_psprintf(settings->pool, "%s timeout=%" APR_INT64_T_FMT "ms max=%d%s",
                              upstream->given, (apr_int64_t)apr_time_as_msec(upstream->timeout),
                              upstream->places, upstream->any_name ? " any-name" : ""));
    }
}

static void describe_settings(apr_array_header_t *settings, const server_rec *server)
{
    acme_spool_t spool = acme_alpn_server_spool(server);
    int answers = acme_alpn_server_answers(server);

    add_item(settings, "AcmeAlpnEngine", answers ? "On" : "Off");
    if (!answers) {
        return;
    }
    add_item(settings, "AcmeAlpnSpool", spool.directory);
    add_item(settings, "AcmeAlpnMaxAge",
             apr_psprintf(settings->pool, "%" APR_INT64_T_FMT "s",
                          (apr_int64_t)apr_time_sec(spool.max_age)));
    describe_stores(settings, server);
    describe_upstreams(settings, server);
    add_item(settings, "AcmeAlpnPlaceholder",
             acme_alpn_server_wants_placeholder(server) ? "On" : "Off");
}

/* Vhosts */

static const char *address_of(apr_pool_t *pool, const server_rec *server)
{
    const server_addr_rec *address = server->addrs;

    return address ? apr_psprintf(pool, "%s:%d", address->virthost, (int)address->host_port)
                   : "";
}

static void list_vhost(acme_alpn_report_t *report, const server_rec *server,
                       const acme_alpn_report_spool_t *spool)
{
    apr_pool_t *pool = report->vhosts->pool;
    acme_alpn_report_vhost_t *vhost = apr_pcalloc(pool, sizeof(*vhost));
    const char *defined = server->defn_name ? apr_psprintf(pool, "%s:%u", server->defn_name,
                                                           server->defn_line_number)
                                            : "";

    vhost->name =
        acme_text_phrase(pool, server->server_hostname ? server->server_hostname : "");
    vhost->address = acme_text_phrase(pool, address_of(pool, server));
    vhost->defined = acme_text_phrase(pool, defined);
    vhost->settings = apr_array_make(pool, 6, sizeof(acme_alpn_report_item_t));
    vhost->problems = apr_array_make(pool, 1, sizeof(acme_alpn_report_item_t));
    describe_settings(vhost->settings, server);
    find_problems(vhost->problems, server, spool);
    APR_ARRAY_PUSH(report->vhosts, acme_alpn_report_vhost_t *) = vhost;
}

static const acme_alpn_report_spool_t *spool_of(acme_alpn_report_t *report,
                                                const server_rec *server, apr_pool_t *scratch)
{
    return acme_alpn_server_answers(server) ? acme_alpn_report_spool(report, server, scratch)
                                            : NULL;
}

static int has_problems(const server_rec *server, const acme_alpn_report_spool_t *spool,
                        apr_pool_t *scratch)
{
    apr_array_header_t *problems = apr_array_make(scratch, 1, sizeof(acme_alpn_report_item_t));

    find_problems(problems, server, spool);
    return problems->nelts > 0;
}

/* Those with problems before the others, each in the order of the configuration, which is the
 * reverse of httpd's. */
void acme_alpn_report_vhosts(acme_alpn_report_t *report)
{
    int most = report->has_lists ? ACME_ALPN_REPORT_VHOSTS : 0, i;
    apr_array_header_t *sound =
        apr_array_make(report->vhosts->pool, 8, sizeof(const server_rec *));
    apr_pool_t *scratch;

    apr_pool_create(&scratch, report->vhosts->pool);
    for (i = tls_servers->nelts - 1; i >= 0; i--) {
        const server_rec *server = APR_ARRAY_IDX(tls_servers, i, const server_rec *);
        const acme_alpn_report_spool_t *spool = spool_of(report, server, scratch);

        if (has_problems(server, spool, scratch)) {
            report->vhosts_with_problems++;
            if (report->vhosts->nelts < most) {
                list_vhost(report, server, spool);
            }
        } else if (sound->nelts < most) {
            APR_ARRAY_PUSH(sound, const server_rec *) = server;
        }
        apr_pool_clear(scratch);
    }
    report->vhosts_total = (apr_size_t)tls_servers->nelts;
    for (i = 0; i < sound->nelts && report->vhosts->nelts < most; i++) {
        const server_rec *server = APR_ARRAY_IDX(sound, i, const server_rec *);

        list_vhost(report, server, spool_of(report, server, scratch));
    }
    apr_pool_destroy(scratch);
}
