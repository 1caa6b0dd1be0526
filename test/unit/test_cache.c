#include "unit.h"

#include <string.h>

#include <apr_atomic.h>
#include <apr_general.h>
#include <apr_thread_proc.h>

#include "acme_cache.h"

#define NOW apr_time_from_sec(1768478400)

/* How often a certificate was freed, by a callback of OpenSSL's: a reference too few or too
 * many shows in the count without a sanitizer, too. */
static volatile apr_uint32_t freed;
static int mark_index;

static apr_pool_t *pool; /* of one test */

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

/* A certificate that is counted when it is freed, and known by `mark`. What it says does not
 * matter to the cache. */
static X509 *new_certificate(const void *mark)
{
    X509 *certificate = X509_new();

    assert_non_null(certificate);
    assert_int_equal(X509_set_ex_data(certificate, mark_index, (void *)(uintptr_t)mark), 1);
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
static X509 *put(acme_cache_t *cache, const char *name, unsigned char byte,
                 acme_key_type_e type, apr_time_t now)
{
    acme_identifier_t identifier = identifier_of(name);
    acme_digest_t digest = digest_of(byte);
    X509 *certificate = new_certificate("mark");

    acme_cache_put(cache, &identifier, &digest, type, now, certificate);
    X509_free(certificate);
    return certificate;
}

/* Which certificate the cache answers with, to compare with put's; no reference is kept. */
static X509 *get(acme_cache_t *cache, const char *name, unsigned char byte,
                 acme_key_type_e type, apr_time_t now)
{
    acme_identifier_t identifier = identifier_of(name);
    acme_digest_t digest = digest_of(byte);
    X509 *certificate = acme_cache_get(cache, &identifier, &digest, type, now);

    X509_free(certificate);
    return certificate;
}

static void test_hit(void **state)
{
    acme_cache_t *cache = acme_cache_create(pool, 64);
    X509 *made;

    (void)state;
    assert_null(get(cache, "example.com", 1, ACME_KEY_P256, NOW));
    made = put(cache, "example.com", 1, ACME_KEY_P256, NOW);
    assert_ptr_equal(get(cache, "example.com", 1, ACME_KEY_P256, NOW), made);
    assert_ptr_equal(get(cache, "example.com", 1, ACME_KEY_P256, NOW), made);
    assert_int_equal(freed, 0);
}

static void test_each_part_of_the_key_counts(void **state)
{
    acme_cache_t *cache = acme_cache_create(pool, 1);

    (void)state;
    put(cache, "example.com", 1, ACME_KEY_P256, NOW);
    assert_null(get(cache, "example.net", 1, ACME_KEY_P256, NOW));
    assert_null(get(cache, "example.co", 1, ACME_KEY_P256, NOW));
    assert_null(get(cache, "example.com", 1, ACME_KEY_RSA2048, NOW));
    assert_null(get(cache, "example.com", 1, ACME_KEY_P384, NOW));
    assert_null(get(cache, "example.com", 2, ACME_KEY_P256, NOW));
    assert_non_null(get(cache, "example.com", 1, ACME_KEY_P256, NOW));
}

static void test_any_changed_byte_of_the_digest_is_a_miss(void **state)
{
    acme_cache_t *cache = acme_cache_create(pool, 1);
    acme_identifier_t identifier = identifier_of("example.com");
    size_t i;

    (void)state;
    put(cache, "example.com", 1, ACME_KEY_P256, NOW);
    for (i = 0; i < ACME_DIGEST_SIZE; i++) {
        acme_digest_t digest = digest_of(1);

        digest.bytes[i] ^= 0x80;
        assert_null(acme_cache_get(cache, &identifier, &digest, ACME_KEY_P256, NOW));
    }
}

static void test_changed_digest_replaces(void **state)
{
    acme_cache_t *cache = acme_cache_create(pool, 64);
    X509 *changed;

    (void)state;
    put(cache, "example.com", 1, ACME_KEY_P256, NOW);
    changed = put(cache, "example.com", 2, ACME_KEY_P256, NOW);
    assert_int_equal(freed, 1);
    assert_null(get(cache, "example.com", 1, ACME_KEY_P256, NOW));
    assert_ptr_equal(get(cache, "example.com", 2, ACME_KEY_P256, NOW), changed);
}

static void test_expiry(void **state)
{
    acme_cache_t *cache = acme_cache_create(pool, 64);
    apr_time_t end = NOW + apr_time_from_sec(24 * 60 * 60);

    (void)state;
    put(cache, "example.com", 1, ACME_KEY_P256, NOW);
    assert_non_null(get(cache, "example.com", 1, ACME_KEY_P256, end - 1));
    assert_null(get(cache, "example.com", 1, ACME_KEY_P256, end));
    assert_null(get(cache, "example.com", 1, ACME_KEY_P256, end + 1));

    put(cache, "example.com", 1, ACME_KEY_P256, end);
    assert_non_null(get(cache, "example.com", 1, ACME_KEY_P256, end));
    assert_int_equal(freed, 1);
}

static void test_two_that_want_one_slot_take_turns(void **state)
{
    acme_cache_t *cache = acme_cache_create(pool, 1);
    X509 *second, *third;

    (void)state;
    put(cache, "one.example", 1, ACME_KEY_P256, NOW);
    second = put(cache, "two.example", 1, ACME_KEY_P256, NOW);
    assert_int_equal(freed, 1);
    assert_null(get(cache, "one.example", 1, ACME_KEY_P256, NOW));
    assert_ptr_equal(get(cache, "two.example", 1, ACME_KEY_P256, NOW), second);

    third = put(cache, "two.example", 1, ACME_KEY_RSA2048, NOW);
    assert_int_equal(freed, 2);
    assert_null(get(cache, "two.example", 1, ACME_KEY_P256, NOW));
    assert_ptr_equal(get(cache, "two.example", 1, ACME_KEY_RSA2048, NOW), third);
}

static void test_key_types_of_a_name_stand_side_by_side(void **state)
{
    acme_cache_t *cache = acme_cache_create(pool, 64);
    X509 *made[ACME_KEY_TYPES];
    int type;

    (void)state;
    for (type = 0; type < ACME_KEY_TYPES; type++) {
        made[type] = put(cache, "example.com", 1, (acme_key_type_e)type, NOW);
    }
    for (type = 0; type < ACME_KEY_TYPES; type++) {
        assert_ptr_equal(get(cache, "example.com", 1, (acme_key_type_e)type, NOW), made[type]);
    }
}

static void test_longest_name(void **state)
{
    acme_cache_t *cache = acme_cache_create(pool, 1);
    char name[ACME_IDENTIFIER_MAX + 1];
    size_t i;
    X509 *made;

    (void)state;
    for (i = 0; i < ACME_IDENTIFIER_MAX; i++) {
        name[i] = i % 2 ? '.' : 'a';
    }
    name[i] = '\0';
    made = put(cache, name, 1, ACME_KEY_P256, NOW);
    assert_ptr_equal(get(cache, name, 1, ACME_KEY_P256, NOW), made);
    name[ACME_IDENTIFIER_MAX - 1] = 'b';
    assert_null(get(cache, name, 1, ACME_KEY_P256, NOW));
}

/* Whoever has a certificate in hand keeps it, whatever becomes of slot and cache. */
static void test_reference_outlives_slot_and_cache(void **state)
{
    acme_cache_t *cache = acme_cache_create(pool, 1);
    acme_identifier_t identifier = identifier_of("example.com");
    acme_digest_t digest = digest_of(1);
    X509 *held;

    (void)state;
    put(cache, "example.com", 1, ACME_KEY_P256, NOW);
    held = acme_cache_get(cache, &identifier, &digest, ACME_KEY_P256, NOW);
    put(cache, "example.net", 1, ACME_KEY_P256, NOW);
    assert_int_equal(freed, 0);
    apr_pool_clear(pool);
    assert_int_equal(freed, 1);
    assert_string_equal(X509_get_ex_data(held, mark_index), "mark");
    X509_free(held);
    assert_int_equal(freed, 2);
}

static void test_a_cache_is_freed_with_its_pool(void **state)
{
    acme_cache_t *cache = acme_cache_create(pool, 64);
    int type;

    (void)state;
    for (type = 0; type < ACME_KEY_TYPES; type++) {
        put(cache, "example.com", 1, (acme_key_type_e)type, NOW);
    }
    assert_int_equal(freed, 0);
    apr_pool_clear(pool);
    assert_int_equal(freed, ACME_KEY_TYPES);
}

#define THREADS 4
#define NAMES   2
#define ROUNDS  100000

/* For all certificates, so that the threads take each other's away all the time. */
#define SLOTS 1

typedef struct {
    acme_cache_t *cache;
    acme_identifier_t identifiers[NAMES];
    X509 *certificates[NAMES][2]; /* by digest */
    volatile apr_uint32_t hits;
    volatile apr_uint32_t wrong;
    volatile apr_uint32_t seeds;
} load_t;

/* Compares instead of asserting, since cmocka's assertions belong to the main thread. */
static void *APR_THREAD_FUNC get_and_put(apr_thread_t *thread, void *data)
{
    load_t *load = data;
    apr_uint32_t number = apr_atomic_inc32(&load->seeds) + 1;
    int i;

    (void)thread;
    for (i = 0; i < ROUNDS; i++) {
        acme_digest_t digest;
        size_t name, change;
        X509 *got;

        number = number * 1664525u + 1013904223u;
        name = (number >> 16) % NAMES;
        change = (number >> 8) % 2;
        memset(&digest, (int)change + 1, sizeof(digest));
        got =
            acme_cache_get(load->cache, &load->identifiers[name], &digest, ACME_KEY_P256, NOW);
        if (!got) {
            acme_cache_put(load->cache, &load->identifiers[name], &digest, ACME_KEY_P256, NOW,
                           load->certificates[name][change]);
            continue;
        }
        apr_atomic_inc32(&load->hits);
        if (got != load->certificates[name][change]) {
            apr_atomic_inc32(&load->wrong);
        }
        X509_free(got);
    }
    return NULL;
}

static void make_load(load_t *load)
{
    size_t i;

    memset(load, 0, sizeof(*load));
    load->cache = acme_cache_create(pool, SLOTS);
    for (i = 0; i < NAMES; i++) {
        char name[] = "0.example";

        name[0] = (char)('0' + i);
        load->identifiers[i] = identifier_of(name);
        load->certificates[i][0] = new_certificate("mark");
        load->certificates[i][1] = new_certificate("mark");
    }
}

static void test_threads(void **state)
{
    load_t load;
    apr_thread_t *threads[THREADS];
    apr_status_t status;
    size_t i;

    (void)state;
    make_load(&load);
    for (i = 0; i < THREADS; i++) {
        assert_int_equal(apr_thread_create(&threads[i], NULL, get_and_put, &load, pool),
                         APR_SUCCESS);
    }
    for (i = 0; i < THREADS; i++) {
        assert_int_equal(apr_thread_join(&status, threads[i]), APR_SUCCESS);
    }
    assert_int_equal(load.wrong, 0);
    assert_true(load.hits > 0);
    assert_int_equal(freed, 0);

    apr_pool_clear(pool);
    assert_int_equal(freed, 0);
    for (i = 0; i < NAMES; i++) {
        X509_free(load.certificates[i][0]);
        X509_free(load.certificates[i][1]);
    }
    assert_int_equal(freed, 2 * NAMES);
}

static int make_pool(void **state)
{
    (void)state;
    freed = 0;
    return apr_pool_create(&pool, NULL) == APR_SUCCESS ? 0 : -1;
}

static int destroy_pool(void **state)
{
    (void)state;
    apr_pool_destroy(pool);
    return 0;
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, make_pool, destroy_pool)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_hit),
        CASE(test_each_part_of_the_key_counts),
        CASE(test_any_changed_byte_of_the_digest_is_a_miss),
        CASE(test_changed_digest_replaces),
        CASE(test_expiry),
        CASE(test_two_that_want_one_slot_take_turns),
        CASE(test_key_types_of_a_name_stand_side_by_side),
        CASE(test_longest_name),
        CASE(test_reference_outlives_slot_and_cache),
        CASE(test_a_cache_is_freed_with_its_pool),
        CASE(test_threads),
    };
    int failed;

    if (apr_initialize() != APR_SUCCESS) {
        return 1;
    }
    mark_index = X509_get_ex_new_index(0, NULL, NULL, NULL, on_free);
    failed = cmocka_run_group_tests_name("cache", tests, NULL, NULL);
    apr_terminate();
    return failed;
}
