/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared store: a Redis (or Valkey) server in which all nodes of a fleet look challenges
 * up. The key is a prefix and the identifier's canonical form; the value is what a file of the
 * spool holds (see acme_digest.h), and expires.
 *
 * hiredis speaks the protocol; the connection is this library's own, since hiredis has timeouts
 * for each read only, and TLS in its later versions only. Without hiredis acme_store_load
 * refuses each store.
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

/* The longest prefix, in bytes. */
#define ACME_STORE_PREFIX_MAX 128

/* A store, as configured. Strings and all live as long as the pool that it was parsed with. */
typedef struct {
    const char *name; /* the URL as messages may show it, with nothing that is secret */
    const char *host; /* a name or an address, without brackets; NULL: a socket */
    const char *port;
    const char *socket;          /* the path of a Unix domain socket; NULL: TCP */
    const char *user;            /* of Redis's ACL; NULL: its default user */
    const char *password_file;   /* NULL: no AUTH */
    const char *password;        /* what that file holds, once loaded */
    int database;                /* what is to be SELECTed, where it is not 0 */
    const char *prefix;          /* of each key */
    apr_interval_time_t timeout; /* of one call, everything together; 0: not given */
    apr_interval_time_t expiry;  /* of what is published */
    int uses_tls;
    const char *ca_file;                     /* NULL: the system's CAs */
    const char *certificate_file, *key_file; /* the client's; NULL: none */
    SSL_CTX *tls;                            /* once loaded; NULL: no TLS */
} acme_store_t;

/* Whether this text is meant as the URL of a store, rather than as a path. */
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
 * Touches no file. Returns NULL with *store, or what is wrong, in words from `pool`.
 */
const char *acme_store_parse(acme_store_t **store, apr_pool_t *pool, const char *url, int count,
                             char *const options[]);

/*
 * Read the files that a store names: the password's, which must be one line in a regular file
 * that belongs to root or this user, and that others can neither read nor write; and those of
 * TLS. They are freed with the pool.
 *
 * Returns NULL, or what is wrong, in words from `pool` (never a password).
 */
const char *acme_store_load(acme_store_t *store, apr_pool_t *pool);

/* One call of a store, or several that share a deadline. */
typedef struct {
    const acme_store_t *store;         /* loaded */
    apr_time_t deadline;               /* of everything: name, connection, TLS, AUTH, reply */
    const acme_addresses_t *addresses; /* of the store; NULL: its name is resolved first */
    char detail[160]; /* what the system, OpenSSL or the store says of a failure, or "" */
} acme_store_call_t;

/* A call that begins now. */
void acme_store_begin(acme_store_call_t *call, const acme_store_t *store,
                      apr_interval_time_t timeout);

/* Where the store can be reached. Returns what acme_net_resolve does. */
acme_error_e acme_store_resolve(acme_addresses_t *addresses, const acme_store_t *store,
                                apr_time_t deadline);

/* A connection, of one thread at a time. It does not survive a fork. */
typedef struct acme_store_connection_t acme_store_connection_t;

/*
 * Connect, with TLS where the URL says so (the store's certificate is verified for its host),
 * authenticate and select the database. The caller ignores SIGPIPE.
 *
 * Returns ACME_OK with *connection, which the caller closes, or one of ACME_STORE_* or
 * ACME_SYSTEM_ERROR (with errno set).
 */
acme_error_e acme_store_open(acme_store_connection_t **connection, acme_store_call_t *call);

/* NULL is no connection, and closed already. */
void acme_store_close(acme_store_connection_t *connection);

/* Whether the next call may use it: nothing has failed on it, and the store has not closed it.
 */
int acme_store_is_usable(acme_store_connection_t *connection);

/*
 * Look an identifier's challenge up.
 *
 * Returns ACME_OK with *digest, or with *digest untouched ACME_NO_ENTRY, ACME_ENTRY_TOO_LARGE,
 * ACME_VALUE_*, ACME_STORE_* or ACME_SYSTEM_ERROR (with errno set).
 */
acme_error_e acme_store_find(acme_digest_t *digest, acme_store_connection_t *connection,
                             acme_store_call_t *call, const acme_identifier_t *identifier);

/* Publish a value for an identifier in place of any that there is; the caller has parsed it. It
 * goes after the store's expiry. Returns ACME_OK, ACME_STORE_* or ACME_SYSTEM_ERROR. */
acme_error_e acme_store_publish(acme_store_connection_t *connection, acme_store_call_t *call,
                                const acme_identifier_t *identifier, const char *value);

/*
 * Withdraw what is published for an identifier; with a digest only if it is still that one's,
 * which is seen and done in one step.
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
} acme_store_entry_t;

/*
 * All entries, in the order of their names. *entries is an array of acme_store_entry_t from
 * `pool`. The call's deadline counts anew for each batch that arrives.
 *
 * Returns ACME_OK, ACME_STORE_* or ACME_SYSTEM_ERROR.
 */
acme_error_e acme_store_list(apr_pool_t *pool, apr_array_header_t **entries,
                             acme_store_connection_t *connection, acme_store_call_t *call);

#endif
