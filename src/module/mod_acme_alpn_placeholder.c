/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_placeholder.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <apr_hash.h>
#include <apr_strings.h>

#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>

#include "acme_placeholder.h"
#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_connection.h"

APLOG_USE_MODULE(acme_alpn);

/* In seconds: time to issue the certificate and to reload httpd. */
#define RETRY_AFTER "60"

/* Sent as HTML. It names no cause, since a visitor cannot correct it. */
static const char explanation[] =
    "<!DOCTYPE html>\n"
    "<html lang=\"en\">\n"
    "<head><title>503 Service Unavailable</title></head>\n"
    "<body>\n"
    "<h1>This site has no certificate yet</h1>\n"
    "<p>It will be here once its certificate has been issued and the server has been "
    "reloaded. Please try again later.</p>\n"
    "</body>\n"
    "</html>\n";

/* Without a slash at its end. */
static const char *placeholder_runtime_directory(apr_pool_t *pool)
{
    char *directory = ap_runtime_dir_relative(pool, "");
    size_t length = directory ? strlen(directory) : 0;

    if (length > 1 && directory[length - 1] == '/') {
        directory[length - 1] = '\0';
    }
    return directory ? directory : "";
}

void acme_alpn_placeholder_check(apr_pool_t *pool, const server_rec *servers)
{
    const char *directory = placeholder_runtime_directory(pool);
    const server_rec *server = servers;
    acme_error_e error;

    while (server && !acme_alpn_server_wants_placeholder(server)) {
        server = server->next;
    }
    if (!server) {
        return;
    }
    error = acme_placeholder_check(directory);
    if (error != ACME_OK) {
        ap_log_error(
            APLOG_MARK, APLOG_ERR, error == ACME_SYSTEM_ERROR ? errno : 0, server,
            "AALPN0021: AcmeAlpnPlaceholder: httpd will not start with a TLS vhost without a "
            "certificate: cannot write a placeholder certificate to %s: reason=%s: %s",
            directory, acme_error_slug(error), acme_error_text(error));
    }
}

/* Writes the file once in each start, so that no reload fails on a full disk. Returns its path,
 * or NULL after a log line. */
static const char *placeholder_provide(server_rec *server, apr_pool_t *pool)
{
    const char *directory = placeholder_runtime_directory(pool);
    const char *file = apr_pstrcat(pool, directory, "/" ACME_PLACEHOLDER_FILE, NULL);
    acme_error_e error;
    void *written = NULL;

    apr_pool_userdata_get(&written, file, server->process->pool);
    if (written && access(file, R_OK) == 0) {
        return file;
    }
    error = acme_placeholder_write(pool, directory, apr_time_now());
    if (error == ACME_OK) {
        apr_pool_userdata_set("", file, apr_pool_cleanup_null, server->process->pool);
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, server,
                     "AALPN0022: wrote the placeholder certificate to %s", file);
        return file;
    }
    ap_log_error(
        APLOG_MARK, APLOG_EMERG, error == ACME_SYSTEM_ERROR ? errno : 0, server,
        "AALPN0020: AcmeAlpnPlaceholder: httpd cannot start: %s has no certificate, and "
        "a placeholder certificate cannot be written to %s: reason=%s: %s",
        server->server_hostname, directory, acme_error_slug(error), acme_error_text(error));
    return NULL;
}

/* In a copy, since all servers without a directive of this module share one configuration. */
static void placeholder_mark(server_rec *server, apr_pool_t *pool)
{
    acme_alpn_server_t *own =
        apr_pmemdup(pool, acme_alpn_server_get(server), sizeof(acme_alpn_server_t));

    own->has_placeholder = 1;
    ap_set_module_config(server->module_config, &acme_alpn_module, own);
}

int acme_alpn_placeholder_add(server_rec *server, apr_pool_t *pool,
                              apr_array_header_t *certificate_files,
                              apr_array_header_t *key_files)
{
    const char *file;

    if (!acme_alpn_server_wants_placeholder(server) || certificate_files->nelts > 0 ||
        acme_alpn_server_get(server)->has_certificate) {
        return DECLINED;
    }
    file = placeholder_provide(server, pool);
    if (!file) {
        return DECLINED;
    }
    APR_ARRAY_PUSH(certificate_files, const char *) = file;
    /* mod_ssl uses the first key for this certificate, so configured keys must go. A new array,
     * since the old one may be the main server's. */
    *key_files = *apr_array_make(pool, 1, sizeof(file));
    APR_ARRAY_PUSH(key_files, const char *) = file;
    placeholder_mark(server, pool);
    return DONE;
}

/* Whether the vhost has an ErrorDocument 503. */
static int placeholder_has_own_page(const request_rec *r)
{
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);
    int status = ap_index_of_response(HTTP_SERVICE_UNAVAILABLE);

    return core->response_code_exprs &&
           apr_hash_get(core->response_code_exprs, &status, sizeof(status));
}

int acme_alpn_placeholder_refuse(request_rec *r)
{
    const conn_rec *c = r->connection->master ? r->connection->master : r->connection;
    const acme_alpn_connection_t *connection = acme_alpn_connection_get(c);

    if (!connection || !connection->unserved) {
        return DECLINED;
    }
    if (!placeholder_has_own_page(r)) {
        ap_custom_response(r, HTTP_SERVICE_UNAVAILABLE, explanation);
    }
    apr_table_setn(r->err_headers_out, "Retry-After", RETRY_AFTER);
    return HTTP_SERVICE_UNAVAILABLE;
}
