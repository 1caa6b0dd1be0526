#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include <apr_general.h>

#include "acme_digest.h"

/* The key authorization of RFC 8555 section 8.3, and its SHA-256 in the forms that clients
 * leave, all of it from sha256sum(1), basenc(1) and openssl-dgst(1). What else is read or
 * refused is in the corpus of test/fuzz/fuzz_value.c, which knows the grammar. */
#define TOKEN      "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"
#define THUMBPRINT "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
#define KEY_AUTH   TOKEN "." THUMBPRINT
#define HEX        "2cfb08c13a3ba3c0681b4faf8c2c8640605649520fc48fa2fd7df7e9e50e419a"
#define COLONS_20  "2c:fb:08:c1:3a:3b:a3:c0:68:1b:4f:af:8c:2c:86:40:60:56:49:52:0f"
#define COLONS     COLONS_20 ":c4:8f:a2:fd:7d:f7:e9:e5:0e:41:9a"
#define BASE64URL  "LPsIwTo7o8BoG0-vjCyGQGBWSVIPxI-i_X336eUOQZo"

static const unsigned char expected[] = /* and a NUL */
    "\x2c\xfb\x08\xc1\x3a\x3b\xa3\xc0\x68\x1b\x4f\xaf\x8c\x2c\x86\x40"
    "\x60\x56\x49\x52\x0f\xc4\x8f\xa2\xfd\x7d\xf7\xe9\xe5\x0e\x41\x9a";

#define BASE64URL_ALPHABET "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
#define HEX_ALPHABET       "0123456789abcdefABCDEF"

static void test_each_form(void **state)
{
    static const char *const values[] = {KEY_AUTH,  KEY_AUTH "\n", KEY_AUTH "\r\n",
                                         BASE64URL, HEX,           COLONS};
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(values); i++) {
        acme_digest_t digest;

        assert_reason(acme_digest_parse(&digest, values[i], strlen(values[i])), ACME_OK);
        assert_memory_equal(digest.bytes, expected, ACME_DIGEST_SIZE);
    }
}

/* Puts each byte there is at one place of a value that is right without it. */
static void test_every_byte(void **state)
{
    static const struct {
        const char *value;
        apr_size_t at;
        const char *alphabet;
    } rows[] = {
        {KEY_AUTH, 0, BASE64URL_ALPHABET},
        {KEY_AUTH, sizeof(TOKEN) - 2, BASE64URL_ALPHABET},
        {KEY_AUTH, sizeof(TOKEN) - 1, "."},
        {KEY_AUTH, sizeof(TOKEN), BASE64URL_ALPHABET},
        {KEY_AUTH, sizeof(KEY_AUTH) - 2, BASE64URL_ALPHABET},
        {BASE64URL, 0, BASE64URL_ALPHABET},
        {BASE64URL, sizeof(BASE64URL) - 3, BASE64URL_ALPHABET},
        /* RFC 4648 section 3.5: of the last one's six bits two are left over, and zero. */
        {BASE64URL, sizeof(BASE64URL) - 2, "AEIMQUYcgkosw048"},
        {HEX, 0, HEX_ALPHABET},
        {HEX, sizeof(HEX) - 2, HEX_ALPHABET},
        {COLONS, 1, HEX_ALPHABET},
        {COLONS, 2, ":"},
        {COLONS, sizeof(COLONS) - 4, ":"},
        {COLONS, sizeof(COLONS) - 2, HEX_ALPHABET},
    };
    size_t i;
    int byte;

    (void)state;
    for (i = 0; i < COUNT(rows); i++) {
        size_t length = strlen(rows[i].value);
        char *changed = exact_copy(rows[i].value, length);

        for (byte = 0; byte < 256; byte++) {
            acme_digest_t digest;
            int belongs = byte && strchr(rows[i].alphabet, byte);

            changed[rows[i].at] = (char)byte;
            if ((acme_digest_parse(&digest, changed, length) == ACME_OK) != belongs) {
                fail_msg("byte 0x%02x at %zu of %s", byte, rows[i].at, rows[i].value);
            }
        }
        free(changed);
    }
}

#define OTHER      "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTA"
#define THIRD      "LPsIwTo7o8BoG0-vjCyGQGBWSVIPxI-i_X336eUOQZo"
#define LOOSE_TAIL "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTJ"

