/* SPDX-License-Identifier: Apache-2.0 */
#include "acme-alpn.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "acme_probe.h"
#include "acme_text.h"

#define DEFAULT_CONNECT "127.0.0.1:443"

/* The pause between two attempts. NFS or rsync may publish an entry with a delay. */
#define INTERVAL apr_time_from_msec(250)

/* The shortest attempt, so that the last one does not time out for lack of time alone. */
#define SHORTEST apr_time_from_msec(500)

/* httpd logs each handshake that reaches it. */
#define IN_FRONT                                                                               \
    "if the log has no line at that time, something in front of httpd (nginx, Caddy, a CDN) "  \
    "terminates TLS"

typedef struct {
    const char *given; /* HOST:PORT, as on the command line */
    const char *host, *port;
    acme_addresses_t found; /* once the host is resolved */
    acme_probe_t last;
} address_t;

typedef struct {
    SSL_CTX *context;
    const acme_alpn_options_t *options;
    apr_time_t deadline;
} check_t;

/* When the first of `parts` equal shares of the time left ends. */
static apr_time_t check_share(apr_time_t deadline, int parts)
{
    apr_time_t now = acme_monotonic();
    apr_interval_time_t part = (deadline - now) / parts;

    return now + (part > SHORTEST ? part : SHORTEST);
}

/* Returns whether there is time for another attempt. */
static int check_pause(const check_t *check)
{
    if (acme_monotonic() + INTERVAL >= check->deadline) {
        return 0;
    }
    apr_sleep(INTERVAL);
    return 1;
}

static acme_error_e check_resolve(address_t *address, apr_time_t latest)
{
    acme_error_e error;

    if (address->found.count > 0) {
        return ACME_OK;
    }
    error = acme_net_resolve(&address->found, address->host, address->port, latest);
    if (error == ACME_PROBE_TIMEOUT) {
        apr_cpystrn(address->last.detail, "DNS did not answer in time",
                    sizeof(address->last.detail));
        error = ACME_PROBE_HOST_UNKNOWN;
    }
    return error;
}

static int check_did_not_answer(acme_error_e outcome)
{
    return outcome == ACME_PROBE_CONNECTION_REFUSED || outcome == ACME_PROBE_UNREACHABLE ||
           outcome == ACME_PROBE_TIMEOUT;
}

/* Makes one handshake, with the first of the host's addresses that answers. */
static void check_attempt(address_t *address, const check_t *check, apr_time_t latest)
{
    acme_probe_t *probe = &address->last;
    acme_addresses_t one = {.count = 1};
    int i;

    memset(probe, 0, sizeof(*probe));
    probe->outcome = check_resolve(address, latest);
    if (probe->outcome != ACME_OK) {
        return;
    }
    for (i = 0; i < address->found.count && (i == 0 || check_did_not_answer(probe->outcome));
         i++) {
        one.address[0] = address->found.address[i];
        acme_probe(probe, check->context, &one, &check->options->identifier,
                   check_share(latest, address->found.count - i));
    }
    if (probe->outcome == ACME_OK &&
        memcmp(probe->digest.bytes, check->options->digest.bytes, ACME_DIGEST_SIZE) != 0) {
        probe->outcome = ACME_CERTIFICATE_WRONG_DIGEST;
    }
}

/* Tries each address until it passes or the deadline is over. An address that hangs gets only
 * its share of the time left, so that the others are tried again. Returns how many failed. */
static int check_probe_all(apr_array_header_t *addresses, const check_t *check)
{
    int i, failed = addresses->nelts;

    do {
        for (i = 0; i < addresses->nelts; i++) {
            address_t *address = &APR_ARRAY_IDX(addresses, i, address_t);

            if (address->last.outcome != ACME_OK) {
                check_attempt(address, check, check_share(check->deadline, failed));
                failed -= address->last.outcome == ACME_OK;
            }
        }
    } while (failed > 0 && check_pause(check));
    return failed;
}

/* A trailing dot bypasses /etc/hosts, which often has 127.0.1.1 for this machine's own name. An
 * empty LOCALDOMAIN disables the search list, since a CA has none. */
static acme_error_e check_resolve_public(acme_addresses_t *found, const check_t *check)
{
    const acme_identifier_t *identifier = &check->options->identifier;
    const char *absolute = apr_pstrcat(check->options->pool, identifier->name, ".", NULL);

    if (identifier->address_size == 0 &&
        acme_net_resolve(found, absolute, "443", check_share(check->deadline, 2)) == ACME_OK) {
        return ACME_OK;
    }
    setenv("LOCALDOMAIN", "", 1);
    return acme_net_resolve(found, identifier->name, "443", check_share(check->deadline, 1));
}

/* Adds each address of the identifier, with the port that a CA uses (RFC 8737 section 3). */
static void check_add_public(const check_t *check)
{
    const acme_alpn_options_t *options = check->options;
    const char *name = options->identifier.name;
    char host[NI_MAXHOST];
    acme_addresses_t found;
    int i;

    while (check_resolve_public(&found, check) != ACME_OK && check_pause(check)) {
    }
    for (i = 0; i < found.count; i++) {
        getnameinfo((const struct sockaddr *)&found.address[i].socket, found.address[i].size,
                    host, sizeof(host), NULL, 0, NI_NUMERICHOST);
        APR_ARRAY_PUSH(options->connect, const char *) =
            apr_psprintf(options->pool, strchr(host, ':') ? "[%s]:443" : "%s:443", host);
        if (strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0) {
            acme_alpn_complain("%s is %s on this machine (see /etc/hosts), but not for a CA",
                               name, host);
        }
    }
    if (i == ACME_ADDRESSES_MAX) {
        acme_alpn_complain("%s: only its first %d addresses are checked", name, i);
    }
    if (i == 0) { /* its verdict will be host-unknown */
        APR_ARRAY_PUSH(options->connect, const char *) =
            apr_pstrcat(options->pool, name, ":443", NULL);
    }
}

