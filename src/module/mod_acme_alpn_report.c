/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_report.h"

#include <unistd.h>

#include <apr_hash.h>
#include <apr_strings.h>

#include <http_config.h>

#include "acme_text.h"
#include "mod_acme_alpn_check.h"
#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_connection.h"
#include "mod_acme_alpn_outcome.h"
#include "mod_acme_alpn_relay.h"
#include "mod_acme_alpn_store.h"

/* What bounds the page. */
#define ENTRIES_MAX 200  /* read in each spool, or in all spools where none is listed */
#define SPOOLS_MAX  64   /* listed */
#define VHOSTS_MAX  1000 /* listed, those with problems first */

#define NUMBER(value)         (json_int_t)(value)
#define SECONDS(microseconds) (double)(microseconds) / APR_USEC_PER_SEC
#define RFC3339(pool, when)   ap_ht_time(pool, when, "%Y-%m-%dT%H:%M:%SZ", 1) /* in UTC */
#define AGE(report, when)     NUMBER(apr_time_sec((report)->now) - apr_time_sec(when))

/* A directory with one AcmeAlpnMaxAge and one AcmeAlpnAccount. */
typedef struct {
    acme_error_e state;        /* ACME_OK: the spool is usable */
    const char *unsafe_parent; /* or NULL */
    int is_writable_by_user;   /* it belongs to httpd's User */
} report_spool_t;

typedef struct {
    apr_pool_t *pool;
    apr_pool_t *scratch; /* cleared after each vhost, of which there may be 100,000 */
    apr_time_t now;
    int has_lists;
    int looks;        /* how many more entries may be read, where none is listed */
    apr_hash_t *seen; /* of report_spool_t, by AcmeAlpnMaxAge in seconds, accounts, directory */
    json_t *spools;
    json_t *vhosts;
    size_t vhosts_with_problems;
    apr_hash_t *pending;     /* the names with a valid entry, among the entries read */
    apr_hash_t *stores_down; /* by name, which vhosts may share */
} report_t;

static const apr_array_header_t *tls_servers;

void acme_alpn_report_init(const apr_array_header_t *servers)
{
    tls_servers = servers;
}

/* jansson makes null of NULL. */
static const char *report_or_null(const char *text)
{
    return *text ? text : NULL;
}

/* Handshakes */

static json_t *report_handshake(const report_t *report, const acme_record_row_t *row)
{
    static const struct {
        const char *name, *tag;
    } outcomes[ACME_RECORD_OUTCOMES] = {
        {"answered", "AALPN0101"}, {"refused", "AALPN0102"}, {"incomplete", "AALPN0103"}};
    const char *identifier = NULL, *sni = NULL, *key = NULL, *reason = NULL, *text = NULL;
    apr_pool_t *pool = report->pool;
    json_t *alert = json_null();

    if (row->is_identifier) {
        identifier = row->name;
    } else {
        sni = report_or_null(acme_text_word(pool, row->name));
    }
    if (row->outcome == ACME_RECORD_ANSWERED) {
        key = acme_key_name(row->key_type);
    } else if (row->outcome == ACME_RECORD_REFUSED) {
        reason = acme_error_slug(row->reason);
        text = acme_error_text(row->reason);
    } else {
        text = acme_alpn_outcome_end(pool, row);
        if (row->alert) {
            alert = json_pack("{s:i, s:s}", "number", row->alert, "by",
                              row->alert_sent ? "server" : "client");
        }
    }
    return json_pack(
        "{s:s, s:I, s:s?, s:s?, s:s, s:s?, s:s?, s:s?, s:s, s:s, s:s?, s:s?, s:o, s:s, s:f}",
        "time", RFC3339(pool, row->ended), "age_seconds", AGE(report, row->ended), "identifier",
        identifier, "sni", sni, "peer", row->peer, "vhost",
        report_or_null(acme_text_phrase(pool, row->vhost)), "tls", report_or_null(row->tls),
        "key", key, "source", acme_alpn_source_name((acme_alpn_source_e)row->source), "outcome",
        outcomes[row->outcome].name, "reason", reason, "text", text, "alert", alert, "tag",
        outcomes[row->outcome].tag, "duration_seconds", SECONDS(row->duration));
}

static json_t *report_handshakes(const report_t *report)
{
    json_t *handshakes = json_array();
    acme_record_row_t *rows;
    apr_size_t count, i;

    if (report->has_lists) {
        rows = apr_palloc(report->pool, ACME_RECORD_ROWS * sizeof(*rows));
        count = acme_record_read(rows, acme_alpn_record_get());
        for (i = 0; i < count; i++) {
            json_array_append_new(handshakes, report_handshake(report, &rows[i]));
        }
    }
    return handshakes;
}

