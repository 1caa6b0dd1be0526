#include "acme-alpn.h"

/* Where httpd has nothing to say about a handshake, that was not with httpd. */
#define IN_FRONT                                                                               \
    "no such line at that time: something in front of httpd (nginx, Caddy, a CDN) answered "   \
    "and terminates TLS"

const char *acme_alpn_advice(acme_error_e outcome)
{
    switch (outcome) {
    case ACME_PROBE_HOST_UNKNOWN:
        return "correct the host name of --connect, or see to it that this machine can resolve "
               "it";
    case ACME_PROBE_NOBODY_LISTENS:
        return "start httpd, or name the address of its TLS vhosts with --connect HOST:PORT";
    case ACME_PROBE_UNREACHABLE:
        return "correct the address, or the routes to it";
    case ACME_PROBE_TIMEOUT:
        return "correct the address, or let the connection through the firewall; or all of "
               "httpd's children are busy";
    case ACME_PROBE_CLOSED:
    case ACME_PROBE_TLS_FAILED:
        return "httpd's error log says why, with LogLevel ssl:info; " IN_FRONT;
    case ACME_PROBE_NOT_TLS:
        return "name the port of the TLS vhosts with --connect HOST:PORT";
    case ACME_PROBE_REFUSED:
        return "either mod_acme_alpn is not loaded or is off for this vhost (apachectl -M), or "
               "it has no valid entry for the name in the spool that it reads: grep AALPN0102 "
               "in httpd's error log for the file and the reason; " IN_FRONT;
    case ACME_PROBE_OTHER_PROTOCOL:
    case ACME_CERTIFICATE_ORDINARY:
        return "mod_acme_alpn is not loaded or is off for this vhost (apachectl -M), or "
               "something in front of httpd terminates TLS";
    case ACME_CERTIFICATE_WRONG_DIGEST:
        return "another ACME client has an entry for the same name, httpd reads another spool "
               "(AcmeAlpnSpool), or another responder stands in front of it";
    case ACME_SYSTEM_ERROR:
        return "this machine could not begin the handshake, so nothing is known of httpd";
    default:
        return "it was not mod_acme_alpn that answered: look at what stands in front of httpd";
    }
}
