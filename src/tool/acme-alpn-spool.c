/* SPDX-License-Identifier: Apache-2.0 */
#include "acme-alpn.h"

#include <apr_strings.h>

/* Longer than the module's, since no TLS client waits for the tool. */
#define TIMEOUT apr_time_from_sec(5)

exit_e acme_alpn_connect(acme_store_connection_t **connection, acme_store_call_t *call,
                         const acme_alpn_options_t *options)
{
    const acme_store_t *store = options->store;
    acme_error_e error;

    *call = (acme_store_call_t){store,
                                acme_monotonic() + (store->timeout ? store->timeout : TIMEOUT),
                                NULL, options->spool.accounts, ""};
    error = acme_store_open(connection, call);
    return error == ACME_OK ? EXIT_PASS
                            : acme_alpn_complain_spool(store->name, call->detail, error);
}

static acme_error_e spool_in_store(acme_store_connection_t *connection, acme_store_call_t *call,
                                   acme_alpn_options_t *options)
{
    switch (options->command) {
    case COMMAND_ADD:
        return acme_store_publish(connection, call, &options->identifier, options->value);
    case COMMAND_REMOVE:
        return acme_store_withdraw(connection, call, &options->identifier,
                                   options->value ? &options->digest : NULL);
    default:
        return acme_store_find(&options->digest, connection, call, &options->identifier);
    }
}

static acme_error_e spool_in_directory(acme_alpn_options_t *options)
{
    switch (options->command) {
    case COMMAND_ADD:
        return acme_spool_publish(options->pool, options->spool.directory, &options->identifier,
                                  options->value);
    case COMMAND_REMOVE:
        return acme_spool_withdraw(options->spool.directory, &options->identifier,
                                   options->value ? &options->digest : NULL);
    default:
        return acme_spool_find(&options->digest, &options->spool, &options->identifier,
                               apr_time_now());
    }
}

static exit_e spool_exit(const acme_alpn_options_t *options, const char *spool,
                         const char *detail, acme_error_e error)
{
    exit_e code;

    /* ACME clients may clean up more than once. */
    if (error == ACME_OK || (error == ACME_NO_ENTRY && options->command == COMMAND_REMOVE)) {
        return EXIT_PASS;
    }
    if (error == ACME_ACCOUNT_OTHER) {
        detail = options->digest.account;
    }
    code = acme_alpn_complain_spool(spool, detail, error);
    if (error == ACME_NO_ENTRY) {
        acme_alpn_complain(
            "to add one: acme-alpn add %s \"$(openssl rand -hex 32)\" --spool '%s'",
            options->identifier.name, options->spool.directory);
    }
    return code;
}

exit_e acme_alpn_entry(acme_alpn_options_t *options)
{
    const char *directory = options->spool.directory;
    const char *path =
        apr_pstrcat(options->pool, directory, "/", options->identifier.name, NULL);
    acme_store_connection_t *connection;
    acme_store_call_t call;
    acme_error_e error;
    exit_e code;

    if (!options->store) {
        error = spool_in_directory(options);
        if (options->command == COMMAND_ADD && error != ACME_SYSTEM_ERROR) {
            path = directory;
        }
        return spool_exit(options, path, "", error);
    }
    code = acme_alpn_connect(&connection, &call, options);
    if (code == EXIT_PASS) {
        error = spool_in_store(connection, &call, options);
        code = spool_exit(options, options->store->name, call.detail, error);
        acme_store_close(connection);
    }
    return code;
}
