/* SPDX-License-Identifier: Apache-2.0 */
#include "acme-alpn.h"

#include <apr_strings.h>

/* Nobody's handshake waits here. */
#define TIMEOUT apr_time_from_sec(5)

#define DEFAULT_MAX_AGE apr_time_from_sec(24 * 60 * 60)

acme_spool_t acme_alpn_spool(const acme_alpn_options_t *options)
{
    acme_spool_t spool = {options->spool, DEFAULT_MAX_AGE};

    return spool;
}

exit_e acme_alpn_connect(acme_store_connection_t **connection, acme_store_call_t *call,
                         const acme_alpn_options_t *options)
{
    const acme_store_t *store = options->store;
    acme_error_e error;

    *call = (acme_store_call_t){
        store, acme_monotonic() + (store->timeout ? store->timeout : TIMEOUT), NULL, ""};
    error = acme_store_open(connection, call);
    return error == ACME_OK ? EXIT_PASS : acme_alpn_complain_store(call, error);
}

/* What is to be done with an identifier. */
typedef struct {
    enum { SPOOL_PUBLISH, SPOOL_WITHDRAW, SPOOL_FIND } action;
    const acme_identifier_t *identifier;
    const char *value;           /* to publish */
    const acme_digest_t *digest; /* to withdraw, or NULL */
    acme_digest_t *found;
} spool_task_t;

static acme_error_e spool_in_store(acme_store_connection_t *connection, acme_store_call_t *call,
                                   const spool_task_t *task)
{
    switch (task->action) {
    case SPOOL_PUBLISH:
        return acme_store_publish(connection, call, task->identifier, task->value);
    case SPOOL_WITHDRAW:
        return acme_store_withdraw(connection, call, task->identifier, task->digest);
    default:
        return acme_store_find(task->found, connection, call, task->identifier);
    }
}

static acme_error_e spool_in_directory(const acme_alpn_options_t *options,
                                       const spool_task_t *task)
{
    acme_spool_t spool = acme_alpn_spool(options);

    switch (task->action) {
    case SPOOL_PUBLISH:
        return acme_spool_publish(options->pool, spool.directory, task->identifier,
                                  task->value);
    case SPOOL_WITHDRAW:
        return acme_spool_withdraw(spool.directory, task->identifier, task->digest);
    default:
        return acme_spool_find(task->found, &spool, task->identifier, apr_time_now());
    }
}

/* Clients clean up more than once; what is gone is gone. */
static int spool_is_done(acme_error_e error, const spool_task_t *task)
{
    return error == ACME_OK || (error == ACME_NO_ENTRY && task->action == SPOOL_WITHDRAW);
}

static exit_e spool_do(const acme_alpn_options_t *options, const spool_task_t *task)
{
    acme_store_connection_t *connection;
    acme_store_call_t call;
    acme_error_e error;
    exit_e code;

    if (!options->store) {
        const char *path =
            apr_pstrcat(options->pool, options->spool, "/", task->identifier->name, NULL);

        error = spool_in_directory(options, task);
        if (task->action == SPOOL_PUBLISH && error != ACME_SYSTEM_ERROR) {
            path = options->spool;
        }
        return spool_is_done(error, task) ? EXIT_PASS : acme_alpn_complain_spool(path, error);
    }
    code = acme_alpn_connect(&connection, &call, options);
    if (code == EXIT_PASS) {
        error = spool_in_store(connection, &call, task);
        code = spool_is_done(error, task) ? EXIT_PASS : acme_alpn_complain_store(&call, error);
        acme_store_close(connection);
    }
    return code;
}

exit_e acme_alpn_publish(const acme_alpn_options_t *options,
                         const acme_identifier_t *identifier, const char *value)
{
    return spool_do(options, &(spool_task_t){SPOOL_PUBLISH, identifier, value, NULL, NULL});
}

exit_e acme_alpn_withdraw(const acme_alpn_options_t *options,
                          const acme_identifier_t *identifier, const acme_digest_t *digest)
{
    return spool_do(options, &(spool_task_t){SPOOL_WITHDRAW, identifier, NULL, digest, NULL});
}

exit_e acme_alpn_find(acme_digest_t *digest, const acme_alpn_options_t *options,
                      const acme_identifier_t *identifier)
{
    return spool_do(options, &(spool_task_t){SPOOL_FIND, identifier, NULL, NULL, digest});
}
