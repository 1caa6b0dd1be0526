#include "mod_acme_alpn_log.h"

#include <string.h>

#include <apr_atomic.h>
#include <apr_strings.h>

#include <http_log.h>

#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_outcome.h"
#include "mod_acme_alpn_shm.h"
#include "mod_acme_alpn_sources.h"

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
static int limiter_has_room(limiter_t *limiter)
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

    if (!limiter_has_room(limiter)) {
        apr_atomic_inc32(&limiter->suppressed);
        return 0;
    }
    suppressed = apr_atomic_xchg32(&limiter->suppressed, 0);
    *note = suppressed ? apr_psprintf(pool, " suppressed=%u", suppressed) : "";
    return 1;
}

static acme_alpn_limit_e limit_of(const acme_alpn_challenge_t *challenge, acme_error_e reason)
{
    if (acme_error_is(reason, ACME_CLASS_CLIENT)) {
        return ACME_ALPN_LIMIT_STRANGERS;
    }
    return challenge->source == ACME_ALPN_SOURCE_UPSTREAM ? ACME_ALPN_LIMIT_UPSTREAM
                                                          : ACME_ALPN_LIMIT_SPOOL;
}

/* Every field has a value. */
static const char *value(const char *text)
{
    return *text ? text : "-";
}

/* The fields that every line starts with: whom it was about, with whom, on which vhost, how
 * long it took and whose word it was. */
static const char *fields(conn_rec *c, const acme_record_row_t *row)
{
    const char *key = row->is_identifier ? "identifier" : "sni";
    const char *name =
        row->is_identifier ? row->name : ap_escape_urlencoded(c->pool, row->name);

    return apr_psprintf(c->pool, "%s=%s peer=%s vhost=%s tls=%s duration=%u.%03ums source=%s",
                        key, value(name), row->peer, value(row->vhost), value(row->tls),
                        row->duration / 1000, row->duration % 1000,
                        acme_alpn_source_name((acme_alpn_source_e)row->source));
}

static const char *upstream(const conn_rec *c, const acme_alpn_challenge_t *challenge)
{
    return challenge->upstream ? apr_pstrcat(c->pool, " upstream=", challenge->upstream, NULL)
                               : "";
}

static void say_answered(conn_rec *c, const acme_alpn_challenge_t *challenge,
                         const acme_record_row_t *row)
{
    if (APLOG_CS_IS_LEVEL(c, challenge->server, APLOG_INFO)) {
        ap_log_cserror(APLOG_MARK, APLOG_INFO, 0, c, challenge->server,
                       "AALPN0101: answered: %s key=%s%s", fields(c, row),
                       acme_key_name(row->key_type), upstream(c, challenge));
    }
}

static const char *words(const conn_rec *c, const acme_alpn_challenge_t *challenge,
                         acme_error_e reason)
{
    const char *text = acme_error_text(reason);

    return challenge->detail ? apr_psprintf(c->pool, "%s (%s)", text, challenge->detail) : text;
}

static void say_refused(conn_rec *c, const acme_alpn_challenge_t *challenge,
                        const acme_record_row_t *row)
{
    const char *note;

    if (acme_alpn_log_lets_through(&note, limit_of(challenge, row->reason), c->pool)) {
        ap_log_cserror(APLOG_MARK, APLOG_WARNING, challenge->status, c, challenge->server,
                       "AALPN0102: refused: %s reason=%s file=%s%s%s: %s", fields(c, row),
                       acme_error_slug(row->reason), challenge->file ? challenge->file : "-",
                       upstream(c, challenge), note, words(c, challenge, row->reason));
    }
}

static void say_incomplete(conn_rec *c, const acme_alpn_challenge_t *challenge,
                           const acme_record_row_t *row)
{
    const char *note;

    if (acme_alpn_log_lets_through(&note, ACME_ALPN_LIMIT_STRANGERS, c->pool)) {
        ap_log_cserror(
            APLOG_MARK, APLOG_WARNING, 0, c, challenge ? challenge->server : c->base_server,
            "AALPN0103: incomplete: %s alert=%s alert-by=%s%s: %s", fields(c, row),
            row->alert ? apr_itoa(c->pool, row->alert) : "-",
            value(acme_alpn_outcome_alert_by(row)), note, acme_alpn_outcome_end(c->pool, row));
    }
}

void acme_alpn_log_outcome(conn_rec *c, const acme_alpn_challenge_t *challenge,
                           const acme_record_row_t *row)
{
    switch (row->outcome) {
    case ACME_RECORD_ANSWERED:
        say_answered(c, challenge, row);
        break;
    case ACME_RECORD_REFUSED:
        say_refused(c, challenge, row);
        break;
    default:
        say_incomplete(c, challenge, row);
    }
}

void acme_alpn_log_silence(conn_rec *c)
{
    static const struct ap_logconf silent = {NULL, APLOG_EMERG};

    c->log = &silent;
}
