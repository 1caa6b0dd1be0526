/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <apr_escape.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_uri.h>

#include <openssl/err.h>

#include "acme_file.h"
#include "acme_interval.h"

#define PORT         "6379"
#define DATABASE_MAX 65535
#define PASSWORD_MAX 1024
#define TIMEOUT_MAX  apr_time_from_sec(60)

static const char *const schemes[] = {"redis://", "rediss://", "unix://"};

int acme_store_is_url(const char *text)
{
    apr_size_t i;

    for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (strncmp(text, schemes[i], strlen(schemes[i])) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Each of these returns NULL, or what is allowed. */

static const char *settings_set_time(apr_interval_time_t *time, const char *value,
                                     apr_interval_time_t least, apr_interval_time_t most,
                                     const char *allowed)
{
    return acme_interval_parse(time, value) && *time >= least && *time <= most ? NULL : allowed;
}

static const char *settings_set_timeout(acme_store_t *store, const char *value)
{
    return settings_set_time(&store->timeout, value, apr_time_from_msec(1), TIMEOUT_MAX,
                             ACME_INTERVAL_ALLOWED ", from 1ms to 60s");
}

static const char *settings_set_expiry(acme_store_t *store, const char *value)
{
    return settings_set_time(&store->expiry, value, apr_time_from_sec(1), ACME_INTERVAL_MAX,
                             ACME_INTERVAL_ALLOWED ", of 1s or more");
}

static const char *settings_set_prefix(acme_store_t *store, const char *value)
{
    apr_size_t length = strlen(value), i;

    for (i = 0; i < length && apr_isascii(value[i]) && apr_isgraph(value[i]); i++) {
    }
    store->prefix = value;
    return length > 0 && length <= ACME_STORE_PREFIX_MAX && i == length
               ? NULL
               : "1 to 128 characters of ASCII without spaces";
}

static const char *settings_set_database(acme_store_t *store, const char *value)
{
    apr_size_t digits = strspn(value, "0123456789");

    store->database = digits > 0 && digits <= 5 && !value[digits] ? atoi(value) : -1;
    return store->database >= 0 && store->database <= DATABASE_MAX ? NULL
                                                                   : "a number from 0 to 65535";
}

/* `path`, where `set` is NULL: the offset of the absolute path of a file. */
static const struct {
    const char *name;
    const char *(*set)(acme_store_t *store, const char *value);
    apr_size_t path;
    int of_tls;
} known[] = {
    {"timeout", settings_set_timeout, 0, 0},
    {"passwordfile", NULL, offsetof(acme_store_t, password_file), 0},
    {"prefix", settings_set_prefix, 0, 0},
    {"database", settings_set_database, 0, 0},
    {"expiry", settings_set_expiry, 0, 0},
    {"cafile", NULL, offsetof(acme_store_t, ca_file), 1},
    {"certfile", NULL, offsetof(acme_store_t, certificate_file), 1},
    {"keyfile", NULL, offsetof(acme_store_t, key_file), 1},
};

#define ALLOWED                                                                                \
    "timeout, passwordfile, prefix, database, expiry, and with rediss:// cafile, certfile "    \
    "and keyfile"

static const char *settings_set_known(acme_store_t *store, apr_size_t i, const char *value)
{
    if (known[i].set) {
        return known[i].set(store, value);
    }
    *(const char **)((char *)store + known[i].path) = value;
    return *value == '/' ? NULL : "an absolute path";
}

/* `option` is "name=value". */
static const char *settings_take_option(acme_store_t *store, apr_pool_t *pool,
                                        const char *option)
{
    const char *equals = strchr(option, '=');
    apr_size_t length = equals ? (apr_size_t)(equals - option) : strlen(option), i;

    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strlen(known[i].name) == length && strncmp(option, known[i].name, length) == 0) {
            const char *allowed = settings_set_known(store, i, equals ? equals + 1 : "");

            if (known[i].of_tls && !store->uses_tls) {
                return apr_pstrcat(pool, known[i].name, " goes with rediss://", NULL);
            }
            return allowed ? apr_psprintf(pool, "%s: give %s", known[i].name, allowed) : NULL;
        }
    }
    return apr_psprintf(pool, "'%s' is not an option; they are " ALLOWED,
                        apr_pstrndup(pool, option, length));
}

static const char *settings_take_options(acme_store_t *store, apr_pool_t *pool,
                                         const apr_array_header_t *options)
{
    const char *problem = NULL;
    int i;

    for (i = 0; options && i < options->nelts && !problem; i++) {
        problem = settings_take_option(store, pool, APR_ARRAY_IDX(options, i, const char *));
    }
    return problem;
}

