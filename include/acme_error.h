/* SPDX-License-Identifier: Apache-2.0 */
/* The reasons why a challenge is not answered: the errors of the library's functions. */
#ifndef ACME_ERROR_H
#define ACME_ERROR_H

typedef enum {
    ACME_OK = 0,

    /* the name that the client asks for (RFC 8737 section 3, RFC 8738 section 6) */
    ACME_NO_SNI,
    ACME_NAME_INVALID,
    ACME_NAME_NOT_ASCII,
    ACME_NAME_WILDCARD,

    /* the spool directory */
    ACME_SPOOL_MISSING,
    ACME_SPOOL_NOT_DIRECTORY,
    ACME_SPOOL_UNREADABLE,
    ACME_SPOOL_WRITABLE,
    ACME_SPOOL_NOT_OURS,

    /* the entry, a file in the spool */
    ACME_NO_ENTRY,
    ACME_ENTRY_UNREADABLE,
    ACME_ENTRY_SYMLINK,
    ACME_ENTRY_NOT_REGULAR,
    ACME_ENTRY_OWNER,
    ACME_ENTRY_WRITABLE,
    ACME_ENTRY_TOO_LARGE,
    ACME_ENTRY_TOO_OLD,
    ACME_ENTRY_FUTURE,
    ACME_ENTRY_OTHER_VALUE,

    /* the line in the entry (RFC 8555 section 8.1) */
    ACME_VALUE_EMPTY,
    ACME_VALUE_LINES,
    ACME_VALUE_MALFORMED,
    ACME_ACCOUNT_OTHER,
    ACME_ACCOUNT_UNKNOWN,

    /* another module of httpd */
    ACME_MODULE_UNREADABLE,

    /* the store that a fleet shares */
    ACME_STORE_UNSUPPORTED,
    ACME_STORE_UNRESOLVED,
    ACME_STORE_UNREACHABLE,
    ACME_STORE_TIMEOUT,
    ACME_STORE_CLOSED,
    ACME_STORE_TLS_FAILED,
    ACME_STORE_PROTOCOL,
    ACME_STORE_DENIED,
    ACME_STORE_KEY_REFUSED,
    ACME_STORE_FAILED,
    ACME_STORE_BUSY,
    ACME_STORE_BACKOFF,

    /* the handshake */
    ACME_SESSION_RESUMED,
    ACME_NO_KEY_TYPE,

    /* an upstream: another acme-tls/1 responder */
    ACME_RELAY_FOREIGN_NAME,
    ACME_RELAY_LOOP,
    ACME_RELAY_BUSY,
    ACME_RELAY_BACKOFF,

    /* the verdict of a CA (RFC 8737 section 3) */
    ACME_PROBE_HOST_UNKNOWN,
    ACME_PROBE_CONNECTION_REFUSED,
    ACME_PROBE_UNREACHABLE,
    ACME_PROBE_TIMEOUT,
    ACME_PROBE_CLOSED,
    ACME_PROBE_NOT_TLS,
    ACME_PROBE_REFUSED,
    ACME_PROBE_TLS_FAILED,
    ACME_PROBE_OTHER_PROTOCOL,
    ACME_PROBE_NO_CERTIFICATE,
    ACME_CERTIFICATE_ORDINARY,
    ACME_CERTIFICATE_NOT_SELF_SIGNED,
    ACME_CERTIFICATE_REPEATED_EXTENSION,
    ACME_CERTIFICATE_WRONG_NAME,
    ACME_CERTIFICATE_NOT_CRITICAL,
    ACME_CERTIFICATE_MALFORMED,
    ACME_CERTIFICATE_WRONG_DIGEST,

    /* httpd's runtime directory */
    ACME_RUNTIME_MISSING,
    ACME_RUNTIME_UNWRITABLE,
    ACME_RUNTIME_UNSAFE,

    /* the operating system (see errno) or OpenSSL failed */
    ACME_SYSTEM_ERROR,

    ACME_ERRORS
} acme_error_e;

/* The slug, for logs, counters and scripts: lower case, digits, hyphens. Stable, static, never
 * NULL. */
const char *acme_error_slug(acme_error_e error);

/* The reason in words, without a full stop. Static, never NULL. */
const char *acme_error_text(acme_error_e error);

/* Bits: a reason may have several classes. */
typedef enum {
    ACME_CLASS_LACK = 1,   /* the source has no such challenge; not a fault */
    ACME_CLASS_CLIENT = 2, /* any TLS client can cause it, any number of times */
    ACME_CLASS_STORE = 4,  /* the store fails for every key */
    ACME_CLASS_VALUE = 8   /* no ACME client publishes such a value */
} acme_error_class_e;

int acme_error_is(acme_error_e error, acme_error_class_e class);

#endif
