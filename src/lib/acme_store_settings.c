/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_escape.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_uri.h>

#include <openssl/err.h>

#include "acme_file.h"
#include "acme_interval.h"

#define PASSWORD_MAX 1024

int acme_store_is_url(const char *text)
{
    return strncmp(text, "redis://", 8) == 0 || strncmp(text, "rediss://", 9) == 0 ||
           strncmp(text, "unix://", 7) == 0;
}

/* Each of these returns whether the value is allowed. */
static int settings_set_timeout(acme_store_t *store, const char *value)
{
    return acme_interval_parse(&store->timeout, value) &&
           store->timeout >= apr_time_from_msec(1) && store->timeout <= apr_time_from_sec(60);
}

static int settings_set_expiry(acme_store_t *store, const char *value)
{
    return acme_interval_parse(&store->expiry, value) && store->expiry >= apr_time_from_sec(1);
}

static int settings_set_prefix(acme_store_t *store, const char *value)
{
    apr_size_t length = 0;

    while (apr_isascii(value[length]) && apr_isgraph(value[length])) {
        length++;
    }
    store->prefix = value;
    return length > 0 && length <= 128 && !value[length];
}

static int settings_set_database(acme_store_t *store, const char *value)
{
    apr_size_t digits = strspn(value, "0123456789");

    store->database = digits > 0 && digits <= 5 && !value[digits] ? atoi(value) : -1;
    return store->database >= 0 && store->database <= 65535;
}

#define DATABASES "a number from 0 to 65535"

/* `path`, where `set` is NULL: the offset of the absolute path of a file. */
static const struct {
    const char *name;
    int (*set)(acme_store_t *store, const char *value);
    apr_size_t path;
    int of_tls;
    const char *allowed;
} known[] = {
    {"timeout", settings_set_timeout, 0, 0, ACME_INTERVAL_ALLOWED ", from 1ms to 60s"},
    {"passwordfile", NULL, offsetof(acme_store_t, password_file), 0, "an absolute path"},
    {"prefix", settings_set_prefix, 0, 0, "1 to 128 characters of ASCII without spaces"},
    {"database", settings_set_database, 0, 0, DATABASES},
    {"expiry", settings_set_expiry, 0, 0, ACME_INTERVAL_ALLOWED ", of 1s or more"},
    {"cafile", NULL, offsetof(acme_store_t, ca_file), 1, "an absolute path"},
    {"certfile", NULL, offsetof(acme_store_t, certificate_file), 1, "an absolute path"},
    {"keyfile", NULL, offsetof(acme_store_t, key_file), 1, "an absolute path"},
};

static int settings_set_known(acme_store_t *store, apr_size_t i, const char *value)
{
    if (known[i].set) {
        return known[i].set(store, value);
    }
    *(const char **)((char *)store + known[i].path) = value;
    return *value == '/';
}

/* `option` is "name=value". */
static const char *settings_take_option(acme_store_t *store, apr_pool_t *pool,
                                        const char *option)
{
    apr_size_t length = strcspn(option, "="), i;
    const char *value = option[length] ? option + length + 1 : "";

    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strlen(known[i].name) == length && strncmp(option, known[i].name, length) == 0) {
            if (known[i].of_tls && !store->uses_tls) {
                return apr_pstrcat(pool, known[i].name, " goes with rediss:// only", NULL);
            }
            return settings_set_known(store, i, value)
                       ? NULL
                       : apr_psprintf(pool, "%s: give %s", known[i].name, known[i].allowed);
        }
    }
    return apr_psprintf(pool,
                        "'%.*s' is not an option; they are timeout, passwordfile, prefix, "
                        "database, expiry, and with rediss:// cafile, certfile and keyfile",
                        (int)length, option);
}

/* NULL: its percent-encoding is wrong. */
static const char *settings_decode(apr_pool_t *pool, const char *text)
{
    return text && *text ? apr_punescape_url(pool, text, NULL, NULL, 0) : text;
}

