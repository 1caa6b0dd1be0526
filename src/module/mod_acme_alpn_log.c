/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_log.h"

#include <apr_atomic.h>
#include <apr_strings.h>

#include <http_log.h>

#include "acme_text.h"
#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_shm.h"

APLOG_USE_MODULE(acme_alpn);

/* Lines a second in the whole server, for each kind of line. */
#define LINES_PER_SECOND 10

/* The low bits of `window` are a count of lines, the others the second of that count. */
#define LINES_BITS 8
#define LINES_MASK ((1u << LINES_BITS) - 1)

typedef struct {
    apr_uint64_t window;
    apr_uint32_t suppressed; /* since the last line that was let through */
} limiter_t;

static limiter_t *limiters;

int acme_alpn_log_init(server_rec *server)
{
    limiters = acme_alpn_shm_get(server, "limits", ACME_ALPN_LIMITS * sizeof(limiter_t));
    return limiters != NULL;
}

/* Second and count change together, so no child can begin a second that another has begun. The
 * clock is read after `window`: a child that was held up in between does not go back in time.
 */
static int log_limiter_has_room(limiter_t *limiter)
{
    apr_uint64_t window, second, lines;

    do {
        window = apr_atomic_read64(&limiter->window);
        second = (apr_uint64_t)apr_time_sec(apr_time_now());
        lines = window >> LINES_BITS == second ? window & LINES_MASK : 0;
        if (lines >= LINES_PER_SECOND) {
            return 0;
        }
    } while (apr_atomic_cas64(&limiter->window, second << LINES_BITS | (lines + 1), window) !=
             window);
    return 1;
}

int acme_alpn_log_lets_through(const char **note, acme_alpn_limit_e limit, apr_pool_t *pool)
{
    limiter_t *limiter = &limiters[limit];
    apr_uint32_t suppressed;

    if (!log_limiter_has_room(limiter)) {
        apr_atomic_inc32(&limiter->suppressed);
        return 0;
    }
    suppressed = apr_atomic_xchg32(&limiter->suppressed, 0);
    *note = suppressed ? apr_psprintf(pool, " suppressed=%u", suppressed) : "";
    return 1;
}

void acme_alpn_log_silence(conn_rec *c)
{
    static const struct ap_logconf silent = {NULL, APLOG_EMERG};

    c->log = &silent;
}

/* Step by step */

/* httpd's own prefix of a line says who the client is. */
#define TRACE(c, server, ...)                                                                  \
    do {                                                                                       \
        if (APLOG_CS_IS_LEVEL(c, server, APLOG_DEBUG)) {                                       \
            ap_log_cserror(APLOG_MARK, APLOG_DEBUG, 0, c, server, __VA_ARGS__);                \
        }                                                                                      \
    } while (0)

void acme_alpn_log_offered(const conn_rec *c)
{
    TRACE(c, c->base_server, "AALPN0201: ClientHello: it offers acme-tls/1 and nothing else");
}

void acme_alpn_log_vhost(const conn_rec *c, const acme_alpn_challenge_t *challenge)
{
    TRACE(c, challenge->server, "AALPN0202: vhost: vhost=%s sni=%s tls=%s",
          challenge->server->server_hostname ? challenge->server->server_hostname : "-",
          challenge->sni ? acme_text_word(c->pool, challenge->sni) : "-", challenge->tls);
}

void acme_alpn_log_asked(const conn_rec *c, const acme_alpn_challenge_t *challenge,
                         acme_error_e answer)
{
    TRACE(c, challenge->server, "AALPN0203: asked: identifier=%s source=%s file=%s result=%s",
          challenge->identifier.name, acme_alpn_source_name(challenge->source),
          challenge->file ? challenge->file : "-", acme_error_slug(answer));
}

void acme_alpn_log_key(const conn_rec *c, const acme_alpn_challenge_t *challenge,
                       acme_key_type_e type, acme_error_e result, const char *origin)
{
    TRACE(c, challenge->server, "AALPN0204: tried: key=%s result=%s certificate=%s",
          acme_key_name(type), acme_error_slug(result), origin);
}

void acme_alpn_log_negotiated(const conn_rec *c, const acme_alpn_challenge_t *challenge)
{
    TRACE(c, challenge->server, "AALPN0205: negotiated: acme-tls/1");
}

void acme_alpn_log_closed(conn_rec *c, const acme_alpn_challenge_t *challenge)
{
    const struct ap_logconf *log = c->log;

    c->log = NULL;
    TRACE(c, challenge ? challenge->server : c->base_server,
          "AALPN0206: closed: no byte of application data was read or sent");
    c->log = log;
}
