/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_store.h"

/* The sources may be built without configure; then only with this on the command line. */
#ifdef ACME_WITH_HIREDIS

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include <openssl/err.h>

#include <hiredis/hiredis.h>

#include "acme_store_stream.h"
#include "acme_text.h"

/* The longest reply, and the longest in a list: the keys of one SCAN, or any client's value. */
#define REPLY_MAX 4096
#define LIST_MAX  (16 * 1024 * 1024)

/* A list ends after this time. A store names ten million keys in a few seconds, and each costs
 * memory. */
#define SCAN_TIMEOUT apr_time_from_sec(10)
#define KEYS_MAX     1000000
#define KEY_MAX      1024

struct acme_store_connection_t {
    BIO *stream;
    redisReader *reader;
    redisReply *reply; /* of the last command, until the next; NULL: none */
    int is_broken, is_list;
};

/* hiredis allocates an array as soon as it has read its length, so a few bytes could cost
 * gigabytes. Arrays are read only where the caller expects one. */
static acme_error_e store_receive(acme_store_connection_t *connection, acme_store_call_t *call,
                                  int type)
{
    const char *first_bytes = type == REDIS_REPLY_ARRAY ? "+-:$*" : "+-:$";
    apr_size_t left = connection->is_list ? LIST_MAX : REPLY_MAX, length;
    redisReader *reader = connection->reader;
    char buffer[REPLY_MAX];
    void *reply = NULL;
    int has_begun = 0;

    while (redisReaderGetReply(reader, &reply) == REDIS_OK) {
        acme_error_e error;

        if (reply) {
            connection->reply = reply;
            return ACME_OK;
        }
        error = acme_store_stream_receive(connection->stream, call, buffer, sizeof(buffer),
                                          &length);
        if (error != ACME_OK) {
            return error;
        }
        if (length > left) {
            return ACME_ENTRY_TOO_LARGE;
        }
        left -= length;
        if ((!has_begun && !strchr(first_bytes, buffer[0])) ||
            redisReaderFeed(reader, buffer, length) != REDIS_OK) {
            break;
        }
        has_begun = 1;
    }
    return ACME_STORE_PROTOCOL;
}

static int store_begins_with(const char *text, const char *word)
{
    return strncmp(text, word, strlen(word)) == 0;
}

static acme_error_e store_error_of(acme_store_call_t *call, const char *text)
{
    acme_text_copy(call->detail, sizeof(call->detail), text);
    if (store_begins_with(text, "NOAUTH") || store_begins_with(text, "WRONGPASS") ||
        store_begins_with(text, "NOPERM")) {
        return ACME_STORE_DENIED;
    }
    return store_begins_with(text, "WRONGTYPE") ? ACME_VALUE_MALFORMED : ACME_STORE_FAILED;
}

/* Sends a command, in hiredis's format. With ACME_OK the connection has its reply, which is of
 * `type` or nil. */
__attribute__((format(printf, 4, 5))) static acme_error_e
store_command(acme_store_connection_t *connection, acme_store_call_t *call, int type,
              const char *format, ...)
{
    acme_error_e error = ACME_SYSTEM_ERROR;
    char *bytes = NULL;
    va_list values;
    int length;

    freeReplyObject(connection->reply);
    connection->reply = NULL;
    call->detail[0] = '\0';
    va_start(values, format);
    length = redisvFormatCommand(&bytes, format, values);
    va_end(values);
    if (length > 0) {
        error = acme_store_stream_send(connection->stream, call, bytes, (apr_size_t)length);
        redisFreeCommand(bytes);
    }
    if (error == ACME_OK) {
        error = store_receive(connection, call, type);
    }
    if (error != ACME_OK) {
        connection->is_broken = 1;
        return error;
    }
    if (connection->reply->type == REDIS_REPLY_ERROR) {
        error = store_error_of(call, connection->reply->str);
    } else if (connection->reply->type != type && connection->reply->type != REDIS_REPLY_NIL) {
        error = ACME_STORE_PROTOCOL;
    }
    /* The next command would read surplus bytes as its reply. */
    if (error == ACME_STORE_PROTOCOL || connection->reader->len > connection->reader->pos) {
        connection->is_broken = 1;
    }
    return error;
}

/* A Redis without AUTH repeats the arguments, and so the password, in its error. So only the
 * first word of the error is kept. */
