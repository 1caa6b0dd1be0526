/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "acme_store_stream.h"
#include "acme_text.h"

void acme_store_begin(acme_store_call_t *call, const acme_store_t *store,
                      apr_interval_time_t timeout)
{
    call->store = store;
    call->deadline = acme_monotonic() + timeout;
    call->addresses = NULL;
    call->detail[0] = '\0';
}

/* The sources may be built without configure; then only with this on the command line. */
#ifdef ACME_WITH_HIREDIS

#include <hiredis/hiredis.h>

/* What may come in answer to commands that have short answers, and to one value. */
#define REPLY_MAX  4096
#define VALUE_ROOM (ACME_VALUE_MAX + 64)

/* And in answer to a batch of the list: a value each, and the keys. */
#define BATCH     100
#define BATCH_MAX (16 * 1024 * 1024)

struct acme_store_connection_t {
    acme_store_stream_t stream;
    redisReader *reader;
    apr_size_t left;  /* what may still come in answer */
    int takes_arrays; /* an array with a billion elements has room in a few bytes */
    int is_broken;
};

/* Keys are bounded; so are values, when they are written. */
typedef struct {
    const char *argument[6];
    int count;
} command_t;

#define COMMAND(...)                                                                           \
    ((command_t){{__VA_ARGS__}, sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *)})

static acme_error_e store_send_command(acme_store_connection_t *connection,
                                       acme_store_call_t *call, const command_t *command)
{
    char *bytes = NULL;
    const char *arguments[6];
    acme_error_e error = ACME_SYSTEM_ERROR;
    int length;

    memcpy(arguments, command->argument, sizeof(arguments));
    length = (int)redisFormatCommandArgv(&bytes, command->count, arguments, NULL);
    if (length > 0) {
        error = acme_store_stream_send(&connection->stream, call, bytes, (apr_size_t)length);
        redisFreeCommand(bytes);
    }
    if (error != ACME_OK) {
        connection->is_broken = 1;
    }
    return error;
}

/* More is sent than anybody asked for, or something that is none of Redis's answers. */
static acme_error_e store_feed(acme_store_connection_t *connection, const char *bytes,
                               apr_size_t length)
{
    if (length > connection->left) {
        return ACME_ENTRY_TOO_LARGE;
    }
    connection->left -= length;
    if (connection->reader->len == connection->reader->pos &&
        !strchr(connection->takes_arrays ? "+-:$*" : "+-:$", bytes[0])) {
        return ACME_STORE_PROTOCOL;
    }
    return redisReaderFeed(connection->reader, bytes, length) == REDIS_OK ? ACME_OK
                                                                          : ACME_STORE_PROTOCOL;
}

/* With ACME_OK the caller frees *reply with freeReplyObject. */
static acme_error_e store_receive(redisReply **reply, acme_store_connection_t *connection,
                                  acme_store_call_t *call)
{
    acme_error_e error = ACME_OK;
    char buffer[REPLY_MAX];
    void *got = NULL;
    apr_size_t length;

    while (error == ACME_OK) {
        if (redisReaderGetReply(connection->reader, &got) != REDIS_OK) {
            error = ACME_STORE_PROTOCOL;
        } else if (got) {
            *reply = got;
            return ACME_OK;
        } else {
            error = acme_store_stream_receive(&connection->stream, call, buffer, sizeof(buffer),
                                              &length);
            if (error == ACME_OK) {
                error = store_feed(connection, buffer, length);
            }
        }
    }
    connection->is_broken = 1;
    return error;
}

static int store_begins_with(const char *text, const char *word)
{
    return strncmp(text, word, strlen(word)) == 0;
}

static acme_error_e store_error_of(acme_store_call_t *call, const redisReply *reply)
{
    acme_text_copy(call->detail, sizeof(call->detail), reply->str);
    if (store_begins_with(reply->str, "NOAUTH") || store_begins_with(reply->str, "WRONGPASS") ||
        store_begins_with(reply->str, "NOPERM")) {
        return ACME_STORE_DENIED;
    }
    return store_begins_with(reply->str, "WRONGTYPE") ? ACME_VALUE_MALFORMED
                                                      : ACME_STORE_FAILED;
}

