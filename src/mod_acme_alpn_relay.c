#include "mod_acme_alpn_relay.h"

#include <string.h>

#include <apr_shm.h>
#include <apr_strings.h>

#include <http_log.h>

#include "acme_flights.h"
#include "acme_places.h"
#include "acme_probe.h"
#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_names.h"
#include "mod_acme_alpn_record.h"
#include "mod_acme_alpn_upstream.h"
#include "mod_acme_alpn_waiting.h"

APLOG_USE_MODULE(acme_alpn);

/* What outlives a reload: the old children go on using it beside the new ones. Its name changes
 * with its layout. */
#define SAVED_MEMORY "mod_acme_alpn:relay:2"

typedef struct {
    acme_places_t *places; /* of those that ask an upstream themselves */
    acme_flights_t *flights;
} shared_t;

/* One question to one upstream. */
typedef struct {
    acme_alpn_challenge_t *challenge;
    const acme_alpn_upstream_t *upstream;
    apr_pool_t *pool;
    apr_time_t deadline;
    acme_flight_key_t key;
    int is_brief; /* it waits for a moment only, without a place */
} question_t;

static shared_t *shared; /* NULL: no memory for it */
static acme_alpn_names_t *names;
static SSL_CTX *context;

static shared_t *make_shared(apr_pool_t *pool)
{
    apr_size_t places = APR_ALIGN_DEFAULT(sizeof(acme_places_t));
    shared_t *made = apr_palloc(pool, sizeof(*made));
    apr_shm_t *memory;
    char *base;

    if (apr_shm_create(&memory, places + acme_flights_size(), NULL, pool) != APR_SUCCESS) {
        return NULL;
    }
    base = apr_shm_baseaddr_get(memory);
    made->places = (acme_places_t *)base;
    made->flights = (acme_flights_t *)(base + places);
    acme_places_init(made->places, apr_time_now());
    return acme_flights_init(made->flights) == ACME_OK ? made : NULL;
}

static shared_t *saved_shared(const server_rec *server)
{
    apr_pool_t *pool = server->process->pool;
    void *data = NULL;

    apr_pool_userdata_get(&data, SAVED_MEMORY, pool);
    if (!data) {
        data = make_shared(pool);
        if (data) {
            apr_pool_userdata_set(data, SAVED_MEMORY, apr_pool_cleanup_null, pool);
        }
    }
    return data;
}

static int is_any_configured(const apr_array_header_t *vhosts)
{
    int i;

    for (i = 0; i < vhosts->nelts; i++) {
        if (acme_alpn_server_get(APR_ARRAY_IDX(vhosts, i, server_rec *))->upstreams) {
            return 1;
        }
    }
    return 0;
}

void acme_alpn_relay_init(apr_pool_t *config_pool, server_rec *server,
                          const apr_array_header_t *vhosts)
{
    if (!is_any_configured(vhosts)) {
        return;
    }
    names = acme_alpn_names_make(config_pool, server);
    shared = saved_shared(server);
    if (!shared) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, server,
                     "AALPN0032: no shared memory to count relayed handshakes in, so "
                     "AcmeAlpnUpstream is not asked");
    }
}

static apr_status_t free_context(void *data)
{
    (void)data;
    SSL_CTX_free(context);
    context = NULL;
    return APR_SUCCESS;
}

static void make_resolvers(const server_rec *server)
{
    const apr_array_header_t *upstreams = acme_alpn_server_get(server)->upstreams;
    int i;

    for (i = 0; upstreams && i < upstreams->nelts; i++) {
        acme_alpn_upstream_t *upstream = APR_ARRAY_IDX(upstreams, i, acme_alpn_upstream_t *);

        if (!upstream->address && !upstream->resolver) {
            upstream->resolver = acme_resolver_create(upstream->host);
        }
    }
}

void acme_alpn_relay_child_init(apr_pool_t *pool, server_rec *server,
                                const apr_array_header_t *vhosts)
{
    int i;

    if (!is_any_configured(vhosts)) {
        return;
    }
    for (i = 0; i < vhosts->nelts; i++) {
        make_resolvers(APR_ARRAY_IDX(vhosts, i, server_rec *));
    }
    context = acme_probe_context();
    apr_pool_cleanup_register(pool, NULL, free_context, apr_pool_cleanup_null);
    if (!context || !acme_probe_mark_relayed(context)) {
        free_context(NULL);
        ap_log_error(
            APLOG_MARK, APLOG_ERR, 0, server,
            "AALPN0031: libssl has no client for AcmeAlpnUpstream, so it is not asked");
    }
}

/* Returns whether somebody was there to answer: *error. */
static int probe(acme_error_e *error, const question_t *question, apr_sockaddr_t *address,
                 apr_time_t connected)
{
    acme_probe_t answer;

    acme_record_count(acme_alpn_record_get(), ACME_RECORD_RELAYS);
    *error = acme_probe_within(&answer, question->pool, context, address,
                               &question->challenge->identifier, connected, question->deadline);
    question->challenge->digest = answer.digest;
    question->challenge->detail = answer.detail;
    return answer.is_connected;
}

/* The first of the host's addresses that can be reached; each has its share of the time, since
 * one that swallows packets says nothing. */
