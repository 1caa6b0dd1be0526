#include "mod_acme_alpn_connection.h"

#include <string.h>

#include <apr_strings.h>

#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_sources.h"
#include "mod_acme_alpn_trace.h"

acme_alpn_connection_t *acme_alpn_connection_create(conn_rec *c, SSL *ssl)
{
    acme_alpn_connection_t *connection = apr_pcalloc(c->pool, sizeof(*connection));

    connection->ssl = ssl;
    ap_set_module_config(c->conn_config, &acme_alpn_module, connection);
    return connection;
}

void acme_alpn_connection_forgo(conn_rec *c)
{
    /* Of all connections and threads, and never written. */
    static acme_alpn_connection_t over = {.over = 1};

    ap_set_module_config(c->conn_config, &acme_alpn_module, &over);
}

acme_alpn_connection_t *acme_alpn_connection_get(const conn_rec *c)
{
    return ap_get_module_config(c->conn_config, &acme_alpn_module);
}

int acme_alpn_connection_is_first_handshake(const acme_alpn_connection_t *connection)
{
    return !connection->over && SSL_num_renegotiations(connection->ssl) == 0;
}

/* Where the SNI names a vhost without SSLEngine, mod_ssl keeps to the TLS of the listener's
 * first vhost. Each context of mod_ssl's has its server as app data. */
static server_rec *tls_server(const acme_alpn_connection_t *connection)
{
    return SSL_CTX_get_app_data(SSL_get_SSL_CTX(connection->ssl));
}

int acme_alpn_connection_answers(const acme_alpn_connection_t *connection)
{
    return acme_alpn_server_answers(tls_server(connection));
}

int acme_alpn_connection_has_placeholder(const acme_alpn_connection_t *connection)
{
    return acme_alpn_server_get(tls_server(connection))->has_placeholder;
}

static acme_error_e look_up(conn_rec *c, acme_alpn_challenge_t *challenge)
{
    acme_error_e error;

    if (!challenge->sni) {
        return ACME_NO_SNI;
    }
    error = acme_identifier_from_sni(&challenge->identifier, challenge->sni,
                                     strlen(challenge->sni));
    return error == ACME_OK ? acme_alpn_sources_ask(c, challenge) : error;
}

acme_alpn_challenge_t *acme_alpn_connection_challenge(conn_rec *c,
                                                      acme_alpn_connection_t *connection)
{
    acme_alpn_challenge_t *challenge = connection->challenge;

    if (!challenge) {
        const char *sni = SSL_get_servername(connection->ssl, TLSEXT_NAMETYPE_host_name);

        challenge = apr_pcalloc(c->pool, sizeof(*challenge));
        challenge->server = tls_server(connection);
        challenge->tls = SSL_get_version(connection->ssl);
        challenge->relayed = connection->relayed;
        challenge->sni = sni ? apr_pstrdup(c->pool, sni) : NULL;
        acme_alpn_trace_vhost(c, challenge);
        challenge->outcome = look_up(c, challenge);
        connection->challenge = challenge;
    }
    return challenge;
}