static const struct {
    const char *name, *accounts, *value;
    acme_error_e reason;
    const char *account;
} account_rows[] = {
    {"no list", NULL, KEY_AUTH, ACME_OK, THUMBPRINT},
    {"any", "any", KEY_AUTH "\r\n", ACME_OK, THUMBPRINT},
    {"any, bare digest", "any", HEX, ACME_OK, ""},
    {"its account", THUMBPRINT, KEY_AUTH "\n", ACME_OK, THUMBPRINT},
    {"first of several", THUMBPRINT " " OTHER, KEY_AUTH, ACME_OK, THUMBPRINT},
    {"last of several", OTHER " " THIRD " " THUMBPRINT, KEY_AUTH, ACME_OK, THUMBPRINT},
    {"another account", OTHER, KEY_AUTH, ACME_ACCOUNT_OTHER, THUMBPRINT},
    {"none of several", OTHER " " THIRD, KEY_AUTH "\n", ACME_ACCOUNT_OTHER, THUMBPRINT},
    {"its account with other tail bits", THUMBPRINT, TOKEN "." LOOSE_TAIL, ACME_ACCOUNT_OTHER,
     LOOSE_TAIL},
    {"the account as token", OTHER, OTHER "." THUMBPRINT, ACME_ACCOUNT_OTHER, THUMBPRINT},
    {"base64url", THUMBPRINT, BASE64URL, ACME_ACCOUNT_UNKNOWN, ""},
    {"the account alone", THUMBPRINT, THUMBPRINT, ACME_ACCOUNT_UNKNOWN, ""},
    {"hex", THUMBPRINT, HEX "\n", ACME_ACCOUNT_UNKNOWN, ""},
    {"hex with colons", THUMBPRINT, COLONS, ACME_ACCOUNT_UNKNOWN, ""},
};

static void test_account(void **state)
{
    const __typeof__(account_rows[0]) *row = *state;
    size_t length = strlen(row->value);
    char *value = exact_copy(row->value, length);
    acme_digest_t digest;

    memset(&digest, 'x', sizeof(digest));
    assert_reason(acme_digest_parse(&digest, value, length), ACME_OK);
    assert_string_equal(digest.account, row->account);
    assert_reason(acme_digest_check_account(&digest, row->accounts), row->reason);
    free(value);
}

static const struct {
    const char *name, *list, *word, *result; /* NULL: the word is not allowed */
} word_rows[] = {
    {"first thumbprint", NULL, THUMBPRINT, THUMBPRINT},
    {"second thumbprint", THUMBPRINT, OTHER, THUMBPRINT " " OTHER},
    {"any alone", NULL, "any", "any"},
    {"any in capitals", NULL, "ANY", "any"},
    {"any after a thumbprint", THUMBPRINT, "any", NULL},
    {"any twice", "any", "any", NULL},
    {"thumbprint after any", "any", THUMBPRINT, NULL},
    {"tail bits", NULL, LOOSE_TAIL, NULL},
    {"padding", NULL, THUMBPRINT "=", NULL},
    {"padding in place of a character", NULL,
     "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqT=", NULL},
    {"a character less", NULL, "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqI", NULL},
    {"a character more", NULL, THUMBPRINT "I", NULL},
    {"base64", NULL, "9jg46WB3rR/AHD+EBXdN7cBkH1WOu0tA3M9fm21mqTI", NULL},
    {"hex", NULL, HEX, NULL},
    {"key authorization", NULL, KEY_AUTH, NULL},
    {"space", NULL, " jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI", NULL},
    {"empty", NULL, "", NULL},
};

static void test_word(void **state)
{
    const __typeof__(word_rows[0]) *row = *state;
    const char *list = row->list;
    apr_pool_t *pool;

    assert_int_equal(apr_pool_create(&pool, NULL), APR_SUCCESS);
    assert_int_equal(acme_digest_add_account(pool, &list, row->word), row->result != NULL);
    if (row->result) {
        assert_string_equal(list, row->result);
    } else {
        assert_ptr_equal(list, row->list);
    }
    apr_pool_destroy(pool);
}

int main(void)
{
    assert_int_equal(apr_initialize(), APR_SUCCESS);
    UNIT_ADD(test_each_form);
    UNIT_ADD(test_every_byte);
    UNIT_ADD_ROWS(test_account, account_rows);
    UNIT_ADD_ROWS(test_word, word_rows);
    return cmocka_run_group_tests_name("digest", unit_tests, NULL, NULL);
}