static const char *check_advice(acme_error_e outcome, int is_public)
{
    if (is_public && check_did_not_answer(outcome)) {
        return "start httpd, open port 443 in the firewall, or correct the address; a router "
               "may not let a server reach itself by its public address: then run this on "
               "another machine, with the VALUE";
    }
    switch (outcome) {
    case ACME_PROBE_HOST_UNKNOWN:
        return "correct the name, its A or AAAA record, or this machine's resolver "
               "(/etc/resolv.conf)";
    case ACME_PROBE_CONNECTION_REFUSED:
        return "start httpd, or name the address of its TLS vhosts with --connect HOST:PORT";
    case ACME_PROBE_UNREACHABLE:
        return "correct the address, or the routes to it";
    case ACME_PROBE_TIMEOUT:
        return "correct the address, or let the connection through the firewall; if httpd's "
               "error log says that it reached MaxRequestWorkers, raise that";
    case ACME_PROBE_CLOSED:
    case ACME_PROBE_TLS_FAILED:
        return "set LogLevel ssl:info and read the reason in httpd's error log; " IN_FRONT;
    case ACME_PROBE_NOT_TLS:
        return "give the first vhost there SSLEngine on, or name the port of the TLS vhosts";
    case ACME_PROBE_REFUSED:
        return "mod_acme_alpn has no valid entry for the name in its spool, is not loaded "
               "(apachectl -M), or is off for this vhost: grep AALPN0102 in httpd's error log "
               "for the file and the reason; " IN_FRONT;
    case ACME_PROBE_OTHER_PROTOCOL:
    case ACME_CERTIFICATE_ORDINARY:
        return is_public
                   ? "a proxy or CDN terminates TLS there, or mod_acme_alpn is not loaded "
                     "(apachectl -M), or the vhost has AcmeAlpnEngine Off"
                   : "mod_acme_alpn is not loaded (apachectl -M), or the vhost has "
                     "AcmeAlpnEngine Off, or something in front of httpd terminates TLS";
    case ACME_CERTIFICATE_WRONG_DIGEST:
        return "another ACME client has an entry for the same name, httpd reads another spool "
               "(AcmeAlpnSpool), or another responder in front of httpd answers";
    case ACME_SYSTEM_ERROR:
        return "this machine could not begin the handshake; the verdict is not about httpd";
    default:
        return "another server than mod_acme_alpn answered: check what is in front of httpd";
    }
}

/* Prints the verdict, or appends it to the JSON's list. */
static void check_show(json_t *list, const acme_alpn_options_t *options,
                       const address_t *address)
{
    const acme_probe_t *last = &address->last;
    const char *slug = acme_error_slug(last->outcome), *text = acme_error_text(last->outcome);
    const char *name = options->identifier.name, *given = address->given;
    const char *detail = last->detail[0] ? last->detail : NULL;
    int passed = last->outcome == ACME_OK;
    const char *advice = passed ? NULL : check_advice(last->outcome, options->is_public);

    if (list) {
        given = acme_text_phrase(options->pool, given);
        json_array_append_new(list,
                              json_pack("{s:s, s:b, s:s, s:s, s:s?, s:s?, s:s?}", "address",
                                        given, "pass", passed, "reason", slug, "text", text,
                                        "detail", detail, "advice", advice, "tls", last->tls));
    } else if (passed) {
        printf("PASS %s at %s (%s)\n", name, given, last->tls);
    } else {
        printf("FAIL %s at %s: %s: %s%s%s%s\n     %s\n", name, given, slug, text,
               detail ? " (" : "", last->detail, detail ? ")" : "", advice);
    }
}

/* Returns whether all of it was written. */
static int check_print(const acme_alpn_options_t *options, const apr_array_header_t *addresses,
                       int passed)
{
    json_t *list = options->json ? json_array() : NULL;
    int i;

    for (i = 0; i < addresses->nelts; i++) {
        check_show(list, options, &APR_ARRAY_IDX(addresses, i, address_t));
    }
    return !list || acme_alpn_print_json(json_pack("{s:s, s:b, s:o}", "identifier",
                                                   options->identifier.name, "pass", passed,
                                                   "checks", list));
}

exit_e acme_alpn_check(const acme_alpn_options_t *options)
{
    apr_array_header_t *addresses = apr_array_make(options->pool, 4, sizeof(address_t));
    check_t check = {NULL, options, acme_monotonic() + options->wait};
    int i, failed;

    if (options->is_public) {
        check_add_public(&check);
    } else if (options->connect->nelts == 0) {
        APR_ARRAY_PUSH(options->connect, const char *) = DEFAULT_CONNECT;
    }
    for (i = 0; i < options->connect->nelts; i++) {
        address_t *address = apr_array_push(addresses);

        address->given = APR_ARRAY_IDX(options->connect, i, const char *);
        address->last.outcome = ACME_PROBE_TIMEOUT;
        if (!acme_net_parse(&address->host, &address->port, address->given, options->pool)) {
            acme_alpn_complain("--connect: '%s' is not an address; " ACME_NET_ALLOWED,
                               address->given);
            return EXIT_USAGE;
        }
    }
    check.context = acme_probe_context();
    if (!check.context) {
        acme_alpn_complain("OpenSSL failed to initialize");
        return EXIT_FAIL;
    }
    failed = check_probe_all(addresses, &check);
    SSL_CTX_free(check.context);
    return check_print(options, addresses, failed == 0) && failed == 0 ? EXIT_PASS : EXIT_FAIL;
}
