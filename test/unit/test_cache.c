#include "unit.h"

#include <string.h>

#include <apr_atomic.h>
#include <apr_general.h>
#include <apr_thread_proc.h>

#include "acme_cache.h"

/* How often a certificate was freed, by a callback of OpenSSL's: a reference too few or too
 * many shows in the count without a sanitizer, too. */
static volatile apr_uint32_t freed;
static int mark_index;

/* of one test */
static apr_pool_t *pool;
static acme_cache_t *cache;
static apr_time_t now;

static void on_free(void *parent, void *mark, CRYPTO_EX_DATA *data, int index, long number,
                    void *argument)
{
    (void)parent;
    (void)data;
    (void)index;
    (void)number;
    (void)argument;
    if (mark) {
        apr_atomic_inc32(&freed);
    }
}

/* A certificate that is counted when it is freed. What it says does not matter to the cache. */
static X509 *new_certificate(void)
{
    X509 *certificate = X509_new();

    assert_int_equal(X509_set_ex_data(certificate, mark_index, &mark_index), 1);
    return certificate;
}

static acme_identifier_t identifier_of(const char *name)
{
    acme_identifier_t identifier;

    assert_reason(acme_identifier_from_sni(&identifier, name, strlen(name)), ACME_OK);
    return identifier;
}

static acme_digest_t digest_of(unsigned char byte)
{
    acme_digest_t digest;

    memset(&digest, byte, sizeof(digest));
    return digest;
}

/* Puts a new certificate and keeps no reference to it. */
static X509 *put(const char *name, unsigned char byte, acme_key_type_e type)
{
    acme_identifier_t identifier = identifier_of(name);
    acme_digest_t digest = digest_of(byte);
    X509 *certificate = new_certificate();

    acme_cache_put(cache, &identifier, &digest, type, now, certificate);
    X509_free(certificate);
    return certificate;
}

/* Which certificate the cache answers with, to compare with put's; no reference is kept. */
static X509 *get(const char *name, unsigned char byte, acme_key_type_e type)
{
    acme_identifier_t identifier = identifier_of(name);
    acme_digest_t digest = digest_of(byte);
    X509 *certificate = acme_cache_get(cache, &identifier, &digest, type, now);

    X509_free(certificate);
    return certificate;
}

static void test_each_part_of_the_key_counts(void **state)
{
    acme_identifier_t identifier = identifier_of("example.com");
    X509 *made;
    size_t i;

    (void)state;
    assert_null(get("example.com", 1, ACME_KEY_P256));
    made = put("example.com", 1, ACME_KEY_P256);
    assert_null(get("example.net", 1, ACME_KEY_P256));
    assert_null(get("example.co", 1, ACME_KEY_P256));
    assert_null(get("example.com", 1, ACME_KEY_RSA2048));
    assert_null(get("example.com", 1, ACME_KEY_P384));
    for (i = 0; i < ACME_DIGEST_SIZE; i++) {
        acme_digest_t digest = digest_of(1);

        digest.bytes[i] ^= 0x80;
        assert_null(acme_cache_get(cache, &identifier, &digest, ACME_KEY_P256, now));
    }
    assert_ptr_equal(get("example.com", 1, ACME_KEY_P256), made);
    assert_ptr_equal(get("example.com", 1, ACME_KEY_P256), made);
    assert_int_equal(freed, 0);
}

static void test_expiry(void **state)
{
    (void)state;
    put("example.com", 1, ACME_KEY_P256);
    now += apr_time_from_sec(24 * 60 * 60) - 1;
    assert_non_null(get("example.com", 1, ACME_KEY_P256));
    now++;
    assert_null(get("example.com", 1, ACME_KEY_P256));

    put("example.com", 1, ACME_KEY_P256);
    assert_non_null(get("example.com", 1, ACME_KEY_P256));
    assert_int_equal(freed, 1);
}

/* The last one that was put has the slot. */
static void test_two_that_want_one_slot_take_turns(void **state)
{
    static const struct {
        const char *name;
        unsigned char byte;
        acme_key_type_e type;
    } turns[] = {
        {"one.example", 1, ACME_KEY_P256},
        {"two.example", 1, ACME_KEY_P256},
        {"two.example", 2, ACME_KEY_P256},
        {"two.example", 2, ACME_KEY_RSA2048},
    };
    size_t i, j;

    (void)state;
    for (i = 0; i < COUNT(turns); i++) {
        X509 *made = put(turns[i].name, turns[i].byte, turns[i].type);

        assert_int_equal(freed, i);
        for (j = 0; j <= i; j++) {
            assert_ptr_equal(get(turns[j].name, turns[j].byte, turns[j].type),
                             j == i ? made : NULL);
        }
    }
}

