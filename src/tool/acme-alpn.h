/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the acme-alpn tool share.
 */
#ifndef ACME_ALPN_H
#define ACME_ALPN_H

#include <apr_pools.h>
#include <apr_tables.h>

#include <jansson.h>

#include "acme_spool.h"
#include "acme_store.h"

/* Documented in acme-alpn(1). */
typedef enum { EXIT_PASS = 0, EXIT_FAIL = 1, EXIT_USAGE = 2, EXIT_SPOOL = 3 } exit_e;

typedef struct {
    apr_pool_t *pool;
    const char *spool;           /* the directory, or the URL of a store */
    const acme_store_t *store;   /* loaded; NULL: a directory */
    apr_array_header_t *connect; /* of const char *: HOST:PORT, as given */
    apr_interval_time_t wait;
    int json;
} acme_alpn_options_t;

/* "acme-alpn: " and the message, on standard error. */
void acme_alpn_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Complain about the spool or an entry in it; with ACME_SYSTEM_ERROR errno says more. Returns
 * the exit code that goes with the error. */
exit_e acme_alpn_complain_spool(const char *path, acme_error_e error);

/* The spool as acme_spool_find takes it: the tool knows no AcmeAlpnMaxAge but its default. */
acme_spool_t acme_alpn_spool(const acme_alpn_options_t *options);

/* What the options name, a directory or a store: publish a parsed value, withdraw (with a
 * digest only if it is still that one's), find. They complain, and return the exit code. */
exit_e acme_alpn_publish(const acme_alpn_options_t *options,
                         const acme_identifier_t *identifier, const char *value);
exit_e acme_alpn_withdraw(const acme_alpn_options_t *options,
                          const acme_identifier_t *identifier, const acme_digest_t *digest);
exit_e acme_alpn_find(acme_digest_t *digest, const acme_alpn_options_t *options,
                      const acme_identifier_t *identifier);

/* A connection to the store. With EXIT_PASS the caller closes it; otherwise it has complained.
 */
exit_e acme_alpn_connect(acme_store_connection_t **connection, acme_store_call_t *call,
                         const acme_alpn_options_t *options);

/* Complain about the store; returns the exit code. */
exit_e acme_alpn_complain_store(const acme_store_call_t *call, acme_error_e error);

/* To standard output, and drop the reference. Returns whether all of it was written. */
int acme_alpn_print_json(json_t *document);

exit_e acme_alpn_list(const acme_alpn_options_t *options);

/* One handshake to each address, repeated until it passes or the wait is over. */
exit_e acme_alpn_check(const acme_alpn_options_t *options, const acme_identifier_t *identifier,
                       const acme_digest_t *digest);

#endif
