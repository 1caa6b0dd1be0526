#include "acme-alpn.h"

#include <stdio.h>
#include <string.h>

#include <apr_network_io.h>
#include <apr_strings.h>

#include "acme_probe.h"
#include "acme_resolver.h"

/* Between two attempts at an address; a spool on NFS or fed by rsync needs a moment. */
#define INTERVAL apr_time_from_msec(250)

/* What an attempt gets at least: the last one is to fail for its reason, not for lack of time.
 */
#define SHORTEST apr_time_from_msec(500)

typedef struct {
    const char *given; /* as on the command line */
    acme_resolver_t *resolver;
    apr_port_t port;
    acme_error_e outcome;
    const char *detail;
    const char *tls;
} address_t;

/* What all handshakes of one check have in common. */
typedef struct {
    apr_pool_t *pool;
    SSL_CTX *context;
    const acme_identifier_t *identifier;
    const acme_digest_t *digest;
    apr_time_t deadline;
} check_t;

/* Into host and port; the host is looked up when it is connected to. */
static int parse(address_t *address, apr_pool_t *pool)
{
    char *host = NULL, *scope = NULL;

    if (apr_parse_addr_port(&host, &scope, &address->port, address->given, pool) !=
            APR_SUCCESS ||
        !host || !address->port) {
        acme_alpn_complain(
            "--connect: '%s' is not an address; give HOST:PORT or [IPV6]:PORT with "
            "a port from 1 to 65535",
            address->given);
        return 0;
    }
    address->resolver = acme_resolver_create(host);
    return 1;
}

static int did_not_answer(acme_error_e outcome)
{
    return outcome == ACME_PROBE_NOBODY_LISTENS || outcome == ACME_PROBE_UNREACHABLE ||
           outcome == ACME_PROBE_TIMEOUT;
}

/* Until when one of so many may take. */
static apr_time_t share(apr_time_t deadline, int parts)
{
    apr_time_t now = apr_time_now();
    apr_interval_time_t part = (deadline - now) / parts;

    return now + (part > SHORTEST ? part : SHORTEST);
}

/* One handshake: with the first of the host's addresses that answers. */
static void probe_host(acme_probe_t *probe, apr_pool_t *pool, const check_t *check,
                       const address_t *address, apr_time_t latest)
{
    acme_addresses_t found;
    acme_error_e error = address->resolver
                             ? acme_resolver_ask(&found, address->resolver, latest)
                             : ACME_SYSTEM_ERROR;
    int i;

    memset(probe, 0, sizeof(*probe));
    if (error != ACME_OK) {
        probe->outcome = error == ACME_SYSTEM_ERROR ? error : ACME_PROBE_HOST_UNKNOWN;
        probe->detail = error == ACME_PROBE_TIMEOUT ? "it was not resolved in time" : NULL;
        return;
    }
    for (i = 0; i < found.count && (i == 0 || did_not_answer(probe->outcome)); i++) {
        apr_sockaddr_t *resolved;

        if (apr_sockaddr_info_get(&resolved, found.address[i], APR_UNSPEC, address->port, 0,
                                  pool) != APR_SUCCESS) {
            probe->outcome = ACME_PROBE_UNREACHABLE;
            continue;
        }
        acme_probe(probe, pool, check->context, resolved, check->identifier,
                   share(latest, found.count - i));
    }
}

static void attempt(address_t *address, const check_t *check, apr_time_t latest)
{
    acme_probe_t probe;
    apr_pool_t *scratch;

    apr_pool_create(&scratch, check->pool);
    probe_host(&probe, scratch, check, address, latest);
    if (probe.outcome == ACME_OK &&
        memcmp(&probe.digest, check->digest, sizeof(probe.digest)) != 0) {
        probe.outcome = ACME_CERTIFICATE_WRONG_DIGEST;
    }
    address->outcome = probe.outcome;
    address->detail = probe.detail ? apr_pstrdup(check->pool, probe.detail) : NULL;
    address->tls = probe.tls;
    apr_pool_destroy(scratch);
}

