#include "mod_acme_alpn_trace.h"

#include <http_log.h>

#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_sources.h"

APLOG_USE_MODULE(acme_alpn);

/* httpd's own prefix of a line says who the client is. */
#define TRACE(c, server, ...)                                                                  \
    do {                                                                                       \
        if (APLOG_CS_IS_LEVEL(c, server, APLOG_DEBUG)) {                                       \
            ap_log_cserror(APLOG_MARK, APLOG_DEBUG, 0, c, server, __VA_ARGS__);                \
        }                                                                                      \
    } while (0)

void acme_alpn_trace_offered(const conn_rec *c)
{
    TRACE(c, c->base_server, "AALPN0201: ClientHello: it offers acme-tls/1 and nothing else");
}

void acme_alpn_trace_vhost(const conn_rec *c, const acme_alpn_challenge_t *challenge)
{
    TRACE(c, challenge->server, "AALPN0202: vhost: vhost=%s sni=%s tls=%s",
          challenge->server->server_hostname ? challenge->server->server_hostname : "-",
          challenge->sni ? ap_escape_urlencoded(c->pool, challenge->sni) : "-", challenge->tls);
}

void acme_alpn_trace_asked(const conn_rec *c, const acme_alpn_challenge_t *challenge,
                           acme_error_e answer)
{
    TRACE(c, challenge->server, "AALPN0203: asked: identifier=%s source=%s file=%s result=%s",
          challenge->identifier.name, acme_alpn_source_name(challenge->source),
          challenge->file ? challenge->file : "-", acme_error_slug(answer));
}

void acme_alpn_trace_key(const conn_rec *c, const acme_alpn_challenge_t *challenge,
                         acme_key_type_e type, acme_error_e result, const char *origin)
{
    TRACE(c, challenge->server, "AALPN0204: tried: key=%s result=%s certificate=%s",
          acme_key_name(type), acme_error_slug(result), origin);
}

void acme_alpn_trace_negotiated(const conn_rec *c, const acme_alpn_challenge_t *challenge)
{
    TRACE(c, challenge->server, "AALPN0205: negotiated: acme-tls/1");
}

void acme_alpn_trace_closed(conn_rec *c, const acme_alpn_challenge_t *challenge)
{
    const struct ap_logconf *log = c->log;

    c->log = NULL;
    TRACE(c, challenge ? challenge->server : c->base_server,
          "AALPN0206: closed: no byte of application data was read or sent");
    c->log = log;
}