static json_t *report_counters(const acme_record_counts_t *counts)
{
    json_t *answered = json_object(), *refused = json_object();
    int i;

    for (i = ACME_ALPN_SOURCE_NONE + 1; i < ACME_ALPN_SOURCES; i++) {
        json_object_set_new(answered, acme_alpn_source_name((acme_alpn_source_e)i),
                            json_integer(NUMBER(counts->answered[i])));
    }
    for (i = 0; i < ACME_ERRORS; i++) {
        if (counts->refused[i] > 0) {
            json_object_set_new(refused, acme_error_slug((acme_error_e)i),
                                json_integer(NUMBER(counts->refused[i])));
        }
    }
    return json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:f}", "answered", answered, "refused",
                     refused, "incomplete", NUMBER(counts->outcomes[ACME_RECORD_INCOMPLETE]),
                     "minted", NUMBER(counts->events[ACME_RECORD_MINTED]), "cached",
                     NUMBER(counts->events[ACME_RECORD_CACHED]), "relays",
                     NUMBER(counts->events[ACME_RECORD_RELAYS]), "answered_seconds",
                     SECONDS(counts->answered_duration));
}

/* Spools */

static const char *const report_problem[] = {"reason", "text"};
static const char *const report_setting[] = {"directive", "value"};

/* Append an object with these two keys. `format` makes the second value. */
static void report_add(const report_t *report, json_t *list, const char *const keys[2],
                       const char *name, const char *format, ...)
{
    va_list arguments;
    const char *text;

    va_start(arguments, format);
    text = acme_text_phrase(report->scratch, apr_pvsprintf(report->scratch, format, arguments));
    va_end(arguments);
    json_array_append_new(list, json_pack("{s:s, s:s}", keys[0], name, keys[1], text));
}

static json_t *report_entry(const report_t *report, const acme_spool_entry_t *entry)
{
    int is_valid = entry->state == ACME_OK;

    return json_pack("{s:s, s:s, s:I, s:s, s:b, s:s?, s:s?}", "identifier",
                     acme_text_phrase(report->scratch, entry->name), "time",
                     RFC3339(report->scratch, entry->written), "age_seconds",
                     AGE(report, entry->written), "source",
                     acme_alpn_source_name(ACME_ALPN_SOURCE_SPOOL), "valid", is_valid, "reason",
                     is_valid ? NULL : acme_error_slug(entry->state), "text",
                     is_valid ? NULL : acme_error_text(entry->state));
}

/* The entries that a handshake would refuse come first. Returns the spool's new state. */
static acme_error_e report_list_spool(report_t *report, const acme_spool_t *spool,
                                      acme_error_e state)
{
    apr_array_header_t *sample = apr_array_make(report->scratch, 1, sizeof(acme_spool_entry_t));
    json_t *entries = json_array();
    apr_size_t total = 0, bad = 0;
    int i;

    if (state == ACME_OK) {
        state = acme_spool_list(report->scratch, &sample, &total, spool,
                                (apr_size_t)(report->has_lists ? ENTRIES_MAX : report->looks),
                                report->now);
        report->looks -= sample->nelts;
    }
    for (i = 0; i < sample->nelts; i++) {
        const acme_spool_entry_t *entry = &APR_ARRAY_IDX(sample, i, acme_spool_entry_t);

        if (report->has_lists) {
            json_array_insert_new(entries, entry->state != ACME_OK ? bad++ : (apr_size_t)i,
                                  report_entry(report, entry));
        }
        if (entry->state == ACME_OK) {
            apr_hash_set(report->pending, apr_pstrdup(report->pool, entry->name),
                         APR_HASH_KEY_STRING, report);
        }
    }
    json_array_append_new(
        report->spools,
        json_pack("{s:s, s:I, s:s, s:b, s:s?, s:s?, s:I, s:b, s:o}", "directory",
                  acme_text_phrase(report->scratch, spool->directory), "max_age_seconds",
                  NUMBER(apr_time_sec(spool->max_age)), "accounts", spool->accounts, "usable",
                  state == ACME_OK, "reason", state == ACME_OK ? NULL : acme_error_slug(state),
                  "text", state == ACME_OK ? NULL : acme_error_text(state), "total",
                  NUMBER(total), "total_is_exact", total < ACME_SPOOL_COUNT_MAX, "entries",
                  entries));
    return state;
}