/* One command and its reply, which is of `type` or nil. With ACME_OK the caller frees *reply.
 */
static acme_error_e store_converse(redisReply **reply, acme_store_connection_t *connection,
                                   acme_store_call_t *call, const command_t *command, int type)
{
    acme_error_e error = store_send_command(connection, call, command);

    if (error == ACME_OK) {
        error = store_receive(reply, connection, call);
    }
    if (error != ACME_OK) {
        return error;
    }
    /* What nobody has asked for would be taken for the next answer. */
    if (connection->reader->len > connection->reader->pos) {
        connection->is_broken = 1;
    }
    if ((*reply)->type == REDIS_REPLY_ERROR) {
        error = store_error_of(call, *reply);
    } else if ((*reply)->type != type && (*reply)->type != REDIS_REPLY_NIL) {
        connection->is_broken = 1;
        error = ACME_STORE_PROTOCOL;
    }
    if (error != ACME_OK) {
        freeReplyObject(*reply);
        *reply = NULL;
    }
    return error;
}

static void store_expect(acme_store_connection_t *connection, apr_size_t most, int takes_arrays)
{
    connection->left = most;
    connection->takes_arrays = takes_arrays;
}

/* A command whose answer is a status such as OK. */
static acme_error_e store_command(acme_store_connection_t *connection, acme_store_call_t *call,
                                  const command_t *what)
{
    redisReply *reply;
    acme_error_e error;

    store_expect(connection, REPLY_MAX, 0);
    error = store_converse(&reply, connection, call, what, REDIS_REPLY_STATUS);
    if (error == ACME_OK) {
        freeReplyObject(reply);
    }
    return error;
}

/* Redis says what the arguments of a command were that it does not know: the password. */
static acme_error_e store_authenticate(acme_store_connection_t *connection,
                                       acme_store_call_t *call)
{
    const acme_store_t *store = call->store;
    const command_t with_user = COMMAND("AUTH", store->user, store->password);
    const command_t without = COMMAND("AUTH", store->password);
    acme_error_e error = store_command(connection, call, store->user ? &with_user : &without);

    if (error == ACME_STORE_FAILED || error == ACME_STORE_DENIED) {
        call->detail[strcspn(call->detail, " ")] = '\0';
        error = ACME_STORE_DENIED;
    }
    return error;
}

static acme_error_e store_greet(acme_store_connection_t *connection, acme_store_call_t *call)
{
    acme_error_e error = call->store->password ? store_authenticate(connection, call) : ACME_OK;
    char number[16];

    if (error == ACME_OK && call->store->database) {
        const command_t select = COMMAND("SELECT", number);

        apr_snprintf(number, sizeof(number), "%d", call->store->database);
        error = store_command(connection, call, &select);
    }
    return error;
}

acme_error_e acme_store_open(acme_store_connection_t **connection, acme_store_call_t *call)
{
    acme_store_connection_t *made = calloc(1, sizeof(*made));
    acme_error_e error;

    if (!made) {
        return ACME_SYSTEM_ERROR;
    }
    made->reader = redisReaderCreate();
    made->stream.fd = -1;
    error = made->reader ? acme_store_stream_open(&made->stream, call) : ACME_SYSTEM_ERROR;
    if (error == ACME_OK) {
        error = store_greet(made, call);
    }
    if (error == ACME_OK) {
        *connection = made;
    } else {
        int saved = errno;

        acme_store_close(made);
        errno = saved;
    }
    return error;
}

void acme_store_close(acme_store_connection_t *connection)
{
    if (connection) {
        acme_store_stream_close(&connection->stream);
        if (connection->reader) {
            redisReaderFree(connection->reader);
        }
        free(connection);
    }
}