static int count_failed(const apr_array_header_t *addresses)
{
    int i, failed = 0;

    for (i = 0; i < addresses->nelts; i++) {
        failed += APR_ARRAY_IDX(addresses, i, address_t).outcome != ACME_OK;
    }
    return failed;
}

/* Each address until it passes or the deadline is over; how many have not passed. One that
 * hangs takes no more than its share of the time that is left, so that the others are tried
 * again. */
static int probe_all(apr_array_header_t *addresses, const check_t *check)
{
    int i, failed = addresses->nelts;

    for (;;) {
        for (i = 0; i < addresses->nelts; i++) {
            address_t *address = &APR_ARRAY_IDX(addresses, i, address_t);

            if (address->outcome != ACME_OK) {
                attempt(address, check, share(check->deadline, failed));
                failed = count_failed(addresses);
            }
        }
        if (failed == 0 || apr_time_now() + INTERVAL >= check->deadline) {
            return failed;
        }
        apr_sleep(INTERVAL);
    }
}

static void print_text(const apr_array_header_t *addresses, const acme_identifier_t *identifier)
{
    int i;

    for (i = 0; i < addresses->nelts; i++) {
        const address_t *address = &APR_ARRAY_IDX(addresses, i, address_t);

        if (address->outcome == ACME_OK) {
            printf("PASS %s at %s (%s)\n", identifier->name, address->given, address->tls);
        } else {
            printf("FAIL %s at %s: %s: %s%s%s%s\n     %s\n", identifier->name, address->given,
                   acme_error_slug(address->outcome), acme_error_text(address->outcome),
                   address->detail ? " (" : "", address->detail ? address->detail : "",
                   address->detail ? ")" : "", acme_alpn_advice(address->outcome));
        }
    }
}

/* The caller drops the reference. */
static json_t *describe(apr_pool_t *pool, const address_t *address)
{
    int passed = address->outcome == ACME_OK;

    return json_pack("{s:o, s:b, s:s, s:s, s:s?, s:s?, s:s?}", "address",
                     acme_alpn_json_text(pool, address->given), "pass", passed, "reason",
                     acme_error_slug(address->outcome), "text",
                     acme_error_text(address->outcome), "detail", address->detail, "advice",
                     passed ? NULL : acme_alpn_advice(address->outcome), "tls", address->tls);
}

/* Whether all of it was written. */
static int print_json(apr_pool_t *pool, const apr_array_header_t *addresses,
                      const acme_identifier_t *identifier, int passed)
{
    json_t *list = json_array();
    int i;

    for (i = 0; i < addresses->nelts; i++) {
        json_array_append_new(list, describe(pool, &APR_ARRAY_IDX(addresses, i, address_t)));
    }
    return acme_alpn_print_json(json_pack("{s:s, s:b, s:o}", "identifier", identifier->name,
                                          "pass", passed, "checks", list));
}

exit_e acme_alpn_check(const acme_alpn_options_t *options, const acme_identifier_t *identifier,
                       const acme_digest_t *digest)
{
    apr_array_header_t *addresses = apr_array_make(options->pool, 4, sizeof(address_t));
    check_t check = {options->pool, NULL, identifier, digest, apr_time_now() + options->wait};
    int i, failed;

    for (i = 0; i < options->connect->nelts; i++) {
        address_t *address = apr_array_push(addresses);

        address->given = APR_ARRAY_IDX(options->connect, i, const char *);
        address->outcome = ACME_PROBE_TIMEOUT;
        if (!parse(address, options->pool)) {
            return EXIT_USAGE;
        }
    }
    check.context = acme_probe_context();
    if (!check.context) {
        acme_alpn_complain("OpenSSL cannot be initialized");
        return EXIT_FAIL;
    }
    failed = probe_all(addresses, &check);
    SSL_CTX_free(check.context);
    if (!options->json) {
        print_text(addresses, identifier);
    } else if (!print_json(options->pool, addresses, identifier, failed == 0)) {
        return EXIT_FAIL;
    }
    return failed == 0 ? EXIT_PASS : EXIT_FAIL;
}
