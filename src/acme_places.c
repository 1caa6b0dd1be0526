#include "acme_places.h"

#include <string.h>

#include <apr_atomic.h>

/* Coarse, so that 32 bits, which every machine changes atomically, last for 13 years. */
#define TICK apr_time_from_msec(100)

static apr_uint32_t ticks(const acme_places_t *places, apr_time_t time)
{
    /* From 1, since 0 means a free place. */
    return time > places->epoch ? (apr_uint32_t)((time - places->epoch) / TICK) + 1 : 1;
}

static int is_free(apr_uint32_t until, apr_uint32_t now)
{
    return until <= now || until - now > ACME_PLACES_LEASE_MAX / TICK + 1;
}

void acme_places_init(acme_places_t *places, apr_time_t now)
{
    memset(places, 0, sizeof(*places));
    places->epoch = now;
}

int acme_places_take(acme_place_t *place, acme_places_t *places, unsigned int limit,
                     apr_time_t now, apr_interval_time_t lease)
{
    apr_interval_time_t longest = lease < ACME_PLACES_LEASE_MAX ? lease : ACME_PLACES_LEASE_MAX;
    apr_uint32_t current = ticks(places, now), until = ticks(places, now + longest) + 1;
    unsigned int i;

    for (i = 0; i < limit && i < ACME_PLACES_MAX; i++) {
        apr_uint32_t taken = apr_atomic_read32(&places->until[i]);

        if (is_free(taken, current) &&
            apr_atomic_cas32(&places->until[i], until, taken) == taken) {
            place->index = i;
            place->until = until;
            return 1;
        }
    }
    return 0;
}

void acme_places_leave(acme_places_t *places, const acme_place_t *place)
{
    /* A later lease ends later, so the time also says whose it is. */
    apr_atomic_cas32(&places->until[place->index], 0, place->until);
}
