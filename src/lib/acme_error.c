/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_error.h"

#define LACK   ACME_CLASS_LACK
#define CLIENT ACME_CLASS_CLIENT
#define STORE  ACME_CLASS_STORE
#define VALUE  ACME_CLASS_VALUE

static const struct {
    const char *slug;
    unsigned int classes;
    const char *text;
} errors[ACME_ERRORS] = {
    /* clang-format off */
    [ACME_OK] = {"ok", 0, "the challenge is valid"},

    [ACME_NO_SNI] = {"no-sni", CLIENT, "the client sent no server name (SNI)"},
    [ACME_NAME_INVALID] = {"name-invalid", CLIENT,
        "the name is neither a DNS name in A-labels nor an IP address (in a handshake: an "
        "address's reverse name)"},
    [ACME_NAME_NOT_ASCII] = {"name-not-ascii", 0,
        "the name has characters beyond ASCII; give it in A-labels (xn--...)"},
    [ACME_NAME_WILDCARD] = {"name-wildcard", 0,
        "tls-alpn-01 cannot validate wildcards; use dns-01 for them"},

    [ACME_SPOOL_MISSING] = {"spool-missing", LACK,
        "the spool does not exist; create it with mode 0755, owned by root or by the ACME "
        "client's user"},
    [ACME_SPOOL_NOT_DIRECTORY] = {"spool-not-directory", 0,
        "the spool is not a directory; name one with AcmeAlpnSpool or --spool"},
    [ACME_SPOOL_UNREADABLE] = {"spool-unreadable", 0,
        "permission denied: this user cannot read the spool or enter a directory above it; for "
        "httpd's User, apachectl configtest names that directory"},
    [ACME_SPOOL_WRITABLE] = {"spool-writable", 0,
        "users other than the owner can write the spool; give it mode 0755"},
    [ACME_SPOOL_NOT_OURS] = {"spool-not-ours", 0,
        "this user is neither root nor the owner of the spool, so httpd would refuse its "
        "entries; run the ACME client as one of these users, or chown the spool"},

    [ACME_NO_ENTRY] = {"no-entry", LACK | CLIENT, "there is no entry for this name"},
    [ACME_ENTRY_UNREADABLE] = {"entry-unreadable", 0,
        "permission denied: this user cannot read the entry; for httpd's User give it mode "
        "0644"},
    [ACME_ENTRY_SYMLINK] = {"entry-symlink", 0,
        "the entry is a symbolic link; replace it with a regular file"},
    [ACME_ENTRY_NOT_REGULAR] = {"entry-not-regular", 0, "the entry is not a regular file"},
    [ACME_ENTRY_OWNER] = {"entry-owner", 0,
        "the entry belongs neither to root nor to the owner of the spool; run the ACME client "
        "as one of these users, or chown the spool"},
    [ACME_ENTRY_WRITABLE] = {"entry-writable", 0,
        "users other than the owner can write the entry; give it mode 0644"},
    [ACME_ENTRY_TOO_LARGE] = {"entry-too-large", VALUE, "the entry is larger than 1024 bytes"},
    [ACME_ENTRY_TOO_OLD] = {"entry-too-old", 0, "the entry is older than AcmeAlpnMaxAge"},
    [ACME_ENTRY_FUTURE] = {"entry-future", 0,
        "the entry's modification time is more than 5 minutes ahead of this machine's clock"},
    [ACME_ENTRY_OTHER_VALUE] = {"entry-other-value", 0,
        "the entry has another value, so it belongs to another ACME client"},

    [ACME_VALUE_EMPTY] = {"value-empty", VALUE, "the entry is empty"},
    [ACME_VALUE_LINES] = {"value-lines", VALUE, "the entry has more than one line"},
    [ACME_VALUE_MALFORMED] = {"value-malformed", VALUE,
        "the entry is neither a key authorization nor its SHA-256 in base64url or hex"},
    [ACME_ACCOUNT_OTHER] = {"account-other", 0,
        "AcmeAlpnAccount does not name the entry's ACME account; add it there if it is yours"},
    [ACME_ACCOUNT_UNKNOWN] = {"account-unknown", 0,
        "AcmeAlpnAccount refuses a bare digest, since it shows no ACME account; publish the "
        "key authorization"},

    [ACME_MODULE_UNREADABLE] = {"module-unreadable", 0,
        "another httpd module answered with something other than a PEM certificate"},

    [ACME_STORE_UNSUPPORTED] = {"store-unsupported", 0,
        "this build lacks hiredis, which stores need (Debian: apt-get install libhiredis-dev, "
        "and build again)"},
    [ACME_STORE_UNRESOLVED] = {"store-unresolved", CLIENT | STORE,
        "the store's host name has no address"},
    [ACME_STORE_UNREACHABLE] = {"store-unreachable", CLIENT | STORE,
        "the connection to the store failed"},
    [ACME_STORE_TIMEOUT] = {"store-timeout", CLIENT | STORE,
        "the store did not answer in time"},
    [ACME_STORE_CLOSED] = {"store-closed", CLIENT | STORE, "the store closed the connection"},
    [ACME_STORE_TLS_FAILED] = {"store-tls-failed", CLIENT | STORE, "TLS with the store failed"},
    [ACME_STORE_PROTOCOL] = {"store-protocol", CLIENT | STORE,
        "the store sent an answer that is not in the Redis protocol"},
    [ACME_STORE_DENIED] = {"store-denied", CLIENT | STORE,
        "the store refuses the user, the password or the command"},
    [ACME_STORE_KEY_REFUSED] = {"store-key-refused", CLIENT,
        "the store denies its user this name's key, or another node of the store has the key"},
    [ACME_STORE_FAILED] = {"store-failed", CLIENT | STORE, "the store answered with an error"},
    [ACME_STORE_BUSY] = {"store-busy", CLIENT,
        "too many handshakes wait for stores and upstreams"},
    [ACME_STORE_BACKOFF] = {"store-backoff", CLIENT,
        "the module backs off from the store for a second after a time-out"},

    [ACME_SESSION_RESUMED] = {"session-resumed", CLIENT,
        "the client resumes a TLS session, and a resumed session sends no certificate"},
    [ACME_NO_KEY_TYPE] = {"no-key-type", CLIENT,
        "the client accepts no challenge certificate with a P-256, RSA-2048 or P-384 key"},
    [ACME_RELAY_FOREIGN_NAME] = {"relay-foreign-name", LACK | CLIENT,
        "no ServerName or ServerAlias of this server is this name, so the module asks no "
        "upstream (option any-name lifts the limit)"},
    [ACME_RELAY_LOOP] = {"relay-loop", LACK | CLIENT,
        "another server relayed this handshake, so the module does not relay it again"},
    [ACME_RELAY_BUSY] = {"relay-busy", CLIENT,
        "too many handshakes wait for this upstream, or for stores and upstreams together"},
    [ACME_RELAY_BACKOFF] = {"relay-backoff", CLIENT,
        "the module backs off from the upstream for a second after a time-out"},

    [ACME_PROBE_HOST_UNKNOWN] = {"host-unknown", 0, "the host name has no address"},
    [ACME_PROBE_CONNECTION_REFUSED] = {"connection-refused", 0,
        "connection refused: nothing listens there"},
    [ACME_PROBE_UNREACHABLE] = {"unreachable", 0, "the address cannot be reached"},
    [ACME_PROBE_TIMEOUT] = {"timeout", 0, "time-out: no answer came in time"},
    [ACME_PROBE_CLOSED] = {"closed", 0,
        "the server closed the connection during the handshake"},
    [ACME_PROBE_NOT_TLS] = {"not-tls", 0, "the server there does not speak TLS"},
    [ACME_PROBE_REFUSED] = {"refused", LACK | CLIENT,
        "the server refused acme-tls/1 (TLS alert 120, no_application_protocol)"},
    [ACME_PROBE_TLS_FAILED] = {"tls-failed", 0, "the TLS handshake failed"},
    [ACME_PROBE_OTHER_PROTOCOL] = {"other-protocol", 0,
        "the server did not negotiate acme-tls/1"},
    [ACME_PROBE_NO_CERTIFICATE] = {"no-certificate", 0, "the server sent no certificate"},
    [ACME_CERTIFICATE_ORDINARY] = {"certificate-ordinary", 0,
        "the server sent an ordinary certificate, without an acmeIdentifier"},
    [ACME_CERTIFICATE_NOT_SELF_SIGNED] = {"certificate-not-self-signed", 0,
        "the certificate is not signed with its own key"},
    [ACME_CERTIFICATE_REPEATED_EXTENSION] = {"certificate-repeated-extension", 0,
        "the certificate has an extension twice"},
    [ACME_CERTIFICATE_WRONG_NAME] = {"certificate-wrong-name", 0,
        "the subjectAltName of the certificate is not this identifier alone"},
    [ACME_CERTIFICATE_NOT_CRITICAL] = {"certificate-not-critical", 0,
        "the acmeIdentifier of the certificate is not critical"},
    [ACME_CERTIFICATE_MALFORMED] = {"certificate-malformed", 0,
        "the acmeIdentifier of the certificate is not an OCTET STRING of 32 bytes"},
    [ACME_CERTIFICATE_WRONG_DIGEST] = {"certificate-wrong-digest", 0,
        "the acmeIdentifier of the certificate has the digest of another key authorization"},

    [ACME_RUNTIME_MISSING] = {"runtime-missing", 0,
        "this directory does not exist; create it with mode 0755, or name another with "
        "DefaultRuntimeDir"},
    [ACME_RUNTIME_UNWRITABLE] = {"runtime-unwritable", 0,
        "the user that starts httpd cannot write this directory; give that user write "
        "permission, or name another with DefaultRuntimeDir"},
    [ACME_RUNTIME_UNSAFE] = {"runtime-unsafe", 0,
        "a user other than root and the one that starts httpd owns or can write this "
        "directory; chown it and give it mode 0755, or name another with DefaultRuntimeDir"},

    [ACME_SYSTEM_ERROR] = {"system-error", 0, "the operating system or OpenSSL failed"},
    /* clang-format on */
};

static acme_error_e error_known(acme_error_e error)
{
    return (unsigned int)error < ACME_ERRORS ? error : ACME_SYSTEM_ERROR;
}

const char *acme_error_slug(acme_error_e error)
{
    return errors[error_known(error)].slug;
}

const char *acme_error_text(acme_error_e error)
{
    return errors[error_known(error)].text;
}

int acme_error_is(acme_error_e error, acme_error_class_e class)
{
    return (errors[error_known(error)].classes & class) != 0;
}
