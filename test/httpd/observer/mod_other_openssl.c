/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loaded after mod_ssl: as if mod_ssl used the library that ACME_ALPN_SSL_LIBRARY of the
 * environment names. Of two modules that register an optional function the later one counts.
 */
#include <stdlib.h>
#include <string.h>

#include <httpd.h>

#include <apr_optional.h>
#include <http_config.h>

/* mod_ssl.h declares it with char * in 2.4 and with const char * in trunk. */
static const char *other_openssl_lookup(apr_pool_t *pool, server_rec *server, conn_rec *c,
                                        request_rec *r, const char *name)
{
    (void)pool;
    (void)server;
    (void)c;
    (void)r;
    return strcmp(name, "SSL_VERSION_LIBRARY") == 0 ? getenv("ACME_ALPN_SSL_LIBRARY") : "";
}

static void register_hooks(apr_pool_t *pool)
{
    (void)pool;
    apr_dynamic_fn_register("ssl_var_lookup", (apr_opt_fn_t *)other_openssl_lookup);
}

AP_DECLARE_MODULE(other_openssl) = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks, AP_MODULE_FLAG_NONE};