static const char *settings_take_query(acme_store_t *store, apr_pool_t *pool, const char *query)
{
    char *rest = apr_pstrdup(pool, query), *item, *state;
    const char *problem = NULL;

    for (item = apr_strtok(rest, "&", &state); item && !problem;
         item = apr_strtok(NULL, "&", &state)) {
        const char *option = settings_decode(pool, item);

        problem = option ? settings_take_option(store, pool, option)
                         : "the percent-encoding of the query is wrong";
    }
    return problem;
}

static const char *settings_take_socket(acme_store_t *store, apr_pool_t *pool,
                                        const apr_uri_t *uri)
{
    acme_addresses_t address;

    store->socket = settings_decode(pool, uri->path);
    if ((uri->hostname && *uri->hostname) || !store->socket || strlen(store->socket) < 2) {
        return "unix:// accepts the absolute path of a socket: unix:///run/redis/redis.sock";
    }
    if (!acme_net_socket_address(&address, store->socket)) {
        return "the path of the socket is too long for the operating system";
    }
    store->name = apr_pstrcat(pool, "unix://", store->socket, NULL);
    return NULL;
}

static const char *settings_take_host(acme_store_t *store, apr_pool_t *pool,
                                      const apr_uri_t *uri)
{
    if (!uri->hostname || !*uri->hostname) {
        return "the URL has no host";
    }
    /* APR cuts a port beyond 65535 to its remainder. */
    if (uri->port_str &&
        (uri->port < 1 || strlen(uri->port_str) > 5 || atoi(uri->port_str) != uri->port)) {
        return "the URL's port is wrong: give a number from 1 to 65535";
    }
    store->host = uri->hostname;
    store->port = uri->port_str ? uri->port_str : "6379";
    store->name = apr_psprintf(pool, strchr(store->host, ':') ? "%s://[%s]:%s" : "%s://%s:%s",
                               uri->scheme, store->host, store->port);
    return !uri->path || !uri->path[0] || !uri->path[1] ||
                   settings_set_database(store, uri->path + 1)
               ? NULL
               : "the URL's path is not a database: give " DATABASES;
}

static const char *settings_take_url(acme_store_t *store, apr_pool_t *pool, const char *url)
{
    const char *problem;
    apr_uri_t uri;

    if (!acme_store_is_url(url) || apr_uri_parse(pool, url, &uri) != APR_SUCCESS) {
        return "give a URL with redis://, rediss:// or unix://";
    }
    if (uri.password) {
        return "a password does not belong in the URL; put it into a file and name that with "
               "passwordfile=";
    }
    if (uri.fragment) {
        return "the URL has a fragment (#); percent-encode it as %23";
    }
    store->uses_tls = strcmp(uri.scheme, "rediss") == 0;
    store->user = settings_decode(pool, uri.user);
    if (uri.user && (!store->user || !*store->user)) {
        return "the user in the URL is empty, or its percent-encoding is wrong";
    }
    problem = strcmp(uri.scheme, "unix") == 0 ? settings_take_socket(store, pool, &uri)
                                              : settings_take_host(store, pool, &uri);
    return problem || !uri.query ? problem : settings_take_query(store, pool, uri.query);
}

const char *acme_store_parse(acme_store_t **store, apr_pool_t *pool, const char *url, int count,
                             char *const options[])
{
    acme_store_t *parsed = apr_pcalloc(pool, sizeof(*parsed));
    const char *problem;
    int i;

    parsed->prefix = "acme-alpn:";
    parsed->expiry = apr_time_from_sec(24 * 60 * 60);
    problem = settings_take_url(parsed, pool, url);
    for (i = 0; i < count && !problem; i++) {
        problem = settings_take_option(parsed, pool, options[i]);
    }
    if (problem) {
        return problem;
    }
    if (parsed->user && !parsed->password_file) {
        return "a user needs a password: name its file with passwordfile=";
    }
    if (!parsed->certificate_file != !parsed->key_file) {
        return "certfile and keyfile go together; give both or neither";
    }
    if (parsed->database) {
        parsed->name = apr_psprintf(pool, "%s/%d", parsed->name, parsed->database);
    }
    *store = parsed;
    return NULL;
}

/* A user who can read the password can write the store. A user who can write the file can make
 * httpd send that content to the store. */
