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
    [ACME_OK] = {"ok", 0, "there is a challenge"},

    [ACME_NO_SNI] = {"no-sni", CLIENT, "the client named no server"},
    [ACME_NAME_INVALID] = {"name-invalid", CLIENT,
        "the name is neither a DNS name in A-labels nor an IP address (in a handshake: its "
        "reverse name)"},
    [ACME_NAME_NOT_ASCII] = {"name-not-ascii", 0,
        "the name has characters beyond ASCII; give it in A-labels (xn--...)"},
    [ACME_NAME_WILDCARD] = {"name-wildcard", 0,
        "tls-alpn-01 cannot validate wildcards; use dns-01 for them"},

    [ACME_SPOOL_MISSING] = {"spool-missing", LACK,
        "the spool does not exist; make it, with mode 0755, for root or the ACME client's "
        "user"},
    [ACME_SPOOL_NOT_DIRECTORY] = {"spool-not-directory", 0, "the spool is not a directory"},
    [ACME_SPOOL_UNREADABLE] = {"spool-unreadable", 0,
        "this user may not read the spool, or not pass a directory above it; for httpd's User "
        "apachectl configtest names that"},
    [ACME_SPOOL_WRITABLE] = {"spool-writable", 0,
        "others than the owner can write the spool; give it mode 0755"},
    [ACME_SPOOL_NOT_OURS] = {"spool-not-ours", 0,
        "this user is neither root nor the owner of the spool, so httpd would ignore its "
        "entries; run this as one of them, or chown the spool"},

    [ACME_NO_ENTRY] = {"no-entry", LACK | CLIENT, "there is no entry for this name"},
    [ACME_ENTRY_UNREADABLE] = {"entry-unreadable", 0,
        "httpd's User may not read the entry; give it mode 0644"},
    [ACME_ENTRY_SYMLINK] = {"entry-symlink", 0, "the entry is a symbolic link"},
    [ACME_ENTRY_NOT_REGULAR] = {"entry-not-regular", 0, "the entry is not a regular file"},
    [ACME_ENTRY_OWNER] = {"entry-owner", 0,
        "the entry belongs neither to root nor to the owner of the spool"},
    [ACME_ENTRY_WRITABLE] = {"entry-writable", 0,
        "others than the owner can write the entry; give it mode 0644"},
    [ACME_ENTRY_TOO_LARGE] = {"entry-too-large", VALUE, "the entry is larger than 1024 bytes"},
    [ACME_ENTRY_TOO_OLD] = {"entry-too-old", 0, "the entry is older than AcmeAlpnMaxAge"},
    [ACME_ENTRY_FUTURE] = {"entry-future", 0,
        "the entry's modification time is more than 5 minutes ahead of this machine's clock"},
    [ACME_ENTRY_OTHER_VALUE] = {"entry-other-value", 0,
        "the entry has another value, so it is another client's"},

    [ACME_VALUE_EMPTY] = {"value-empty", VALUE, "the entry is empty"},
    [ACME_VALUE_LINES] = {"value-lines", VALUE, "the entry has more than one line"},
    [ACME_VALUE_MALFORMED] = {"value-malformed", VALUE,
        "the entry is neither a key authorization nor its SHA-256 in base64url or hex"},
    [ACME_ACCOUNT_OTHER] = {"account-other", 0,
        "AcmeAlpnAccount does not name the entry's ACME account; add it there if it is yours"},
    [ACME_ACCOUNT_UNKNOWN] = {"account-unknown", 0,
        "the entry is a bare digest, which AcmeAlpnAccount refuses since it shows no ACME "
        "account; publish the key authorization"},

    [ACME_MODULE_UNREADABLE] = {"module-unreadable", 0,
        "what another module of httpd answered is not a certificate in PEM"},

    [ACME_STORE_UNSUPPORTED] = {"store-unsupported", 0,
        "this was built without hiredis, so it has no stores (Debian: apt-get install "
        "libhiredis-dev, and build again)"},
    [ACME_STORE_UNRESOLVED] = {"store-unresolved", CLIENT | STORE,
        "the store's host has no address"},
    [ACME_STORE_UNREACHABLE] = {"store-unreachable", CLIENT | STORE,
        "the store cannot be connected to"},
    [ACME_STORE_TIMEOUT] = {"store-timeout", CLIENT | STORE,
        "the store did not answer in time"},
    [ACME_STORE_CLOSED] = {"store-closed", CLIENT | STORE, "the store closed the connection"},
    [ACME_STORE_TLS_FAILED] = {"store-tls-failed", CLIENT | STORE, "TLS with the store failed"},
    [ACME_STORE_PROTOCOL] = {"store-protocol", CLIENT | STORE,
        "what the store sent is not an answer of Redis"},
    [ACME_STORE_DENIED] = {"store-denied", CLIENT | STORE,
        "the store refuses the user, the password or the command"},
    [ACME_STORE_KEY_REFUSED] = {"store-key-refused", CLIENT,
        "the store does not let its user read this name's key, or has it elsewhere"},
    [ACME_STORE_FAILED] = {"store-failed", CLIENT | STORE, "the store answered with an error"},
    [ACME_STORE_BUSY] = {"store-busy", CLIENT,
        "too many handshakes wait for stores and upstreams"},
    [ACME_STORE_BACKOFF] = {"store-backoff", CLIENT,
        "the store did not answer in time a second ago, and was not asked again"},

    [ACME_SESSION_RESUMED] = {"session-resumed", CLIENT,
        "the client resumes a session, which would send no certificate"},
    [ACME_NO_KEY_TYPE] = {"no-key-type", CLIENT,
        "the client accepts no challenge certificate with a P-256, RSA-2048 or P-384 key"},
    [ACME_RELAY_FOREIGN_NAME] = {"relay-foreign-name", LACK | CLIENT,
        "no ServerName or ServerAlias of this server is this name, so no upstream is asked"},
    [ACME_RELAY_LOOP] = {"relay-loop", LACK | CLIENT,
        "another server relayed the handshake to this one, and what is relayed is not relayed "
        "again"},
    [ACME_RELAY_BUSY] = {"relay-busy", CLIENT,
        "too many handshakes wait for this upstream, or for stores and upstreams together"},
    [ACME_RELAY_BACKOFF] = {"relay-backoff", CLIENT,
        "the upstream did not answer in time a second ago, and was not asked again"},

    [ACME_PROBE_HOST_UNKNOWN] = {"host-unknown", 0, "the host's name has no address"},
    [ACME_PROBE_CONNECTION_REFUSED] = {"connection-refused", 0, "nothing listens there"},
    [ACME_PROBE_UNREACHABLE] = {"unreachable", 0, "the address cannot be reached"},
    [ACME_PROBE_TIMEOUT] = {"timeout", 0, "there was no answer in time"},
    [ACME_PROBE_CLOSED] = {"closed", 0, "the connection was closed during the handshake"},
    [ACME_PROBE_NOT_TLS] = {"not-tls", 0, "what listens there does not speak TLS"},
    [ACME_PROBE_REFUSED] = {"refused", LACK | CLIENT,
        "the server refused acme-tls/1 (TLS alert 120, no_application_protocol)"},
    [ACME_PROBE_TLS_FAILED] = {"tls-failed", 0, "the TLS handshake failed"},
    [ACME_PROBE_OTHER_PROTOCOL] = {"other-protocol", 0,
        "the server did not negotiate acme-tls/1"},
    [ACME_PROBE_NO_CERTIFICATE] = {"no-certificate", 0, "the server sent no certificate"},
    [ACME_CERTIFICATE_ORDINARY] = {"certificate-ordinary", 0,
        "the certificate has no acmeIdentifier: it is an ordinary one"},
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
        "the acmeIdentifier of the certificate is that of another key authorization"},

    [ACME_RUNTIME_MISSING] = {"runtime-missing", 0,
        "there is no such directory; make it, with mode 0755, or name another with "
        "DefaultRuntimeDir"},
    [ACME_RUNTIME_UNWRITABLE] = {"runtime-unwritable", 0,
        "httpd cannot write this directory; make it writable for the user that starts httpd, "
        "or name another with DefaultRuntimeDir"},
    [ACME_RUNTIME_UNSAFE] = {"runtime-unsafe", 0,
        "others than root, or than the user that starts httpd, own or can write this "
        "directory; chown it and give it mode 0755, or name another with DefaultRuntimeDir"},

    [ACME_SYSTEM_ERROR] = {"system-error", 0, "the operating system or libcrypto failed"},
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