int acme_store_is_usable(acme_store_connection_t *connection)
{
    return !connection->is_broken && acme_store_stream_is_quiet(&connection->stream);
}

/* `key` has room for KEY_SIZE bytes. */
#define KEY_SIZE (ACME_STORE_PREFIX_MAX + ACME_IDENTIFIER_MAX + 1)

static const char *store_key_of(char *key, const acme_store_t *store,
                                const acme_identifier_t *identifier)
{
    apr_snprintf(key, KEY_SIZE, "%s%s", store->prefix, identifier->name);
    return key;
}

static acme_error_e store_read_value(acme_digest_t *digest, const redisReply *reply)
{
    return reply->type == REDIS_REPLY_NIL
               ? ACME_NO_ENTRY
               : acme_digest_parse(digest, reply->str, (apr_size_t)reply->len);
}

/* What a store says of the key that it was asked for: it may answer for others. */
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
    char key[KEY_SIZE];
    const command_t get = COMMAND("GET", store_key_of(key, call->store, identifier));
    redisReply *reply;
    acme_error_e error;

    store_expect(connection, VALUE_ROOM, 0);
    error = store_converse(&reply, connection, call, &get, REDIS_REPLY_STRING);
    if (error == ACME_OK) {
        error = store_read_value(digest, reply);
        freeReplyObject(reply);
    } else if (store_is_of_key(error, call)) {
        error = ACME_STORE_KEY_REFUSED;
    }
    return error;
}

acme_error_e acme_store_publish(acme_store_connection_t *connection, acme_store_call_t *call,
                                const acme_identifier_t *identifier, const char *value)
{
    char key[KEY_SIZE], seconds[32];
    const command_t set =
        COMMAND("SET", store_key_of(key, call->store, identifier), value, "EX", seconds);

    apr_snprintf(seconds, sizeof(seconds), "%" APR_INT64_T_FMT,
                 apr_time_sec(call->store->expiry));
    return store_command(connection, call, &set);
}

/* Whether the key still has this digest. Other than for a look-up, a value that nobody could
 * have published is simply another. */
static acme_error_e store_compare(acme_store_connection_t *connection, acme_store_call_t *call,
                                  const acme_identifier_t *identifier,
                                  const acme_digest_t *digest)
{
    acme_digest_t found;
    acme_error_e error = acme_store_find(&found, connection, call, identifier);

    if (error == ACME_OK) {
        return memcmp(&found, digest, sizeof(found)) == 0 ? ACME_OK : ACME_ENTRY_OTHER_VALUE;
    }
    return acme_error_is(error, ACME_CLASS_VALUE) ? ACME_ENTRY_OTHER_VALUE : error;
}

static acme_error_e store_delete_key(acme_store_connection_t *connection,
                                     acme_store_call_t *call, const char *key)
{
    const command_t del = COMMAND("DEL", key);
    redisReply *reply;
    acme_error_e error;

    store_expect(connection, REPLY_MAX, 0);
    error = store_converse(&reply, connection, call, &del, REDIS_REPLY_INTEGER);
    if (error == ACME_OK) {
        error = reply->integer > 0 ? ACME_OK : ACME_NO_ENTRY;
        freeReplyObject(reply);
    }
    return error;
}

/* Between WATCH and EXEC nobody may have written the key, or EXEC does nothing and says nil. */
static acme_error_e store_delete_watched(acme_store_connection_t *connection,
                                         acme_store_call_t *call, const char *key)
{
    const command_t multi = COMMAND("MULTI"), del = COMMAND("DEL", key);
    const command_t exec = COMMAND("EXEC");
    redisReply *reply;
    acme_error_e error = store_command(connection, call, &multi);

    if (error == ACME_OK) {
        error = store_command(connection, call, &del);
    }
    if (error == ACME_OK) {
        store_expect(connection, REPLY_MAX, 1);
        error = store_converse(&reply, connection, call, &exec, REDIS_REPLY_ARRAY);
    }
    if (error == ACME_OK) {
        if (reply->type == REDIS_REPLY_NIL) {
            error = ACME_ENTRY_OTHER_VALUE;
        } else if (reply->elements != 1 || reply->element[0]->type != REDIS_REPLY_INTEGER) {
            error = ACME_STORE_PROTOCOL;
        } else if (reply->element[0]->integer == 0) {
            error = ACME_NO_ENTRY;
        }
        freeReplyObject(reply);
    }
    return error;
}

