#include "acme-alpn.h"

#include <stdio.h>
#include <string.h>

#include <apr_network_io.h>
#include <apr_strings.h>

#include <jansson.h>

#include "acme_probe.h"

/* Between two attempts at an address; a spool on NFS or fed by rsync needs a moment. */
#define INTERVAL apr_time_from_msec(250)

/* What an attempt gets at least: the last one is to fail for its reason, not for lack of time.
 */
#define SHORTEST apr_time_from_msec(500)

typedef struct {
    const char *given; /* as on the command line */
    apr_sockaddr_t *resolved;
    acme_error_e outcome;
    const char *detail;
    const char *tls;
} address_t;

static const char *advice(acme_error_e outcome)
{
    switch (outcome) {
    case ACME_PROBE_NOBODY_LISTENS:
        return "start httpd, or name the address of its TLS vhosts with --connect HOST:PORT";
    case ACME_PROBE_UNREACHABLE:
    case ACME_PROBE_TIMEOUT:
        return "correct the address, or let the connection through the firewall";
    case ACME_PROBE_CLOSED:
    case ACME_PROBE_TLS_FAILED:
    case ACME_PROBE_NO_CERTIFICATE:
        return "httpd's error log says why, with LogLevel ssl:info";
    case ACME_PROBE_NOT_TLS:
        return "name the port of the TLS vhosts with --connect HOST:PORT";
    case ACME_PROBE_REFUSED:
        return "either mod_acme_alpn is not loaded or is off for this vhost (apachectl -M), or "
               "it "
               "has no valid entry for the name in the spool that it reads: grep AALPN0102 in "
               "httpd's error log for the file and the reason";
    case ACME_PROBE_OTHER_PROTOCOL:
    case ACME_CERTIFICATE_ORDINARY:
        return "mod_acme_alpn is not loaded or is off for this vhost (apachectl -M), or "
               "something "
               "in front of httpd terminates TLS";
    case ACME_CERTIFICATE_WRONG_DIGEST:
        return "another ACME client has an entry for the same name, httpd reads another spool "
               "(AcmeAlpnSpool), or another responder stands in front of it";
    default:
        return "it was not mod_acme_alpn that answered: look at what stands in front of httpd";
    }
}

static int resolve(address_t *address, apr_pool_t *pool)
{
    char *host = NULL, *scope = NULL;
    apr_port_t port = 0;
    apr_status_t status;

    if (apr_parse_addr_port(&host, &scope, &port, address->given, pool) != APR_SUCCESS ||
        !host || !port) {
        acme_alpn_complain(
            "--connect: '%s' is not an address; give HOST:PORT or [IPV6]:PORT with "
            "a port from 1 to 65535",
            address->given);
        return 0;
    }
    status = apr_sockaddr_info_get(&address->resolved, host, APR_UNSPEC, port, 0, pool);
    if (status != APR_SUCCESS) {
        char text[128];

        acme_alpn_complain("--connect: '%s': %s", address->given,
                           apr_strerror(status, text, sizeof(text)));
        return 0;
    }
    return 1;
}

static int is_unreachable(acme_error_e outcome)
{
    return outcome == ACME_PROBE_NOBODY_LISTENS || outcome == ACME_PROBE_UNREACHABLE;
}

/* One handshake: with the first of the host's addresses that can be reached. */
static void attempt(address_t *address, apr_pool_t *pool, SSL_CTX *context,
                    const acme_identifier_t *identifier, const acme_digest_t *digest,
                    apr_time_t deadline)
{
    apr_time_t latest = apr_time_now() + SHORTEST;
    apr_sockaddr_t *resolved = address->resolved;
    acme_probe_t probe;

    if (latest < deadline) {
        latest = deadline;
    }
    do {
        acme_probe(&probe, pool, context, resolved, identifier, latest);
        resolved = resolved->next;
    } while (resolved && is_unreachable(probe.outcome));
    if (probe.outcome == ACME_OK && memcmp(&probe.digest, digest, sizeof(*digest)) != 0) {
        probe.outcome = ACME_CERTIFICATE_WRONG_DIGEST;
    }
    address->outcome = probe.outcome;
    address->detail = probe.detail ? apr_pstrdup(pool, probe.detail) : NULL;
    address->tls = probe.tls;
}

/* Each address until it passes or the deadline is over; how many have not passed. One that
 * hangs until then leaves the others an attempt each. */
static int probe_all(apr_array_header_t *addresses, apr_pool_t *pool, SSL_CTX *context,
                     const acme_identifier_t *identifier, const acme_digest_t *digest,
                     apr_time_t deadline)
{
    int i, left;

    for (;;) {
        left = 0;
        for (i = 0; i < addresses->nelts; i++) {
            address_t *address = &APR_ARRAY_IDX(addresses, i, address_t);

            if (address->outcome != ACME_OK) {
                attempt(address, pool, context, identifier, digest, deadline);
                left += address->outcome != ACME_OK;
            }
        }
        if (left == 0 || apr_time_now() + INTERVAL >= deadline) {
            return left;
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
                   address->detail ? ")" : "", advice(address->outcome));
        }
    }
}

/* The caller drops the reference. */
static json_t *describe(const address_t *address)
{
    int passed = address->outcome == ACME_OK;

    return json_pack("{s:s, s:b, s:s, s:s, s:s?, s:s?, s:s?}", "address", address->given,
                     "pass", passed, "reason", acme_error_slug(address->outcome), "text",
                     acme_error_text(address->outcome), "detail", address->detail, "advice",
                     passed ? NULL : advice(address->outcome), "tls", address->tls);
}

static void print_json(const apr_array_header_t *addresses, const acme_identifier_t *identifier,
                       int passed)
{
    json_t *list = json_array(), *document;
    int i;

    for (i = 0; i < addresses->nelts; i++) {
        json_array_append_new(list, describe(&APR_ARRAY_IDX(addresses, i, address_t)));
    }
    document = json_pack("{s:s, s:b, s:o}", "identifier", identifier->name, "pass", passed,
                         "checks", list);
    json_dumpf(document, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    putchar('\n');
    json_decref(document);
}

exit_e acme_alpn_check(const acme_alpn_options_t *options, const acme_identifier_t *identifier,
                       const acme_digest_t *digest)
{
    apr_array_header_t *addresses = apr_array_make(options->pool, 4, sizeof(address_t));
    SSL_CTX *context;
    int i, failed;

    for (i = 0; i < options->connect->nelts; i++) {
        address_t *address = apr_array_push(addresses);

        address->given = APR_ARRAY_IDX(options->connect, i, const char *);
        address->outcome = ACME_PROBE_TIMEOUT;
        if (!resolve(address, options->pool)) {
            return EXIT_USAGE;
        }
    }
    context = acme_probe_context();
    if (!context) {
        acme_alpn_complain("OpenSSL cannot be initialized");
        return EXIT_FAIL;
    }
    failed = probe_all(addresses, options->pool, context, identifier, digest,
                       apr_time_now() + options->wait);
    SSL_CTX_free(context);
    if (options->json) {
        print_json(addresses, identifier, failed == 0);
    } else {
        print_text(addresses, identifier);
    }
    return failed == 0 ? EXIT_PASS : EXIT_FAIL;
}