static void test_key_types_of_a_name_stand_side_by_side(void **state)
{
    (void)state;
    cache = acme_cache_create(pool, 64);
    put("example.com", 1, ACME_KEY_P256);
    put("example.com", 1, ACME_KEY_RSA2048);
    put("example.com", 1, ACME_KEY_P384);
    assert_non_null(get("example.com", 1, ACME_KEY_P256));
    assert_non_null(get("example.com", 1, ACME_KEY_RSA2048));
    assert_int_equal(freed, 0);
    apr_pool_clear(pool);
    assert_int_equal(freed, 3);
}

static void test_longest_name(void **state)
{
    char name[ACME_IDENTIFIER_MAX + 1] = "";
    size_t i;

    (void)state;
    for (i = 0; i < ACME_IDENTIFIER_MAX; i++) {
        name[i] = i % 2 ? '.' : 'a';
    }
    put(name, 1, ACME_KEY_P256);
    assert_non_null(get(name, 1, ACME_KEY_P256));
    name[ACME_IDENTIFIER_MAX - 1] = 'b';
    assert_null(get(name, 1, ACME_KEY_P256));
}

/* Whoever has a certificate in hand keeps it, whatever becomes of slot and cache. */
static void test_reference_outlives_slot_and_cache(void **state)
{
    acme_identifier_t identifier = identifier_of("example.com");
    acme_digest_t digest = digest_of(1);
    X509 *held;

    (void)state;
    put("example.com", 1, ACME_KEY_P256);
    held = acme_cache_get(cache, &identifier, &digest, ACME_KEY_P256, now);
    put("example.net", 1, ACME_KEY_P256);
    assert_int_equal(freed, 0);
    apr_pool_clear(pool);
    assert_int_equal(freed, 1);
    X509_free(held);
    assert_int_equal(freed, 2);
}

#define THREADS 4
#define ROUNDS  100000

/* Of two certificates with one slot, which the threads take from each other all the time. */
static acme_identifier_t example;
static X509 *certificates[2]; /* by digest */
static volatile apr_uint32_t hits, wrong, seeds;

/* Compares instead of asserting, since cmocka's assertions belong to the main thread. */
static void *APR_THREAD_FUNC get_and_put(apr_thread_t *thread, void *unused)
{
    apr_uint32_t number = apr_atomic_inc32(&seeds) + 1;
    int i;

    (void)thread;
    for (i = 0; i < ROUNDS; i++) {
        int which = (number = number * 1664525u + 1013904223u) >> 16 & 1;
        acme_digest_t digest = digest_of((unsigned char)which);
        X509 *got = acme_cache_get(cache, &example, &digest, ACME_KEY_P256, now);

        if (!got) {
            acme_cache_put(cache, &example, &digest, ACME_KEY_P256, now, certificates[which]);
            continue;
        }
        apr_atomic_inc32(&hits);
        if (got != certificates[which]) {
            apr_atomic_inc32(&wrong);
        }
        X509_free(got);
    }
    return unused;
}

static void test_threads(void **state)
{
    apr_thread_t *threads[THREADS];
    apr_status_t status;
    size_t i;

    (void)state;
    example = identifier_of("example.com");
    certificates[0] = new_certificate();
    certificates[1] = new_certificate();
    for (i = 0; i < THREADS; i++) {
        assert_int_equal(apr_thread_create(&threads[i], NULL, get_and_put, NULL, pool), 0);
    }
    for (i = 0; i < THREADS; i++) {
        assert_int_equal(apr_thread_join(&status, threads[i]), 0);
    }
    assert_int_equal(wrong, 0);
    assert_true(hits > 0);
    apr_pool_clear(pool);
    assert_int_equal(freed, 0);
    X509_free(certificates[0]);
    X509_free(certificates[1]);
    assert_int_equal(freed, 2);
}

static int set_up(void **state)
{
    (void)state;
    freed = 0;
    now = apr_time_from_sec(1768478400);
    return apr_pool_create(&pool, NULL) != APR_SUCCESS ||
           (cache = acme_cache_create(pool, 1)) == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    apr_pool_destroy(pool);
    return 0;
}

int main(void)
{
    apr_initialize();
    mark_index = X509_get_ex_new_index(0, NULL, NULL, NULL, on_free);
    unit_setup = set_up;
    unit_teardown = tear_down;
    UNIT_ADD(test_each_part_of_the_key_counts);
    UNIT_ADD(test_expiry);
    UNIT_ADD(test_two_that_want_one_slot_take_turns);
    UNIT_ADD(test_key_types_of_a_name_stand_side_by_side);
    UNIT_ADD(test_longest_name);
    UNIT_ADD(test_reference_outlives_slot_and_cache);
    UNIT_ADD(test_threads);
    return cmocka_run_group_tests_name("cache", unit_tests, NULL, NULL);
}