static acme_error_e store_authenticate(acme_store_connection_t *connection,
                                       acme_store_call_t *call)
{
    const acme_store_t *store = call->store;
    acme_error_e error = store->user ? store_command(connection, call, REDIS_REPLY_STATUS,
                                                     "AUTH %s %s", store->user, store->password)
                                     : store_command(connection, call, REDIS_REPLY_STATUS,
                                                     "AUTH %s", store->password);

    if (error == ACME_STORE_FAILED || error == ACME_STORE_DENIED) {
        call->detail[strcspn(call->detail, " ")] = '\0';
        error = ACME_STORE_DENIED;
    }
    return error;
}

acme_error_e acme_store_open(acme_store_connection_t **connection, acme_store_call_t *call)
{
    acme_store_connection_t *opened = calloc(1, sizeof(*opened));
    acme_error_e error = ACME_SYSTEM_ERROR;

    if (opened) {
        opened->reader = redisReaderCreate();
    }
    if (opened && opened->reader) {
        error = acme_store_stream_open(&opened->stream, call);
    }
    if (error == ACME_OK && call->store->password) {
        error = store_authenticate(opened, call);
    }
    if (error == ACME_OK && call->store->database) {
        error =
            store_command(opened, call, REDIS_REPLY_STATUS, "SELECT %d", call->store->database);
    }
    if (error != ACME_OK) {
        acme_store_close(opened);
        opened = NULL;
    }
    *connection = opened;
    return error;
}

void acme_store_close(acme_store_connection_t *connection)
{
    int saved = errno;

    if (connection) {
        BIO_free_all(connection->stream);
        ERR_clear_error(); /* of an SSL_shutdown after a failure */
        if (connection->reader) {
            redisReaderFree(connection->reader);
        }
        freeReplyObject(connection->reply);
        free(connection);
    }
    errno = saved;
}

int acme_store_is_usable(acme_store_connection_t *connection)
{
    struct pollfd waiting = {(int)BIO_get_fd(connection->stream, NULL), POLLIN, 0};

    return !connection->is_broken && poll(&waiting, 1, 0) == 0;
}

/* Whether the error is about one key. The store may serve other keys. */
static int store_is_of_key(acme_error_e error, const acme_store_call_t *call)
{
    return (error == ACME_STORE_DENIED || error == ACME_STORE_FAILED) &&
           (store_begins_with(call->detail, "NOPERM ") ||
            store_begins_with(call->detail, "MOVED ") ||
            store_begins_with(call->detail, "ASK "));
}

acme_error_e acme_store_find(acme_digest_t *digest, acme_store_connection_t *connection,
                             acme_store_call_t *call, const acme_identifier_t *identifier)
{
    acme_error_e error = store_command(connection, call, REDIS_REPLY_STRING, "GET %s%s",
                                       call->store->prefix, identifier->name);
    const redisReply *reply = connection->reply;

    if (error != ACME_OK) {
        return store_is_of_key(error, call) ? ACME_STORE_KEY_REFUSED : error;
    }
    if (reply->type == REDIS_REPLY_NIL) {
        return ACME_NO_ENTRY;
    }
    error = acme_digest_parse(digest, reply->str, (apr_size_t)reply->len);
    return error == ACME_OK ? acme_digest_check_account(digest, call->accounts) : error;
}

acme_error_e acme_store_publish(acme_store_connection_t *connection, acme_store_call_t *call,
                                const acme_identifier_t *identifier, const char *value)
{
    return store_command(connection, call, REDIS_REPLY_STATUS,
                         "SET %s%s %s EX %" APR_INT64_T_FMT, call->store->prefix,
                         identifier->name, value, apr_time_sec(call->store->expiry));
}

/* Whether the key has this digest. */
static acme_error_e store_compare(acme_store_connection_t *connection, acme_store_call_t *call,
                                  const acme_identifier_t *identifier,
                                  const acme_digest_t *digest)
{
    acme_digest_t found;
    acme_error_e error = acme_store_find(&found, connection, call, identifier);

    if (error == ACME_OK) {
        return memcmp(found.bytes, digest->bytes, sizeof(found.bytes)) == 0
                   ? ACME_OK
                   : ACME_ENTRY_OTHER_VALUE;
    }
    return acme_error_is(error, ACME_CLASS_VALUE) ? ACME_ENTRY_OTHER_VALUE : error;
}