/* NULL where it is no percent-encoding. */
static const char *settings_decode(apr_pool_t *pool, const char *text)
{
    return text && *text ? apr_punescape_url(pool, text, NULL, NULL, 0) : text;
}

static const char *settings_take_query(acme_store_t *store, apr_pool_t *pool, const char *query)
{
    apr_array_header_t *options = apr_array_make(pool, 4, sizeof(const char *));
    char *rest = apr_pstrdup(pool, query), *item, *state;

    for (item = apr_strtok(rest, "&", &state); item; item = apr_strtok(NULL, "&", &state)) {
        const char *option = settings_decode(pool, item);

        if (!option) {
            return "the percent-encoding of the query is wrong";
        }
        APR_ARRAY_PUSH(options, const char *) = option;
    }
    return settings_take_options(store, pool, options);
}

static const char *settings_take_socket(acme_store_t *store, apr_pool_t *pool,
                                        const apr_uri_t *uri)
{
    const struct sockaddr_un *limit = NULL;

    store->socket = settings_decode(pool, uri->path);
    if ((uri->hostname && *uri->hostname) || !store->socket || strlen(store->socket) < 2) {
        return "unix:// takes the absolute path of a socket: unix:///run/redis/redis.sock";
    }
    if (strlen(store->socket) >= sizeof(limit->sun_path)) {
        return "the path of the socket is too long";
    }
    store->name = apr_pstrcat(pool, "unix://", store->socket, NULL);
    return NULL;
}

static const char *settings_take_host(acme_store_t *store, apr_pool_t *pool,
                                      const apr_uri_t *uri)
{
    const char *problem = NULL;

    if (!uri->hostname || !*uri->hostname) {
        return "there is no host in the URL";
    }
    /* What APR has of a port beyond 65535 is its remainder. */
    if (uri->port_str &&
        (uri->port < 1 || strlen(uri->port_str) > 5 || atoi(uri->port_str) != uri->port)) {
        return "the port of the URL is wrong";
    }
    store->host = uri->hostname;
    store->port = uri->port_str && *uri->port_str ? uri->port_str : PORT;
    if (uri->path && uri->path[0] && uri->path[1]) {
        problem = settings_set_database(store, uri->path + 1);
    }
    store->name = apr_psprintf(pool, strchr(store->host, ':') ? "%s://[%s]:%s" : "%s://%s:%s",
                               uri->scheme, store->host, store->port);
    return problem ? apr_pstrcat(pool, "the database in the URL's path: give ", problem, NULL)
                   : NULL;
}

static const char *settings_take_url(acme_store_t *store, apr_pool_t *pool, const char *url)
{
    const char *problem;
    apr_uri_t uri;

    if (!acme_store_is_url(url) || apr_uri_parse(pool, url, &uri) != APR_SUCCESS) {
        return "give a URL with " ACME_STORE_SCHEMES;
    }
    if (uri.password) {
        return "a password does not belong in the URL; put it into a file, and name that with "
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

const char *acme_store_parse(acme_store_t **store, apr_pool_t *pool, const char *url,
                             const apr_array_header_t *options)
{
    acme_store_t *made = apr_pcalloc(pool, sizeof(*made));
    const char *problem;

    made->prefix = ACME_STORE_PREFIX;
    made->expiry = ACME_STORE_EXPIRY;
    problem = settings_take_url(made, pool, url);
    if (!problem) {
        problem = settings_take_options(made, pool, options);
    }
    if (!problem && made->user && !made->password_file) {
        problem = "a user needs a password: name its file with passwordfile=";
    }
    if (!problem && !made->certificate_file != !made->key_file) {
        problem = "certfile and keyfile go together";
    }
    if (!problem) {
        if (made->database) {
            made->name = apr_psprintf(pool, "%s/%d", made->name, made->database);
        }
        *store = made;
    }
    return problem;
}

/* Whoever can read it can write the store, and whoever can write it can have httpd send what it
 * says there. */
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
        return "it belongs neither to root nor to this user";
    }
    if (status.st_mode & (S_IRWXO | S_IWGRP)) {
        return "others than its owner and group can read it, or others than its owner can "
               "write "
               "it; give it mode 0600 or 0640";
    }
    return status.st_size > PASSWORD_MAX ? "it has more than 1024 bytes" : NULL;
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
        return "it has to hold one line, the password";
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

/* Returns what could not be read. */
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
    const char *problem = store->password_file ? settings_load_password(store, pool) : NULL;

    return !problem && store->uses_tls ? settings_load_tls(store, pool) : problem;
}
