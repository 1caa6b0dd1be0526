/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the acme-alpn tool share. */
#ifndef ACME_ALPN_H
#define ACME_ALPN_H

#include <apr_pools.h>
#include <apr_tables.h>

#include <jansson.h>

#include "acme_spool.h"
#include "acme_store.h"

/* Documented in acme-alpn(1). */
typedef enum { EXIT_PASS = 0, EXIT_FAIL = 1, EXIT_USAGE = 2, EXIT_SPOOL = 3 } exit_e;

typedef enum { COMMAND_ADD, COMMAND_REMOVE, COMMAND_LIST, COMMAND_CHECK } command_e;

/* The command line. */
typedef struct {
    apr_pool_t *pool;
    acme_spool_t spool;          /* a store's URL is in `directory` */
    const acme_store_t *store;   /* loaded; NULL: a directory */
    apr_array_header_t *connect; /* of const char *: HOST:PORT, as given */
    apr_interval_time_t wait;
    int json, is_public;
    command_e command;
    acme_identifier_t identifier;
    const char *value;    /* without its line end; NULL: not given */
    acme_digest_t digest; /* of the value */
} acme_alpn_options_t;

/* Prints "acme-alpn: " and the message on standard error. */
void acme_alpn_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints an error of the spool or store, or of an entry in it. `detail` may be ""; with
 * ACME_SYSTEM_ERROR it prints errno. Returns the exit code of the error. */
exit_e acme_alpn_complain_spool(const char *spool, const char *detail, acme_error_e error);

/* Adds or removes the entry in spool or store, or for check finds its digest. With a value it
 * removes that value only. Prints an error, and returns the exit code. */
exit_e acme_alpn_entry(acme_alpn_options_t *options);

/* Connects to the store. With EXIT_PASS the caller closes it; else it has printed an error. */
exit_e acme_alpn_connect(acme_store_connection_t **connection, acme_store_call_t *call,
                         const acme_alpn_options_t *options);

/* Prints to standard output, and frees the document. Returns whether all of it was written. */
int acme_alpn_print_json(json_t *document);

exit_e acme_alpn_list(const acme_alpn_options_t *options);

/* Makes a handshake with each address, and repeats it until it passes or the wait is over. */
exit_e acme_alpn_check(const acme_alpn_options_t *options);

#endif