static const char *settings_check_secret(int fd)
{
    struct stat status;

    if (fstat(fd, &status) != 0) {
        return strerror(errno);
    }
    if (!S_ISREG(status.st_mode)) {
        return "it is not a regular file";
    }
    if (status.st_uid != 0 && status.st_uid != geteuid()) {
        return "it belongs neither to root nor to this user; chown it";
    }
    if (status.st_mode & (S_IRWXO | S_IWGRP)) {
        return "users other than its owner can write it, or users outside its group can read "
               "it; give it mode 0600 or 0640";
    }
    return status.st_size > PASSWORD_MAX ? "it is larger than 1024 bytes" : NULL;
}

/* `text` has room for PASSWORD_MAX + 1 bytes. */
static const char *settings_read_line(char *text, int fd)
{
    ssize_t length = acme_file_read(fd, text, PASSWORD_MAX);
    char *end;

    if (length < 0) {
        return strerror(errno);
    }
    if (memchr(text, '\0', (size_t)length)) {
        return "it has a NUL byte";
    }
    text[length] = '\0';
    end = text + strcspn(text, "\r\n");
    if (end == text || end[strspn(end, "\r\n")]) {
        return "its content must be one line, the password";
    }
    *end = '\0';
    return NULL;
}

static const char *settings_load_password(acme_store_t *store, apr_pool_t *pool)
{
    char text[PASSWORD_MAX + 1];
    int fd = open(store->password_file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    const char *problem = fd < 0 ? strerror(errno) : settings_check_secret(fd);

    if (!problem) {
        problem = settings_read_line(text, fd);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (problem) {
        return apr_psprintf(pool, "passwordfile %s: %s", store->password_file, problem);
    }
    store->password = apr_pstrdup(pool, text);
    OPENSSL_cleanse(text, sizeof(text));
    return NULL;
}

static apr_status_t settings_free_context(void *data)
{
    acme_store_t *store = data;

    SSL_CTX_free(store->tls);
    store->tls = NULL;
    return APR_SUCCESS;
}

/* Returns NULL, or what OpenSSL could not use. */
static const char *settings_fill_context(const acme_store_t *store)
{
    if (!SSL_CTX_set_min_proto_version(store->tls, TLS1_2_VERSION)) {
        return "TLS 1.2";
    }
    SSL_CTX_set_verify(store->tls, SSL_VERIFY_PEER, NULL);
    if (!(store->ca_file ? SSL_CTX_load_verify_locations(store->tls, store->ca_file, NULL)
                         : SSL_CTX_set_default_verify_paths(store->tls))) {
        return store->ca_file ? store->ca_file : "the system's CAs";
    }
    if (!store->certificate_file) {
        return NULL;
    }
    if (SSL_CTX_use_certificate_chain_file(store->tls, store->certificate_file) != 1) {
        return store->certificate_file;
    }
    return SSL_CTX_use_PrivateKey_file(store->tls, store->key_file, SSL_FILETYPE_PEM) == 1 &&
                   SSL_CTX_check_private_key(store->tls) == 1
               ? NULL
               : store->key_file;
}

static const char *settings_load_tls(acme_store_t *store, apr_pool_t *pool)
{
    const char *failed = "TLS", *problem = NULL;

    ERR_clear_error();
    store->tls = SSL_CTX_new(TLS_client_method());
    if (store->tls) {
        apr_pool_cleanup_register(pool, store, settings_free_context, apr_pool_cleanup_null);
        failed = settings_fill_context(store);
    }
    if (failed) {
        const char *reason = ERR_reason_error_string(ERR_peek_error());

        problem = apr_psprintf(pool, "%s cannot be used: %s", failed,
                               reason ? reason : strerror(errno));
    }
    ERR_clear_error();
    return problem;
}

const char *acme_store_load(acme_store_t *store, apr_pool_t *pool)
{
    const char *problem = NULL;

#ifndef ACME_WITH_HIREDIS
    return acme_error_text(ACME_STORE_UNSUPPORTED);
#endif
    if (store->password_file) {
        problem = settings_load_password(store, pool);
    }
    return !problem && store->uses_tls ? settings_load_tls(store, pool) : problem;
}