/* A child, which is httpd's User, opens the spool as a handshake does. */
static report_spool_t *report_examine_spool(report_t *report, const acme_spool_t *config)
{
    report_spool_t *spool = apr_pcalloc(report->pool, sizeof(*spool));
    const char *parent;
    struct stat status;
    int fd;

    spool->state = acme_spool_open(&fd, &status, config->directory);
    if (spool->state == ACME_OK) {
        close(fd);
        parent = acme_spool_unsafe_parent(report->scratch, config->directory);
        spool->unsafe_parent = parent ? apr_pstrdup(report->pool, parent) : NULL;
        spool->is_writable_by_user = acme_alpn_check_is_users(&status);
    }
    if (json_array_size(report->spools) < SPOOLS_MAX) {
        spool->state = report_list_spool(report, config, spool->state);
    }
    return spool;
}

/* Examine the server's spool once. Max ages of the same whole seconds share a row: Prometheus
 * refuses a scrape with two metrics that have the same labels. */
static const report_spool_t *report_spool(report_t *report, const server_rec *server)
{
    acme_spool_t config = acme_alpn_server_spool(server);
    const char *key = apr_psprintf(report->scratch, "%" APR_INT64_T_FMT " %s %s",
                                   (apr_int64_t)apr_time_sec(config.max_age), config.accounts,
                                   config.directory);
    report_spool_t *spool = apr_hash_get(report->seen, key, APR_HASH_KEY_STRING);

    if (!spool) {
        spool = report_examine_spool(report, &config);
        apr_hash_set(report->seen, apr_pstrdup(report->pool, key), APR_HASH_KEY_STRING, spool);
    }
    return spool;
}

/* Vhosts */

static void report_add_spool_problems(const report_t *report, json_t *problems,
                                      const report_spool_t *spool, const char *directory)
{
    if (spool->state != ACME_OK) {
        report_add(report, problems, report_problem, acme_error_slug(spool->state), "%s: %s",
                   directory, acme_error_text(spool->state));
    }
    if (spool->is_writable_by_user) {
        report_add(report, problems, report_problem, "spool-owner",
                   "%s: the spool belongs to httpd's User, so a script in httpd can get "
                   "certificates for every name; chown it to root (AALPN0004)",
                   directory);
    }
    if (spool->unsafe_parent) {
        report_add(report, problems, report_problem, "spool-parent",
                   "%s: users other than root and the spool's owner own or can write this "
                   "directory above the spool (AALPN0005)",
                   spool->unsafe_parent);
    }
}

static json_t *report_problems(report_t *report, const server_rec *server)
{
    const acme_alpn_server_t *config = acme_alpn_server_get(server);
    json_t *problems = json_array();
    int i;

    if (!acme_alpn_server_answers(server)) {
        report_add(report, problems, report_problem, "engine-off",
                   "AcmeAlpnEngine is Off: this vhost answers no challenge");
        return problems;
    }
    for (i = 0; config->stores && i < config->stores->nelts; i++) {
        const acme_alpn_store_t *store = APR_ARRAY_IDX(config->stores, i, acme_alpn_store_t *);

        if (acme_alpn_store_is_down(store)) {
            apr_hash_set(report->stores_down, acme_alpn_store_name(store), APR_HASH_KEY_STRING,
                         store);
            report_add(report, problems, report_problem, "store-down",
                       "%s: the last request failed; the log says why (AALPN0401)",
                       acme_alpn_store_name(store));
        }
    }
    if (config->has_placeholder) {
        report_add(report, problems, report_problem, "placeholder",
                   "%s has no certificate yet and serves 503 with a placeholder; reload httpd "
                   "once there is a certificate",
                   server->server_hostname ? server->server_hostname : "the vhost");
    }
    report_add_spool_problems(report, problems, report_spool(report, server),
                              acme_alpn_server_spool(server).directory);
    return problems;
}

/* The stores and upstreams of a server. */
static void report_add_sources(const report_t *report, json_t *settings,
                               const acme_alpn_server_t *config)
{
    int i;

    for (i = 0; config->stores && i < config->stores->nelts; i++) {
        report_add(report, settings, report_setting, "AcmeAlpnStore", "%s",
                   acme_alpn_store_name(APR_ARRAY_IDX(config->stores, i, acme_alpn_store_t *)));
    }
    for (i = 0; config->upstreams && i < config->upstreams->nelts; i++) {
        const acme_alpn_upstream_t *upstream =
            APR_ARRAY_IDX(config->upstreams, i, acme_alpn_upstream_t *);

        report_add(report, settings, report_setting, "AcmeAlpnUpstream",
                   "%s timeout=%" APR_INT64_T_FMT "ms max=%d%s", upstream->given,
                   (apr_int64_t)apr_time_as_msec(upstream->timeout), upstream->places,
                   upstream->any_name ? " any-name" : "");
    }
}