/* EXEC answers nil if another client wrote the key after WATCH. */
static acme_error_e store_read_exec(const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_NIL) {
        return ACME_ENTRY_OTHER_VALUE;
    }
    if (reply->elements != 1 || reply->element[0]->type != REDIS_REPLY_INTEGER) {
        return ACME_STORE_PROTOCOL;
    }
    return reply->element[0]->integer > 0 ? ACME_OK : ACME_NO_ENTRY;
}

acme_error_e acme_store_withdraw(acme_store_connection_t *connection, acme_store_call_t *call,
                                 const acme_identifier_t *identifier,
                                 const acme_digest_t *digest)
{
    const char *prefix = call->store->prefix, *name = identifier->name;
    acme_error_e error;

    if (!digest) {
        error = store_command(connection, call, REDIS_REPLY_INTEGER, "DEL %s%s", prefix, name);
        return error == ACME_OK && connection->reply->integer == 0 ? ACME_NO_ENTRY : error;
    }
    error = store_command(connection, call, REDIS_REPLY_STATUS, "WATCH %s%s", prefix, name);
    if (error == ACME_OK) {
        error = store_compare(connection, call, identifier, digest);
    }
    if (error == ACME_OK) {
        error = store_command(connection, call, REDIS_REPLY_STATUS, "MULTI");
    }
    if (error == ACME_OK) {
        error = store_command(connection, call, REDIS_REPLY_STATUS, "DEL %s%s", prefix, name);
    }
    if (error == ACME_OK) {
        error = store_command(connection, call, REDIS_REPLY_ARRAY, "EXEC");
    }
    return error == ACME_OK ? store_read_exec(connection->reply) : error;
}

/* Escapes the characters that have a meaning in a pattern. */
static const char *store_pattern_of(apr_pool_t *pool, const char *prefix)
{
    char *pattern = apr_palloc(pool, 2 * strlen(prefix) + 2), *end = pattern;

    for (; *prefix; prefix++) {
        if (strchr("*?[]\\^", *prefix)) {
            *end++ = '\\';
        }
        *end++ = *prefix;
    }
    *end++ = '*';
    *end = '\0';
    return pattern;
}

/* Returns an error that ends the list. An error about one key goes into the entry. */
static acme_error_e store_examine(acme_store_entry_t *entry, apr_pool_t *pool,
                                  acme_store_connection_t *connection, acme_store_call_t *call)
{
    acme_identifier_t identifier;
    acme_digest_t digest = {{0}, ""};
    acme_error_e error = store_command(connection, call, REDIS_REPLY_INTEGER, "PTTL %s%s",
                                       call->store->prefix, entry->name);

    if (error == ACME_OK && connection->reply->integer >= 0 &&
        connection->reply->integer < APR_INT64_MAX / APR_TIME_C(1000)) {
        entry->left = apr_time_from_msec(connection->reply->integer);
    }
    entry->state = acme_identifier_from_text(&identifier, entry->name);
    if (entry->state == ACME_OK && strcmp(identifier.name, entry->name) != 0) {
        entry->state = ACME_NAME_INVALID;
    }
    if (error == ACME_OK && entry->state == ACME_OK) {
        entry->state = error = acme_store_find(&digest, connection, call, &identifier);
    }
    entry->account = apr_pstrdup(pool, digest.account);
    if (error == ACME_STORE_KEY_REFUSED || store_is_of_key(error, call)) {
        entry->state = ACME_STORE_KEY_REFUSED;
        entry->detail = apr_pstrdup(pool, call->detail);
        return ACME_OK;
    }
    return error == ACME_SYSTEM_ERROR || acme_error_is(error, ACME_CLASS_STORE) ||
                   connection->is_broken
               ? error
               : ACME_OK;
}

