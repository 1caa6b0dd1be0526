#include "mod_acme_alpn_record.h"

#include <apr_shm.h>
#include <apr_strings.h>

#include <http_log.h>

#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_sources.h"

APLOG_USE_MODULE(acme_alpn);

/* Where the process keeps the apr_shm_t from one configuration to the next. */
#define SAVED_RECORD "mod_acme_alpn:record"

static acme_record_t *record;

/* What the numbers in the record mean beyond what the core knows. */
static const char *meanings(apr_pool_t *pool)
{
    const char *names = "";
    int source;

    for (source = 0; source < ACME_ALPN_SOURCES; source++) {
        names = apr_pstrcat(pool, names, acme_alpn_source_name((acme_alpn_source_e)source), " ",
                            NULL);
    }
    return names;
}

/* NULL where there is none, or where another version of the module, which the server had before
 * this reload, has made it. That one's children go on with their own mapping. */
static acme_record_t *saved_record(apr_pool_t *pool, const char *names)
{
    void *data = NULL;

    apr_pool_userdata_get(&data, SAVED_RECORD, pool);
    if (!data) {
        return NULL;
    }
    if (!acme_record_is_ours(apr_shm_baseaddr_get(data), apr_shm_size_get(data), names)) {
        apr_shm_destroy(data);
        apr_pool_userdata_set(NULL, SAVED_RECORD, apr_pool_cleanup_null, pool);
        return NULL;
    }
    return apr_shm_baseaddr_get(data);
}

/* Anonymous, so that nothing is left behind. */
static apr_status_t make_record(acme_record_t **made, apr_pool_t *pool, const char *names)
{
    apr_shm_t *shared;
    apr_status_t status = apr_shm_create(&shared, acme_record_size(), NULL, pool);

    if (status != APR_SUCCESS) {
        return status;
    }
    *made = apr_shm_baseaddr_get(shared);
    acme_record_init(*made, names, apr_time_now());
    /* Not _setn, which keeps the pointer to the name: the module may be elsewhere after a
     * reload. */
    apr_pool_userdata_set(shared, SAVED_RECORD, apr_pool_cleanup_null, pool);
    return APR_SUCCESS;
}

void acme_alpn_record_init(apr_pool_t *config_pool, server_rec *server)
{
    apr_pool_t *pool = server->process->pool;
    const char *names = meanings(config_pool);
    apr_status_t status = APR_SUCCESS;

    record = saved_record(pool, names);
    if (!record) {
        status = make_record(&record, pool, names);
    }
    if (status != APR_SUCCESS) {
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, status, server,
            "AALPN0008: no shared memory: each child keeps a record of its own, and the "
            "status page shows that of the child that answers");
        record = apr_palloc(config_pool, acme_record_size());
        acme_record_init(record, names, apr_time_now());
    }
}

acme_record_t *acme_alpn_record_get(void)
{
    return record;
}
