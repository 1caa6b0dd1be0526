#include "acme_watch_memory.h"

#include <limits.h>
#include <string.h>

#include <apr_atomic.h>

#include <openssl/sha.h>

/* Room for a path or a file's name, and for what goes with it. */
#define HASHED_SIZE (PATH_MAX + 128)

/* Files that share so many places of acme_watch_memory_t's `seen`: one of them is forgotten
 * only once so many others have been seen after it. */
#define BUCKET 8

/* Of a hash for which nobody finds two inputs: no file can hide behind another. Never 0. */
static apr_uint64_t fingerprint(const void *fixed, apr_size_t size, const char *name)
{
    unsigned char digest[SHA256_DIGEST_LENGTH], hashed[HASHED_SIZE];
    apr_size_t length = strlen(name);
    apr_uint64_t value;

    if (length > sizeof(hashed) - size) {
        length = sizeof(hashed) - size;
    }
    memcpy(hashed, fixed, size);
    memcpy(hashed + size, name, length);
    SHA256(hashed, size + length, digest);
    memcpy(&value, digest, sizeof(value));
    return value ? value : 1;
}

void acme_watch_memory_begin(acme_watch_memory_t *memory)
{
    apr_size_t i;

    for (i = 0; i < ACME_WATCH_REMEMBERED; i++) {
        memory->past[i].in_use = 0;
    }
}

static acme_watch_past_t *find(acme_watch_memory_t *memory, apr_uint64_t key)
{
    apr_size_t i;

    for (i = 0; i < ACME_WATCH_REMEMBERED; i++) {
        if (memory->past[i].key == key) {
            return &memory->past[i];
        }
    }
    return NULL;
}

static acme_watch_past_t *find_unused(acme_watch_memory_t *memory)
{
    apr_size_t i;

    for (i = 0; i < ACME_WATCH_REMEMBERED; i++) {
        if (!memory->past[i].in_use) {
            return &memory->past[i];
        }
    }
    return NULL;
}

acme_watch_past_t *acme_watch_memory_of(acme_watch_memory_t *memory, const acme_spool_t *spool,
                                        apr_time_t now)
{
    apr_uint64_t key =
        fingerprint(&spool->entry_age, sizeof(spool->entry_age), spool->directory);
    acme_watch_past_t *past = find(memory, key);

    if (!past) {
        past = find(memory, 0);
        if (!past) {
            past = find_unused(memory);
        }
        if (past) {
            *past = (acme_watch_past_t){.key = key, .arrived = now, .expired = now};
        }
    }
    if (past) {
        past->in_use = 1;
    }
    return past;
}

int acme_watch_memory_is_new(acme_watch_memory_t *memory, const char *name,
                             const struct stat *status, int is_too_old)
{
    const apr_uint64_t fixed[] = {
        (apr_uint64_t)status->st_dev,         (apr_uint64_t)status->st_ino,
        (apr_uint64_t)status->st_ctim.tv_sec, (apr_uint64_t)status->st_ctim.tv_nsec,
        (apr_uint64_t)status->st_size,        (apr_uint64_t)is_too_old,
    };
    apr_uint64_t value = fingerprint(fixed, sizeof(fixed), name), moved = value;
    apr_uint64_t *bucket = memory->seen + value % ACME_WATCH_SEEN / BUCKET * BUCKET;
    int i;

    /* The file goes to the front, and those in front of where it was move on by one. */
    for (i = 0; i < BUCKET && moved != 0; i++) {
        moved = apr_atomic_xchg64(&bucket[i], moved);
        if (moved == value) {
            return 0;
        }
    }
    return 1;
}
