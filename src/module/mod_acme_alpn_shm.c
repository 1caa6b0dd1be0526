/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_shm.h"

#include <apr_shm.h>
#include <apr_strings.h>

#include <http_log.h>

#include "mod_acme_alpn_config.h"

APLOG_USE_MODULE(acme_alpn);

/* Anonymous, so that it is zero at first and ends with the last process. */
void *acme_alpn_shm_get(server_rec *server, const char *name, apr_size_t size)
{
    apr_pool_t *pool = server->process->pool;
    char key[64];
    void *memory = NULL;
    apr_shm_t *shared;
    apr_status_t status;

    apr_snprintf(key, sizeof(key), "mod_acme_alpn:%s:%" APR_SIZE_T_FMT, name, size);
    apr_pool_userdata_get(&memory, key, pool);
    if (memory) {
        return memory;
    }
    status = apr_shm_create(&shared, size, NULL, pool);
    if (status != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, status, server,
                     "AALPN0008: httpd cannot start: cannot allocate %" APR_SIZE_T_FMT
                     " bytes of shared memory (%s); raise the system's limits",
                     size, name);
        return NULL;
    }
    memory = apr_shm_baseaddr_get(shared);
    /* Not _setn, which keeps the pointer to the key. */
    apr_pool_userdata_set(memory, key, apr_pool_cleanup_null, pool);
    return memory;
}