static json_t *report_settings(const report_t *report, const server_rec *server)
{
    acme_spool_t spool = acme_alpn_server_spool(server);
    int answers = acme_alpn_server_answers(server);
    json_t *settings = json_array();

    report_add(report, settings, report_setting, "AcmeAlpnEngine", answers ? "On" : "Off");
    if (answers) {
        report_add(report, settings, report_setting, "AcmeAlpnSpool", "%s", spool.directory);
        report_add(report, settings, report_setting, "AcmeAlpnMaxAge", "%" APR_INT64_T_FMT "s",
                   (apr_int64_t)apr_time_sec(spool.max_age));
        report_add(report, settings, report_setting, "AcmeAlpnAccount", "%s", spool.accounts);
        report_add_sources(report, settings, acme_alpn_server_get(server));
        report_add(report, settings, report_setting, "AcmeAlpnPlaceholder",
                   acme_alpn_server_wants_placeholder(server) ? "On" : "Off");
    }
    return settings;
}

/* Takes the problems over. */
static json_t *report_vhost(const report_t *report, const server_rec *server, json_t *problems)
{
    apr_pool_t *pool = report->scratch;
    const server_addr_rec *bound = server->addrs;
    const char *name = server->server_hostname ? server->server_hostname : "";
    const char *address = "", *defined = NULL;

    if (bound) {
        address = apr_psprintf(pool, "%s:%d", bound->virthost, (int)bound->host_port);
    }
    if (server->defn_name) {
        defined = acme_text_phrase(
            pool, apr_psprintf(pool, "%s:%u", server->defn_name, server->defn_line_number));
    }
    return json_pack("{s:s, s:s, s:s?, s:o, s:o}", "name", acme_text_phrase(pool, name),
                     "address", acme_text_phrase(pool, address), "defined", defined, "settings",
                     report_settings(report, server), "problems", problems);
}

/* Those with problems stand before the others. */
static void report_add_vhost(report_t *report, const server_rec *server)
{
    size_t most = report->has_lists ? VHOSTS_MAX : 0;
    json_t *problems = report_problems(report, server);
    size_t place = json_array_size(problems) > 0 ? report->vhosts_with_problems++
                                                 : json_array_size(report->vhosts);

    if (place < most) {
        json_array_insert_new(report->vhosts, place, report_vhost(report, server, problems));
        json_array_remove(report->vhosts, most); /* if there are so many */
    } else {
        json_decref(problems);
    }
}

json_t *acme_alpn_report(apr_pool_t *pool, int has_lists)
{
    report_t report = {
        .pool = pool, .now = apr_time_now(), .has_lists = has_lists, .looks = ENTRIES_MAX};
    acme_record_counts_t counts;
    int i;

    report.seen = apr_hash_make(pool);
    report.spools = json_array();
    report.vhosts = json_array();
    report.pending = apr_hash_make(pool);
    report.stores_down = apr_hash_make(pool);
    apr_pool_create(&report.scratch, pool);
    /* In the order of the configuration, which is the reverse of httpd's. */
    for (i = tls_servers->nelts - 1; i >= 0; i--) {
        report_add_vhost(&report, APR_ARRAY_IDX(tls_servers, i, const server_rec *));
        apr_pool_clear(report.scratch);
    }
    apr_pool_destroy(report.scratch);
    acme_record_counts(&counts, acme_alpn_record_get());
    return json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:I, s:I, s:I, s:o}", "time",
        RFC3339(pool, report.now), "since", RFC3339(pool, counts.since), "age_seconds",
        AGE(&report, counts.since), "shared_memory_bytes", NUMBER(acme_record_size()),
        "pending", NUMBER(apr_hash_count(report.pending)), "spools_total",
        NUMBER(apr_hash_count(report.seen)), "spools", report.spools, "handshakes",
        report_handshakes(&report), "counters", report_counters(&counts), "stores_down",
        NUMBER(apr_hash_count(report.stores_down)), "vhosts_total", NUMBER(tls_servers->nelts),
        "vhosts_with_problems", NUMBER(report.vhosts_with_problems), "vhosts", report.vhosts);
}