static acme_error_e probe_host(const question_t *question)
{
    int is_there = 0, i;
    acme_addresses_t found;
    acme_error_e error;

    if (!question->upstream->resolver) {
        return ACME_SYSTEM_ERROR;
    }
    error = acme_resolver_ask(&found, question->upstream->resolver, question->deadline);
    for (i = 0; i < found.count && !is_there; i++) {
        apr_time_t now = apr_time_now();
        apr_sockaddr_t *address;

        error = ACME_PROBE_HOST_UNKNOWN;
        if (apr_sockaddr_info_get(&address, found.address[i], APR_UNSPEC,
                                  question->upstream->port, 0, question->pool) == APR_SUCCESS) {
            is_there = probe(&error, question, address,
                             now + (question->deadline - now) / (found.count - i));
        }
    }
    return error;
}

static acme_error_e ask_upstream(const question_t *question)
{
    acme_error_e error;

    if (!question->upstream->address) {
        return probe_host(question);
    }
    probe(&error, question, question->upstream->address, question->deadline);
    return error;
}

/* A moment is too short to say anything of the upstream. */
static acme_error_e judge(const question_t *question, acme_error_e error)
{
    return error == ACME_PROBE_TIMEOUT && question->is_brief ? ACME_RELAY_BUSY : error;
}

/* With one of the upstream's places, of which those who follow need none. */
static acme_error_e lead(const question_t *question, const acme_flight_t *flight)
{
    apr_time_t now = apr_time_now();
    acme_error_e error;
    acme_place_t place;

    if (!acme_places_take(&place, shared->places, (unsigned int)question->upstream->places, now,
                          question->deadline - now + ACME_ALPN_WAITING_GRACE)) {
        acme_flights_cancel(shared->flights, flight);
        return ACME_RELAY_BUSY;
    }
    error = judge(question, ask_upstream(question));
    acme_places_leave(shared->places, &place);
    if (error == ACME_RELAY_BUSY) {
        acme_flights_cancel(shared->flights, flight);
    } else {
        acme_flights_land(shared->flights, flight, error, &question->challenge->digest,
                          apr_time_now());
    }
    return error;
}

/* Handshakes for the same name share one relay, whichever process they are in. */
static acme_error_e fly(const question_t *question)
{
    acme_error_e error;

    for (;;) {
        apr_time_t now = apr_time_now();
        acme_flight_t flight;

        if (now >= question->deadline) {
            return judge(question, ACME_PROBE_TIMEOUT);
        }
        if (acme_flights_board(&flight, shared->flights, &question->key, now,
                               question->deadline) == ACME_FLIGHT_LEADS) {
            return lead(question, &flight);
        }
        if (acme_flights_await(&error, &question->challenge->digest, shared->flights, &flight,
                               question->deadline)) {
            return error;
        }
    }
}

/* Whoever follows a flight waits too: what is scarce is workers. */
static acme_error_e wait_for_answer(question_t *question)
{
    acme_alpn_waiting_t waiting;
    acme_error_e error;

    if (!acme_alpn_waiting_enter(&waiting, ACME_ALPN_WAITING_UPSTREAM, &question->deadline)) {
        return ACME_RELAY_BUSY;
    }
    question->is_brief = waiting.is_brief;
    error = fly(question);
    acme_alpn_waiting_leave(&waiting, error != ACME_RELAY_BUSY);
    return error;
}

static acme_error_e ask(acme_alpn_challenge_t *challenge, const acme_alpn_upstream_t *upstream,
                        apr_pool_t *pool, apr_time_t latest)
{
    question_t question = {challenge, upstream, pool, apr_time_now() + upstream->timeout,
                           {{0}},     0};
    acme_error_e error;

    challenge->upstream = upstream->given;
    challenge->detail = NULL;
    if (question.deadline > latest) {
        question.deadline = latest;
    }
    if (!shared || !context ||
        acme_flights_key(&question.key, shared->flights, upstream->given,
                         challenge->identifier.name) != ACME_OK) {
        return ACME_SYSTEM_ERROR;
    }
    if (acme_flights_recall(&error, shared->flights, &question.key, apr_time_now())) {
        return error;
    }
    return wait_for_answer(&question);
}

int acme_alpn_relay_is_configured(const acme_alpn_challenge_t *challenge)
{
    return acme_alpn_server_get(challenge->server)->upstreams != NULL;
}

acme_error_e acme_alpn_relay_ask(acme_alpn_challenge_t *challenge, apr_pool_t *pool)
{
    const apr_array_header_t *upstreams = acme_alpn_server_get(challenge->server)->upstreams;
    int is_known = acme_alpn_names_have(names, &challenge->identifier), i;
    apr_time_t latest = apr_time_now() + ACME_ALPN_UPSTREAM_LONGEST;
    acme_error_e result = ACME_RELAY_FOREIGN_NAME;

    if (challenge->relayed) {
        return ACME_RELAY_LOOP;
    }
    for (i = 0; i < upstreams->nelts && result != ACME_OK; i++) {
        const acme_alpn_upstream_t *upstream =
            APR_ARRAY_IDX(upstreams, i, acme_alpn_upstream_t *);
        acme_alpn_challenge_t asked = *challenge;
        acme_error_e error;

        if ((!is_known && !upstream->any_name) || apr_time_now() >= latest) {
            continue;
        }
        error = ask(&asked, upstream, pool, latest);
        /* What is to be mended is not hidden by one that just has no such challenge. */
        if (!acme_error_is_lack(error) || acme_error_is_lack(result)) {
            *challenge = asked;
            result = error;
        }
    }
    return result;
}
