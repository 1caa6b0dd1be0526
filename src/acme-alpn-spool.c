#include "acme-alpn.h"

#include <errno.h>
#include <string.h>

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

    acme_store_begin(call, store, store->timeout ? store->timeout : TIMEOUT);
    error = acme_store_open(connection, call);
    return error == ACME_OK ? EXIT_PASS : acme_alpn_complain_store(call, error);
}

/* Clients clean up more than once; what is gone is gone. */
static int is_done(acme_error_e error)
{
    return error == ACME_OK || error == ACME_NO_ENTRY;
}

static exit_e publish_to_store(const acme_alpn_options_t *options,
                               const acme_identifier_t *identifier, const char *value)
{
    acme_store_connection_t *connection;
    acme_store_call_t call;
    exit_e code = acme_alpn_connect(&connection, &call, options);

    if (code == EXIT_PASS) {
        acme_error_e error = acme_store_publish(connection, &call, identifier, value);

        code = error == ACME_OK ? EXIT_PASS : acme_alpn_complain_store(&call, error);
        acme_store_close(connection);
    }
    return code;
}

static const char *path_of(const acme_alpn_options_t *options,
                           const acme_identifier_t *identifier)
{
    return apr_pstrcat(options->pool, options->spool, "/", identifier->name, NULL);
}

exit_e acme_alpn_publish(const acme_alpn_options_t *options,
                         const acme_identifier_t *identifier, const char *value)
{
    acme_error_e error;

    if (options->store) {
        return publish_to_store(options, identifier, value);
    }
    error = acme_spool_publish(options->pool, options->spool, identifier, value);
    if (error == ACME_OK) {
        return EXIT_PASS;
    }
    return acme_alpn_complain_spool(
        error == ACME_SYSTEM_ERROR ? path_of(options, identifier) : options->spool, error);
}

static exit_e withdraw_from_store(const acme_alpn_options_t *options,
                                  const acme_identifier_t *identifier,
                                  const acme_digest_t *digest)
{
    acme_store_connection_t *connection;
    acme_store_call_t call;
    exit_e code = acme_alpn_connect(&connection, &call, options);

    if (code == EXIT_PASS) {
        acme_error_e error = acme_store_withdraw(connection, &call, identifier, digest);

        code = is_done(error) ? EXIT_PASS : acme_alpn_complain_store(&call, error);
        acme_store_close(connection);
    }
    return code;
}

exit_e acme_alpn_withdraw(const acme_alpn_options_t *options,
                          const acme_identifier_t *identifier, const acme_digest_t *digest)
{
    acme_error_e error;

    if (options->store) {
        return withdraw_from_store(options, identifier, digest);
    }
    error = acme_spool_withdraw(options->spool, identifier, digest);
    return is_done(error) ? EXIT_PASS
                          : acme_alpn_complain_spool(path_of(options, identifier), error);
}

static exit_e find_in_store(acme_digest_t *digest, const acme_alpn_options_t *options,
                            const acme_identifier_t *identifier)
{
    acme_store_connection_t *connection;
    acme_store_call_t call;
    exit_e code = acme_alpn_connect(&connection, &call, options);

    if (code == EXIT_PASS) {
        acme_error_e error = acme_store_find(digest, connection, &call, identifier);

        code = error == ACME_OK ? EXIT_PASS : acme_alpn_complain_store(&call, error);
        acme_store_close(connection);
    }
    return code;
}

exit_e acme_alpn_find(acme_digest_t *digest, const acme_alpn_options_t *options,
                      const acme_identifier_t *identifier)
{
    acme_spool_t spool = acme_alpn_spool(options);
    acme_error_e error;

    if (options->store) {
        return find_in_store(digest, options, identifier);
    }
    error = acme_spool_find(digest, &spool, identifier, apr_time_now());
    return error == ACME_OK ? EXIT_PASS
                            : acme_alpn_complain_spool(path_of(options, identifier), error);
}
