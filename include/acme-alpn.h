/*
 * What the files of the acme-alpn tool share.
 */
#ifndef ACME_ALPN_H
#define ACME_ALPN_H

#include <apr_pools.h>
#include <apr_tables.h>

#include "acme_spool.h"

/* Documented in acme-alpn(1). */
typedef enum { EXIT_PASS = 0, EXIT_FAIL = 1, EXIT_USAGE = 2, EXIT_SPOOL = 3 } exit_e;

typedef struct {
    apr_pool_t *pool;
    const char *spool;           /* the directory */
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

exit_e acme_alpn_list(const acme_alpn_options_t *options);

/* One handshake to each address, repeated until it passes or the wait is over. */
exit_e acme_alpn_check(const acme_alpn_options_t *options, const acme_identifier_t *identifier,
                       const acme_digest_t *digest);

#endif
