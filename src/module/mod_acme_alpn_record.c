#include "mod_acme_alpn_record.h"

#include <apr_strings.h>

#include "mod_acme_alpn_shm.h"
#include "mod_acme_alpn_connection.h"

static acme_record_t *record;

/* The layout's number, so that another version of the module, which the server had before a
 * reload, does not share its record with this one. */
static const char *record_name(apr_pool_t *pool)
{
    const char *names = "";
    int source;

    for (source = 0; source < ACME_ALPN_SOURCES; source++) {
        names = apr_pstrcat(pool, names, acme_alpn_source_name((acme_alpn_source_e)source), " ",
                            NULL);
    }
    return apr_psprintf(pool, "record:%08x", acme_record_layout(names));
}

int acme_alpn_record_init(apr_pool_t *config_pool, server_rec *server)
{
    record = acme_alpn_shm_get(server, record_name(config_pool), acme_record_size());
    if (record) {
        acme_record_begin(record, apr_time_now());
    }
    return record != NULL;
}

acme_record_t *acme_alpn_record_get(void)
{
    return record;
}
