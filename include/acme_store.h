/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: a Redis or Valkey in which all nodes of a fleet look challenges up. The key is a
 * prefix and the identifier's canonical form. The value is that of a spool's entry (see
 * acme_digest.h), and expires.
 *
 * hiredis parses the protocol. The connection is this library's, since hiredis has a time-out
 * for each read only, and lacks TLS before 1.0. Without hiredis acme_store_load refuses each
 * store.
 */
#ifndef ACME_STORE_H
#define ACME_STORE_H

#include <apr_pools.h>
#include <apr_tables.h>
#include <apr_time.h>

#include <openssl/ssl.h>

#include "acme_digest.h"
#include "acme_error.h"
#include "acme_identifier.h"
#include "acme_net.h"

/* A store, as configured, in the pool that it was parsed with. */
typedef struct {
    const char *name; /* the URL for messages, without secrets */
    const char *host; /* a name or an address, without brackets; NULL: a socket */
    const char *port;
    const char *socket;          /* the path of a Unix domain socket; NULL: TCP */
    const char *user;            /* of Redis's ACL; NULL: its default user */
    const char *password_file;   /* NULL: no AUTH */
    const char *password;        /* from that file, once loaded */
    int database;                /* 0: no SELECT */
    const char *prefix;          /* of each key */
    apr_interval_time_t timeout; /* of a whole call; 0: not given */
    apr_interval_time_t expiry;  /* of a published value */
    int uses_tls;
    const char *ca_file;                     /* NULL: the system's CAs */
    const char *certificate_file, *key_file; /* the client's; NULL: none */
    SSL_CTX *tls;                            /* once loaded; NULL: no TLS */
} acme_store_t;

/* Whether this text begins like the URL of a store; else it is a path. */
int acme_store_is_url(const char *text);

/*
 * Read a store's URL and `count` options, each "name=value". The URL's query may have the same
 * options, percent-encoded:
 *
 *     redis://[USER@]HOST[:PORT][/DATABASE][?NAME=VALUE&...]
 *     rediss://...  the same over TLS
 *     unix://[USER@]/PATH[?NAME=VALUE&...]
 *
 * timeout, passwordfile, prefix, database, expiry; with rediss cafile, certfile, keyfile.
 * Opens no file. Returns NULL and sets *store, or an error message from `pool`.
 */
const char *acme_store_parse(acme_store_t **store, apr_pool_t *pool, const char *url, int count,
                             char *const options[]);

/*
 * Read the files that a store names: those of TLS and the password file. That is a regular file
 * of one line, owned by root or this user, which others can neither read nor write. The content
 * is freed with the pool.
 *
 * Returns NULL, or an error message from `pool`, without the password.
 */
const char *acme_store_load(acme_store_t *store, apr_pool_t *pool);

/* One call of a store, or several that share a deadline. */
typedef struct {
    const acme_store_t *store;         /* loaded */
    apr_time_t deadline;               /* of acme_monotonic, for DNS, TLS, AUTH and reply */
    const acme_addresses_t *addresses; /* of the store; NULL: the call resolves its name */
    const char *accounts;              /* which are accepted; see acme_digest.h */
    char detail[160]; /* with ACME_STORE_*: the message of system, OpenSSL or store, or "" */
} acme_store_call_t;

/* A connection, of one thread at a time. It does not survive a fork. */
typedef struct acme_store_connection_t acme_store_connection_t;

/*
 * Connect, with TLS where the URL says so (the store's certificate is verified for its host),
 * authenticate and select the database. The caller ignores SIGPIPE.
 *
 * Returns ACME_OK with *connection, which the caller closes; or with *connection NULL
 * ACME_STORE_* or ACME_SYSTEM_ERROR (with errno).
 */
acme_error_e acme_store_open(acme_store_connection_t **connection, acme_store_call_t *call);

/* Keeps errno. NULL: does nothing. */
void acme_store_close(acme_store_connection_t *connection);

/* Whether another look-up may use it: no call on it failed, the store has not closed it, and no
 * surplus bytes wait. */
int acme_store_is_usable(acme_store_connection_t *connection);

/*
 * Look an identifier's challenge up. Returns ACME_OK or ACME_ACCOUNT_* with *digest, or with
 * *digest untouched ACME_NO_ENTRY, ACME_ENTRY_TOO_LARGE, ACME_VALUE_*, ACME_STORE_* or
 * ACME_SYSTEM_ERROR (with errno).
 */
acme_error_e acme_store_find(acme_digest_t *digest, acme_store_connection_t *connection,
                             acme_store_call_t *call, const acme_identifier_t *identifier);

/* Publish a value that the caller has parsed, and replace an old one. It expires after the
 * store's expiry. Returns ACME_OK, ACME_STORE_* or ACME_SYSTEM_ERROR (with errno). */
acme_error_e acme_store_publish(acme_store_connection_t *connection, acme_store_call_t *call,
                                const acme_identifier_t *identifier, const char *value);

/*
 * Withdraw an identifier's value; with a digest only if the value has it, by a transaction of
 * Redis. After an error the caller closes the connection, which may still WATCH the key.
 *
 * Returns ACME_OK, ACME_NO_ENTRY, ACME_ENTRY_OTHER_VALUE, ACME_STORE_* or ACME_SYSTEM_ERROR.
 */
acme_error_e acme_store_withdraw(acme_store_connection_t *connection, acme_store_call_t *call,
                                 const acme_identifier_t *identifier,
                                 const acme_digest_t *digest);

typedef struct {
    const char *name;         /* the key without the prefix */
    apr_interval_time_t left; /* until it expires; negative: it never does */
    acme_error_e state;       /* ACME_OK: a handshake would be answered from it now */
    const char *detail;       /* with ACME_STORE_KEY_REFUSED the store's message, or "" */
    const char *account;      /* of the value, or "" */
} acme_store_entry_t;

/* List all entries by name: *entries is an array of acme_store_entry_t from `pool`. Each batch
 * of keys and each key has the call's whole time. Returns ACME_OK, or ACME_STORE_* or
 * ACME_SYSTEM_ERROR with the entries that were read before. */
acme_error_e acme_store_list(apr_pool_t *pool, apr_array_header_t **entries,
                             acme_store_connection_t *connection, acme_store_call_t *call);

#endif
