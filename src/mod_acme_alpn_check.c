#include "mod_acme_alpn_check.h"

#include <errno.h>

#include <apr_hash.h>
#include <apr_strings.h>

#include <http_log.h>
#include <unixd.h>

#include "mod_acme_alpn_config.h"

APLOG_USE_MODULE(acme_alpn);

static const char *why_not(apr_pool_t *pool, acme_error_e error, const char *closed)
{
    return closed ? apr_psprintf(pool, "httpd's User may not pass %s on the way to it", closed)
                  : acme_error_text(error);
}

static void report_useless(server_rec *server, const char *spool, const char *reason,
                           apr_status_t status, acme_alpn_moment_e moment)
{
    if (moment == ACME_ALPN_AT_CONFIGTEST) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, status, server,
                     "AALPN0003: AcmeAlpnSpool %s: no challenge will be answered from it: %s",
                     spool, reason);
    } else {
        ap_log_error(APLOG_MARK, APLOG_ERR, status, server,
                     "AALPN0002: AcmeAlpnSpool %s: no challenge is answered from it until this "
                     "is mended: %s",
                     spool, reason);
    }
}

/* Whoever owns the spool can write it, whatever its mode says. */
static int is_writable_by_user(uid_t owner)
{
    return owner != 0 && owner == ap_unixd_config.user_id;
}

static void check(apr_pool_t *pool, server_rec *server, const char *spool,
                  acme_alpn_moment_e moment)
{
    uid_t owner = 0;
    const char *parent, *closed;
    acme_error_e error = acme_spool_check(pool, spool, ap_unixd_config.user_id,
                                          ap_unixd_config.group_id, &owner, &closed);

    if (error != ACME_OK) {
        report_useless(server, spool, why_not(pool, error, closed),
                       error == ACME_SYSTEM_ERROR ? errno : 0, moment);
        return;
    }
    if (is_writable_by_user(owner)) {
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, server,
            "AALPN0004: AcmeAlpnSpool %s belongs to %s, httpd's User: whatever runs in "
            "httpd can get certificates for every name of this server; give it to root "
            "or to the ACME client's user",
            spool, ap_unixd_config.user_name);
    }
    parent = acme_spool_unsafe_parent(pool, spool);
    if (parent) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server,
                     "AALPN0005: AcmeAlpnSpool %s is not safe: others than root and its owner "
                     "can replace it, since they own or can write %s",
                     spool, parent);
    }
}

void acme_alpn_check_spools(apr_pool_t *pool, const apr_array_header_t *servers,
                            acme_alpn_moment_e moment)
{
    apr_hash_t *checked = apr_hash_make(pool);
    int i;

    for (i = 0; i < servers->nelts; i++) {
        server_rec *server = APR_ARRAY_IDX(servers, i, server_rec *);
        const char *spool = acme_alpn_server_spool(server).directory;

        if (!apr_hash_get(checked, spool, APR_HASH_KEY_STRING)) {
            apr_hash_set(checked, spool, APR_HASH_KEY_STRING, spool);
            check(pool, server, spool, moment);
        }
    }
}