/* The names of one batch of keys; *cursor is where the next begins. */
static acme_error_e store_scan(apr_pool_t *pool, apr_array_header_t *found, const char **cursor,
                               acme_store_connection_t *connection, acme_store_call_t *call)
{
    const char *prefix = call->store->prefix;
    acme_error_e error =
        store_command(connection, call, REDIS_REPLY_ARRAY, "SCAN %s MATCH %s COUNT 1000",
                      *cursor, store_pattern_of(pool, prefix));
    const redisReply *reply = connection->reply;
    size_t i;

    if (error != ACME_OK) {
        return error;
    }
    if (reply->elements != 2 || !reply->element[0]->str || reply->element[0]->len > KEY_MAX ||
        reply->element[1]->type != REDIS_REPLY_ARRAY) {
        return ACME_STORE_PROTOCOL;
    }
    *cursor = apr_pstrdup(pool, reply->element[0]->str);
    for (i = 0; i < reply->element[1]->elements; i++) {
        const redisReply *key = reply->element[1]->element[i];

        /* No identifier has a NUL byte or is longer. */
        if (key->str && strnlen(key->str, KEY_MAX) == (apr_size_t)key->len &&
            store_begins_with(key->str, prefix)) {
            APR_ARRAY_PUSH(found, acme_store_entry_t) = (acme_store_entry_t){
                apr_pstrdup(pool, key->str + strlen(prefix)), -1, ACME_OK, "", ""};
        }
    }
    return ACME_OK;
}

static int store_compare_names(const void *left, const void *right)
{
    return strcmp(((const acme_store_entry_t *)left)->name,
                  ((const acme_store_entry_t *)right)->name);
}

acme_error_e acme_store_list(apr_pool_t *pool, apr_array_header_t **entries,
                             acme_store_connection_t *connection, acme_store_call_t *call)
{
    apr_array_header_t *found = apr_array_make(pool, 100, sizeof(acme_store_entry_t));
    apr_time_t start = acme_monotonic();
    apr_interval_time_t time_per_step = call->deadline - start;
    const char *cursor = "0";
    acme_store_entry_t *entry;
    acme_error_e error;
    int i, kept = 0;

    connection->is_list = 1;
    do {
        call->deadline = acme_monotonic() + time_per_step;
        error = store_scan(pool, found, &cursor, connection, call);
    } while (error == ACME_OK && strcmp(cursor, "0") != 0 &&
             acme_monotonic() - start < SCAN_TIMEOUT && found->nelts < KEYS_MAX);
    if (error == ACME_OK && strcmp(cursor, "0") != 0) {
        apr_cpystrn(call->detail,
                    found->nelts < KEYS_MAX ? "SCAN did not end in time"
                                            : "SCAN gave too many keys",
                    sizeof(call->detail));
        error = ACME_STORE_TIMEOUT;
    }
    entry = (acme_store_entry_t *)found->elts;
    qsort(entry, (size_t)found->nelts, sizeof(*entry), store_compare_names);
    for (i = 0; error == ACME_OK && i < found->nelts; i++) {
        /* SCAN may name a key twice, and the key may have expired since. */
        if (kept == 0 || strcmp(entry[kept - 1].name, entry[i].name) != 0) {
            call->deadline = acme_monotonic() + time_per_step;
            error = store_examine(&entry[i], pool, connection, call);
            if (error == ACME_OK && entry[i].state != ACME_NO_ENTRY) {
                entry[kept++] = entry[i];
            }
        }
    }
    found->nelts = kept;
    *entries = found;
    return error;
}

#else

/* acme_store_load refuses each store, so only the linker needs these. */
#pragma GCC diagnostic ignored "-Wunused-parameter"
#define UNSUPPORTED(function, ...)                                                             \
    acme_error_e function(__VA_ARGS__)                                                         \
    {                                                                                          \
        return ACME_STORE_UNSUPPORTED;                                                         \
    }

UNSUPPORTED(acme_store_open, acme_store_connection_t **connection, acme_store_call_t *call)
UNSUPPORTED(acme_store_find, acme_digest_t *digest, acme_store_connection_t *connection,
            acme_store_call_t *call, const acme_identifier_t *identifier)
UNSUPPORTED(acme_store_publish, acme_store_connection_t *connection, acme_store_call_t *call,
            const acme_identifier_t *identifier, const char *value)
UNSUPPORTED(acme_store_withdraw, acme_store_connection_t *connection, acme_store_call_t *call,
            const acme_identifier_t *identifier, const acme_digest_t *digest)
UNSUPPORTED(acme_store_list, apr_pool_t *pool, apr_array_header_t **entries,
            acme_store_connection_t *connection, acme_store_call_t *call)

void acme_store_close(acme_store_connection_t *connection)
{
}

int acme_store_is_usable(acme_store_connection_t *connection)
{
    return 0;
}

#endif
