#include "acme_error.h"

static const struct {
    const char *slug;
    const char *text;
    unsigned int classes; /* of acme_error_class_e */
} errors[ACME_ERRORS] = {
    [ACME_OK] = {"ok", "there is a challenge"},

    [ACME_NO_SNI] = {"no-sni", "the client named no server", ACME_CLASS_CLIENT},
    [ACME_NAME_INVALID] = {"name-invalid",
                           "the name is neither a DNS name in A-labels nor an "
                           "IP address (in a handshake: its reverse name)",
                           ACME_CLASS_CLIENT},
    [ACME_NAME_NOT_ASCII] = {"name-not-ascii",
                             "the name has characters beyond ASCII; give it in "
                             "A-labels (xn--...)"},
    [ACME_NAME_WILDCARD] = {"name-wildcard",
                            "tls-alpn-01 cannot validate wildcards; use dns-01 "
                            "for them"},

    [ACME_SPOOL_MISSING] = {"spool-missing",
                            "the spool does not exist; make it, with mode "
                            "0755, for root or the ACME client's user",
                            ACME_CLASS_LACK},
    [ACME_SPOOL_NOT_DIRECTORY] = {"spool-not-directory", "the spool is not a directory"},
    [ACME_SPOOL_UNREADABLE] = {"spool-unreadable",
                               "httpd's User may not read the spool; give it "
                               "mode 0755"},
    [ACME_SPOOL_WRITABLE] = {"spool-writable",
                             "others than the owner can write the spool; give "
                             "it mode 0755"},
    [ACME_SPOOL_NOT_OURS] =
        {"spool-not-ours",
         "this user is neither root nor the owner of the spool, so httpd would ignore its "
         "entries; run this as one of them, or chown the spool"},

    [ACME_NO_ENTRY] = {"no-entry", "there is no entry for this name",
                       ACME_CLASS_LACK | ACME_CLASS_CLIENT},
    [ACME_ENTRY_UNREADABLE] = {"entry-unreadable",
                               "httpd's User may not read the entry; give it "
                               "mode 0644"},
    [ACME_ENTRY_SYMLINK] = {"entry-symlink", "the entry is a symbolic link"},
    [ACME_ENTRY_NOT_REGULAR] = {"entry-not-regular", "the entry is not a regular file"},
    [ACME_ENTRY_OWNER] = {"entry-owner",
                          "the entry belongs neither to root nor to the owner of "
                          "the spool"},
    [ACME_ENTRY_WRITABLE] = {"entry-writable",
                             "others than the owner can write the entry; give "
                             "it mode 0644"},
    [ACME_ENTRY_TOO_LARGE] = {"entry-too-large", "the entry is larger than 1024 bytes",
                              ACME_CLASS_VALUE},
    [ACME_ENTRY_TOO_OLD] = {"entry-too-old", "the entry is older than AcmeAlpnMaxAge"},
    [ACME_ENTRY_FUTURE] = {"entry-future",
                           "the entry's modification time is more than 5 minutes "
                           "ahead of this machine's clock"},
    [ACME_ENTRY_OTHER_VALUE] = {"entry-other-value", "the entry has another value, so it is "
                                                     "another client's"},

    [ACME_VALUE_EMPTY] = {"value-empty", "the entry is empty", ACME_CLASS_VALUE},
    [ACME_VALUE_LINES] = {"value-lines", "the entry has more than one line", ACME_CLASS_VALUE},
    [ACME_VALUE_MALFORMED] = {"value-malformed",
                              "the entry is neither a key authorization nor its "
                              "SHA-256 in base64url or hex",
                              ACME_CLASS_VALUE},

    [ACME_MODULE_UNREADABLE] =
        {"module-unreadable",
         "what another module of httpd answered is not a certificate in PEM"},

    [ACME_STORE_UNSUPPORTED] = {"store-unsupported",
                                "this was built without hiredis, so it has no stores "
                                "(Debian: apt-get install libhiredis-dev, and build again)"},
    [ACME_STORE_UNRESOLVED] = {"store-unresolved", "the store's host has no address",
                               ACME_CLASS_CLIENT | ACME_CLASS_STORE},
    [ACME_STORE_UNREACHABLE] = {"store-unreachable", "the store cannot be connected to",
                                ACME_CLASS_CLIENT | ACME_CLASS_STORE},
    [ACME_STORE_TIMEOUT] = {"store-timeout", "the store did not answer in time",
                            ACME_CLASS_CLIENT | ACME_CLASS_STORE},
    [ACME_STORE_CLOSED] = {"store-closed", "the store closed the connection",
                           ACME_CLASS_CLIENT | ACME_CLASS_STORE},
    [ACME_STORE_TLS_FAILED] = {"store-tls-failed", "TLS with the store failed",
                               ACME_CLASS_CLIENT | ACME_CLASS_STORE},
    [ACME_STORE_PROTOCOL] = {"store-protocol", "what the store sent is not an answer of Redis",
                             ACME_CLASS_CLIENT | ACME_CLASS_STORE},
    [ACME_STORE_DENIED] = {"store-denied",
                           "the store refuses the user, the password or the command",
                           ACME_CLASS_CLIENT | ACME_CLASS_STORE},
    [ACME_STORE_KEY_REFUSED] = {"store-key-refused",
                                "the store does not let its user read this name's key, or "
                                "has it elsewhere",
                                ACME_CLASS_CLIENT},
    [ACME_STORE_FAILED] = {"store-failed", "the store answered with an error",
                           ACME_CLASS_CLIENT | ACME_CLASS_STORE},
    [ACME_STORE_BUSY] = {"store-busy", "too many handshakes wait for stores and upstreams",
                         ACME_CLASS_CLIENT},
    [ACME_STORE_BACKOFF] = {"store-backoff",
                            "the store did not answer in time a second ago, and was not asked "
                            "again",
                            ACME_CLASS_CLIENT},

    [ACME_SESSION_RESUMED] = {"session-resumed",
                              "the client resumes a session, which would send "
                              "no certificate",
                              ACME_CLASS_CLIENT},
    [ACME_NO_KEY_TYPE] = {"no-key-type",
                          "the client accepts no challenge certificate with a "
                          "P-256, RSA-2048 or P-384 key",
                          ACME_CLASS_CLIENT},
    [ACME_RELAY_FOREIGN_NAME] = {"relay-foreign-name",
                                 "no ServerName or ServerAlias of this server is this name, so "
                                 "no upstream is asked",
                                 ACME_CLASS_LACK | ACME_CLASS_CLIENT},
    [ACME_RELAY_LOOP] = {"relay-loop",
                         "another server relayed the handshake to this one, and "
                         "what is relayed is not relayed again",
                         ACME_CLASS_LACK | ACME_CLASS_CLIENT},
    [ACME_RELAY_BUSY] = {"relay-busy",
                         "too many handshakes wait for this upstream, or for "
                         "stores and upstreams together",
                         ACME_CLASS_CLIENT},
    [ACME_RELAY_BACKOFF] = {"relay-backoff",
                            "the upstream did not answer in time a second ago, and was not "
                            "asked again",
                            ACME_CLASS_CLIENT},

    [ACME_PROBE_HOST_UNKNOWN] = {"host-unknown", "the host's name has no address"},
    [ACME_PROBE_NOBODY_LISTENS] = {"nobody-listens", "nothing listens there"},
    [ACME_PROBE_UNREACHABLE] = {"unreachable", "the address cannot be reached"},
    [ACME_PROBE_TIMEOUT] = {"timeout", "there was no answer in time"},
    [ACME_PROBE_CLOSED] = {"closed", "the connection was closed during the handshake"},
    [ACME_PROBE_NOT_TLS] = {"not-tls", "what listens there does not speak TLS"},
    [ACME_PROBE_REFUSED] = {"refused",
                            "the server refused acme-tls/1 (TLS alert 120, "
                            "no_application_protocol)",
                            ACME_CLASS_LACK | ACME_CLASS_CLIENT},
    [ACME_PROBE_TLS_FAILED] = {"tls-failed", "the TLS handshake failed"},
    [ACME_PROBE_OTHER_PROTOCOL] = {"other-protocol", "the server did not negotiate acme-tls/1"},
    [ACME_PROBE_NO_CERTIFICATE] = {"no-certificate", "the server sent no certificate"},
    [ACME_CERTIFICATE_ORDINARY] = {"certificate-ordinary",
                                   "the certificate has no acmeIdentifier: "
                                   "it is an ordinary one"},
    [ACME_CERTIFICATE_NOT_SELF_SIGNED] = {"certificate-not-self-signed",
                                          "the certificate is not signed with its own key"},
    [ACME_CERTIFICATE_REPEATED_EXTENSION] = {"certificate-repeated-extension",
                                             "the certificate has an extension twice"},
    [ACME_CERTIFICATE_WRONG_NAME] = {"certificate-wrong-name",
                                     "the subjectAltName of the certificate is not this "
                                     "identifier alone"},
    [ACME_CERTIFICATE_NOT_CRITICAL] = {"certificate-not-critical",
                                       "the acmeIdentifier of the certificate is not critical"},
    [ACME_CERTIFICATE_MALFORMED] = {"certificate-malformed",
                                    "the acmeIdentifier of the certificate is not an OCTET "
                                    "STRING of 32 bytes"},
    [ACME_CERTIFICATE_WRONG_DIGEST] =
        {"certificate-wrong-digest", "the acmeIdentifier of the certificate is that of another "
                                     "key authorization"},

    [ACME_RUNTIME_MISSING] = {"runtime-missing",
                              "there is no such directory; make it, with mode 0755, or name "
                              "another with DefaultRuntimeDir"},
    [ACME_RUNTIME_UNWRITABLE] = {"runtime-unwritable",
                                 "httpd cannot write this directory; make it writable for the "
                                 "user that starts httpd, or name another with "
                                 "DefaultRuntimeDir"},
    [ACME_RUNTIME_UNSAFE] = {"runtime-unsafe",
                             "others than root, or than the user that starts httpd, own or can "
                             "write this directory; chown it and give it mode 0755, or name "
                             "another with DefaultRuntimeDir"},

    [ACME_SYSTEM_ERROR] = {"system-error", "the operating system or libcrypto failed"},
};

static acme_error_e known(acme_error_e error)
{
    return (unsigned int)error < ACME_ERRORS ? error : ACME_SYSTEM_ERROR;
}

const char *acme_error_slug(acme_error_e error)
{
    return errors[known(error)].slug;
}

const char *acme_error_text(acme_error_e error)
{
    return errors[known(error)].text;
}

int acme_error_is(acme_error_e error, acme_error_class_e class)
{
    return (errors[known(error)].classes & class) != 0;
}
