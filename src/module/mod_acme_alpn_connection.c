/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_connection.h"

#include "mod_acme_alpn_config.h"

acme_alpn_connection_t *acme_alpn_connection_create(conn_rec *c, SSL *ssl)
{
    acme_alpn_connection_t *connection = apr_pcalloc(c->pool, sizeof(*connection));

    connection->ssl = ssl;
    ap_set_module_config(c->conn_config, &acme_alpn_module, connection);
    return connection;
}

void acme_alpn_connection_skip(conn_rec *c)
{
    /* Shared by all connections and threads, and never written. */
    static acme_alpn_connection_t over = {.over = 1};

    ap_set_module_config(c->conn_config, &acme_alpn_module, &over);
}

acme_alpn_connection_t *acme_alpn_connection_get(const conn_rec *c)
{
    return ap_get_module_config(c->conn_config, &acme_alpn_module);
}

/* mod_ssl sets the server as app data of each context. */
server_rec *acme_alpn_connection_server(const acme_alpn_connection_t *connection)
{
    return SSL_CTX_get_app_data(SSL_get_SSL_CTX(connection->ssl));
}

int acme_alpn_connection_answers(const acme_alpn_connection_t *connection)
{
    return acme_alpn_server_answers(acme_alpn_connection_server(connection));
}

const char *acme_alpn_source_name(acme_alpn_source_e source)
{
    static const char *const names[ACME_ALPN_SOURCES] = {"none", "spool", "module", "store",
                                                         "upstream"};

    return names[source];
}