acme_error_e acme_store_withdraw(acme_store_connection_t *connection, acme_store_call_t *call,
                                 const acme_identifier_t *identifier,
                                 const acme_digest_t *digest)
{
    char key[KEY_SIZE];
    const command_t watch = COMMAND("WATCH", store_key_of(key, call->store, identifier));
    acme_error_e error;

    if (!digest) {
        return store_delete_key(connection, call, key);
    }
    error = store_command(connection, call, &watch);
    if (error == ACME_OK) {
        error = store_compare(connection, call, identifier, digest);
        if (error == ACME_OK) {
            return store_delete_watched(connection, call, key);
        }
        /* It still watches the key. */
        connection->is_broken = 1;
    }
    return error;
}

/* In a pattern these have a meaning; so has the backslash itself. */
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

static acme_error_e store_examine(acme_store_entry_t *entry,
                                  acme_store_connection_t *connection, acme_store_call_t *call)
{
    acme_identifier_t identifier;
    acme_digest_t digest;
    acme_error_e error;

    entry->state = acme_identifier_from_text(&identifier, entry->name);
    if (entry->state == ACME_OK && strcmp(identifier.name, entry->name) != 0) {
        entry->state = ACME_NAME_INVALID;
    }
    if (entry->state != ACME_OK) {
        return ACME_OK;
    }
    error = acme_store_find(&digest, connection, call, &identifier);
    entry->state = error;
    return error == ACME_SYSTEM_ERROR || acme_error_is(error, ACME_CLASS_STORE) ? error
                                                                                : ACME_OK;
}

static acme_error_e store_expiry_of(acme_store_entry_t *entry,
                                    acme_store_connection_t *connection,
                                    acme_store_call_t *call, const char *key)
{
    const command_t pttl = COMMAND("PTTL", key);
    redisReply *reply;
    acme_error_e error;

    store_expect(connection, REPLY_MAX, 0);
    error = store_converse(&reply, connection, call, &pttl, REDIS_REPLY_INTEGER);
    if (error == ACME_OK) {
        entry->left = reply->integer < 0 ? -1 : apr_time_from_msec(reply->integer);
        freeReplyObject(reply);
    }
    return error;
}

static int store_has_nul(const redisReply *key)
{
    return !key->str || strlen(key->str) != (apr_size_t)key->len;
}

static acme_error_e store_take_key(apr_pool_t *pool, apr_array_header_t *found,
                                   acme_store_connection_t *connection, acme_store_call_t *call,
                                   const redisReply *key)
{
    acme_store_entry_t entry = {NULL, -1, ACME_OK};
    acme_error_e error;

    if (store_has_nul(key) || !store_begins_with(key->str, call->store->prefix)) {
        return ACME_OK;
    }
    entry.name = apr_pstrdup(pool, key->str + strlen(call->store->prefix));
    error = store_expiry_of(&entry, connection, call, key->str);
    if (error == ACME_OK) {
        error = store_examine(&entry, connection, call);
    }
    /* What has gone in the meantime is no entry. */
    if (error == ACME_OK && entry.state != ACME_NO_ENTRY) {
        APR_ARRAY_PUSH(found, acme_store_entry_t) = entry;
    }
    return error;
}

