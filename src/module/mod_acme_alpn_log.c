/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_log.h"

#include <apr_atomic.h>
#include <apr_strings.h>

#include "mod_acme_alpn_shm.h"

/* Lines a second in the whole server, for each kind of line. */
#define LINES_PER_SECOND 10

/* The low bits of `window` are a count of lines, the others the second of that count. */
#define LINES_BITS 8
#define LINES_MASK ((1u << LINES_BITS) - 1)

/* Aligned: on 32 bits a number of 64 bits might cross two cache lines. */
typedef struct {
    apr_uint64_t window;
    apr_uint32_t suppressed; /* since the last line that was let through */
} __attribute__((aligned(8))) limiter_t;

static limiter_t *limiters;

int acme_alpn_log_init(server_rec *server)
{
    limiters = acme_alpn_shm_get(server, "limits", ACME_ALPN_LIMITS * sizeof(limiter_t));
    return limiters != NULL;
}

/* Second and count change together, so no child restarts another's second. The clock is read
 * after `window`, so a delayed child does not go back in time. */
static int log_limiter_has_room(limiter_t *limiter)
{
    apr_uint64_t window, second, lines;

    do {
        window = __atomic_load_n(&limiter->window, __ATOMIC_SEQ_CST);
        second = (apr_uint64_t)apr_time_sec(apr_time_now());
        lines = window >> LINES_BITS == second ? window & LINES_MASK : 0;
        if (lines >= LINES_PER_SECOND) {
            return 0;
        }
    } while (!__atomic_compare_exchange_n(&limiter->window, &window,
                                          second << LINES_BITS | (lines + 1), 0,
                                          __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
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
