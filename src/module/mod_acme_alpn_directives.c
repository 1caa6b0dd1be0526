/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_acme_alpn_directives.h"

#include <apr_strings.h>

#include "acme_interval.h"
#include "mod_acme_alpn_config.h"
#include "mod_acme_alpn_relay.h"
#include "mod_acme_alpn_store.h"

static const char *directives_set_engine(cmd_parms *command, void *directory, int on)
{
    (void)directory;
    acme_alpn_server_get(command->server)->engine = on;
    return NULL;
}

static const char *directives_set_placeholder(cmd_parms *command, void *directory, int on)
{
    (void)directory;
    acme_alpn_server_get(command->server)->placeholder = on;
    return NULL;
}

static const char *directives_set_spool(cmd_parms *command, void *directory, const char *path)
{
    char *absolute = *path ? ap_server_root_relative(command->pool, path) : NULL;

    (void)directory;
    if (!absolute) {
        return apr_psprintf(command->pool,
                            "%s: '%s' is not a path; give a directory, absolute or relative "
                            "to ServerRoot",
                            command->cmd->name, path);
    }
    acme_alpn_server_get(command->server)->spool_directory = absolute;
    return NULL;
}

static const char *directives_set_max_age(cmd_parms *command, void *directory, const char *text)
{
    apr_interval_time_t age;

    (void)directory;
    if (!acme_interval_parse(&age, text) || age < apr_time_from_sec(1)) {
        return apr_psprintf(command->pool,
                            "%s: '%s' is not a time; give " ACME_INTERVAL_ALLOWED
                            ", from 1s to 3650d",
                            command->cmd->name, text);
    }
    acme_alpn_server_get(command->server)->max_age = age;
    return NULL;
}

/* For each word. "any" lifts the main server's list in a vhost. */
static const char *directives_add_account(cmd_parms *command, void *directory, const char *word)
{
    (void)directory;
    return acme_digest_add_account(command->pool,
                                   &acme_alpn_server_get(command->server)->accounts, word)
               ? NULL
               : apr_psprintf(command->pool,
                              "%s: '%s' is not allowed; give " ACME_ACCOUNT_ALLOWED,
                              command->cmd->name, word);
}

/* "none" keeps the main server's stores from a vhost. */
static const char *directives_add_store(cmd_parms *command, void *directory, int count,
                                        char *const arguments[])
{
    acme_alpn_server_t *config = acme_alpn_server_get(command->server);

    (void)directory;
    if (!config->stores) {
        config->stores = apr_array_make(command->pool, 2, sizeof(acme_alpn_store_t *));
    }
    return count == 1 && ap_cstr_casecmp(arguments[0], "none") == 0
               ? NULL
               : acme_alpn_store_configure(command, config->stores, count, arguments);
}

/* mod_ssl's directive, which httpd runs as well. Without SSLCertificateFile mod_ssl asks for a
 * placeholder, even if this names a certificate. OpenSSL ignores the case of `name`. */
static const char *directives_note_openssl(cmd_parms *command, void *directory,
                                           const char *name, const char *value)
{
    (void)directory;
    (void)value;
    if (!ap_find_linked_module("mod_ssl.c")) {
        return apr_psprintf(command->pool, "Invalid command '%s': mod_ssl is not loaded",
                            command->cmd->name);
    }
    if (ap_cstr_casecmp(name, "Certificate") == 0) {
        acme_alpn_server_get(command->server)->has_certificate = 1;
    }
    return NULL;
}

const command_rec acme_alpn_directives[] = {
    AP_INIT_FLAG("AcmeAlpnEngine", directives_set_engine, NULL, RSRC_CONF,
                 "On (default) or Off: whether httpd answers acme-tls/1 handshakes"),
    AP_INIT_TAKE1("AcmeAlpnSpool", directives_set_spool, NULL, RSRC_CONF,
                  "the directory into which ACME clients write key authorizations"),
    AP_INIT_TAKE1("AcmeAlpnMaxAge", directives_set_max_age, NULL, RSRC_CONF,
                  "the age at which an entry expires, such as 30s, 10min, 12h or 7d"),
    AP_INIT_ITERATE("AcmeAlpnAccount", directives_add_account, NULL, RSRC_CONF,
                    "thumbprints of the ACME accounts whose challenges spool and stores may "
                    "answer, or any"),
    AP_INIT_FLAG("AcmeAlpnPlaceholder", directives_set_placeholder, NULL, RSRC_CONF,
                 "On or Off (default): whether a TLS vhost without a certificate gets a "
                 "self-signed one, and answers requests with 503"),
    AP_INIT_TAKE_ARGV("AcmeAlpnStore", directives_add_store, NULL, RSRC_CONF,
                      "URL [timeout=TIME] [passwordfile=PATH] [prefix=TEXT] ...: a Redis or "
                      "Valkey that a fleet shares; or none"),
    AP_INIT_TAKE_ARGV("AcmeAlpnUpstream", acme_alpn_relay_configure, NULL, RSRC_CONF,
                      "HOST:PORT [timeout=TIME] [max=N] [any-name]: another acme-tls/1 "
                      "responder, asked when the other sources have no challenge"),
    AP_INIT_TAKE2("SSLOpenSSLConfCmd", directives_note_openssl, NULL, RSRC_CONF,
                  "OpenSSL configuration command: mod_ssl's directive, which "
                  "AcmeAlpnPlaceholder checks too"),
    {.name = NULL},
};