/* One batch of keys; *cursor is where the next begins. */
static acme_error_e store_scan(apr_pool_t *pool, apr_array_header_t *found, const char **cursor,
                               acme_store_connection_t *connection, acme_store_call_t *call)
{
    const command_t batch = COMMAND(
        "SCAN", *cursor, "MATCH", store_pattern_of(pool, call->store->prefix), "COUNT", "100");
    apr_interval_time_t each = call->deadline - acme_monotonic();
    redisReply *reply;
    acme_error_e error;
    size_t i;

    store_expect(connection, BATCH_MAX, 1);
    error = store_converse(&reply, connection, call, &batch, REDIS_REPLY_ARRAY);
    if (error != ACME_OK) {
        return error;
    }
    if (reply->type == REDIS_REPLY_NIL || reply->elements != 2 || !reply->element[0]->str ||
        reply->element[1]->type != REDIS_REPLY_ARRAY) {
        error = ACME_STORE_PROTOCOL;
    }
    for (i = 0; error == ACME_OK && i < reply->element[1]->elements; i++) {
        call->deadline = acme_monotonic() + each;
        error = store_take_key(pool, found, connection, call, reply->element[1]->element[i]);
    }
    if (error == ACME_OK) {
        *cursor = apr_pstrdup(pool, reply->element[0]->str);
        call->deadline = acme_monotonic() + each;
    }
    freeReplyObject(reply);
    return error;
}

static int store_compare_names(const void *left, const void *right)
{
    return strcmp(((const acme_store_entry_t *)left)->name,
                  ((const acme_store_entry_t *)right)->name);
}

/* SCAN may name a key twice. */
static void store_sort_once(apr_array_header_t *found)
{
    acme_store_entry_t *entry = (acme_store_entry_t *)found->elts;
    int from, to = 0;

    qsort(entry, (size_t)found->nelts, sizeof(*entry), store_compare_names);
    for (from = 0; from < found->nelts; from++) {
        if (to == 0 || strcmp(entry[to - 1].name, entry[from].name) != 0) {
            entry[to++] = entry[from];
        }
    }
    found->nelts = to;
}

acme_error_e acme_store_list(apr_pool_t *pool, apr_array_header_t **entries,
                             acme_store_connection_t *connection, acme_store_call_t *call)
{
    apr_array_header_t *found = apr_array_make(pool, BATCH, sizeof(acme_store_entry_t));
    const char *cursor = "0";
    acme_error_e error;

    do {
        error = store_scan(pool, found, &cursor, connection, call);
    } while (error == ACME_OK && strcmp(cursor, "0") != 0);
    if (error == ACME_OK) {
        store_sort_once(found);
        *entries = found;
    }
    return error;
}

#else

/* acme_store_load refuses each store, so nothing calls these. They are here to be linked. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

acme_error_e acme_store_open(acme_store_connection_t **connection, acme_store_call_t *call)
{
    return ACME_STORE_UNSUPPORTED;
}

void acme_store_close(acme_store_connection_t *connection)
{
}

int acme_store_is_usable(acme_store_connection_t *connection)
{
    return 0;
}

acme_error_e acme_store_find(acme_digest_t *digest, acme_store_connection_t *connection,
                             acme_store_call_t *call, const acme_identifier_t *identifier)
{
    return ACME_STORE_UNSUPPORTED;
}

acme_error_e acme_store_publish(acme_store_connection_t *connection, acme_store_call_t *call,
                                const acme_identifier_t *identifier, const char *value)
{
    return ACME_STORE_UNSUPPORTED;
}

acme_error_e acme_store_withdraw(acme_store_connection_t *connection, acme_store_call_t *call,
                                 const acme_identifier_t *identifier,
                                 const acme_digest_t *digest)
{
    return ACME_STORE_UNSUPPORTED;
}

acme_error_e acme_store_list(apr_pool_t *pool, apr_array_header_t **entries,
                             acme_store_connection_t *connection, acme_store_call_t *call)
{
    return ACME_STORE_UNSUPPORTED;
}

#endif
