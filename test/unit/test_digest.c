#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "acme_digest.h"

/* The key authorization of RFC 8555 section 8.3, and its SHA-256 in the forms that clients
 * leave, all of it from sha256sum(1), basenc(1) and openssl-dgst(1). */
#define TOKEN       "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"
#define THUMBPRINT  "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
#define KEY_AUTH    TOKEN "." THUMBPRINT
#define HEX         "2cfb08c13a3ba3c0681b4faf8c2c8640605649520fc48fa2fd7df7e9e50e419a"
#define HEX_CAPITAL "2CFB08C13A3BA3C0681B4FAF8C2C8640605649520FC48FA2FD7DF7E9E50E419A"
#define HEX_MIXED   "2CFB08c13a3bA3C0681B4FAF8C2C8640605649520fc48fa2fd7df7e9e50e419a"
#define HEX_62      "2cfb08c13a3ba3c0681b4faf8c2c8640605649520fc48fa2fd7df7e9e50e41"
#define COLONS_20   "2c:fb:08:c1:3a:3b:a3:c0:68:1b:4f:af:8c:2c:86:40:60:56:49:52:0f"
#define COLONS      COLONS_20 ":c4:8f:a2:fd:7d:f7:e9:e5:0e:41:9a"
#define BASE64_42   "LPsIwTo7o8BoG0-vjCyGQGBWSVIPxI-i_X336eUOQZ"
#define BASE64URL   BASE64_42 "o"
#define TOKEN_22    "ABCDEFGHIJKLMNOPQRSTUV"
#define ZEROS_64    "0000000000000000000000000000000000000000000000000000000000000000"

static const char base64url[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

typedef struct {
    const char *name;
    const char *value;
    apr_size_t length;
    acme_error_e reason;
    const char *digest; /* in hex, with ACME_OK */
} digest_row_t;

static const digest_row_t rows[] = {
    /* RFC 8555 section 8.1: token "." base64url(thumbprint); RFC 8737 section 3: its SHA-256 */
    {"key authorization of RFC 8555", BYTES(KEY_AUTH), ACME_OK, HEX},
    {"key authorization, LF", BYTES(KEY_AUTH "\n"), ACME_OK, HEX},
    {"key authorization, CRLF", BYTES(KEY_AUTH "\r\n"), ACME_OK, HEX},
    {"token of 22 characters, the least", BYTES(TOKEN_22 "." THUMBPRINT), ACME_OK,
     "efec9567c9b843f161713a320a77ce52beac11febd23336b9b03a0bc8a07e7d8"},
    {"token of hyphens and underscores", BYTES("__--__--__--__--__--__." THUMBPRINT), ACME_OK,
     "be9bbcc028bc311f4a5da32602a52933c6558fb2e110c1d3030bca8d2b01e976"},
    {"token of 21 characters", BYTES("ABCDEFGHIJKLMNOPQRSTU." THUMBPRINT), ACME_VALUE_MALFORMED,
     NULL},
    {"no token", BYTES("." THUMBPRINT), ACME_VALUE_MALFORMED, NULL},
    {"no thumbprint", BYTES(TOKEN "."), ACME_VALUE_MALFORMED, NULL},
    {"a dot alone", BYTES("."), ACME_VALUE_MALFORMED, NULL},
    {"token alone, of 22 characters", BYTES(TOKEN_22), ACME_VALUE_MALFORMED, NULL},
    {"thumbprint of 42 characters", BYTES(TOKEN "." BASE64_42), ACME_VALUE_MALFORMED, NULL},
    {"thumbprint of 44 characters", BYTES(TOKEN "." THUMBPRINT "A"), ACME_VALUE_MALFORMED,
     NULL},
    {"two dots", BYTES(TOKEN "." TOKEN_22 "." THUMBPRINT), ACME_VALUE_MALFORMED, NULL},
    {"dot at the end", BYTES(KEY_AUTH "."), ACME_VALUE_MALFORMED, NULL},
    {"padding", BYTES(KEY_AUTH "="), ACME_VALUE_MALFORMED, NULL},
    {"plus, as in plain base64", BYTES("ABCDEFGHIJKLMNOPQRSTU+." THUMBPRINT),
     ACME_VALUE_MALFORMED, NULL},
    {"slash, as in plain base64", BYTES("ABCDEFGHIJKLMNOPQRSTU/." THUMBPRINT),
     ACME_VALUE_MALFORMED, NULL},
    {"space before", BYTES(" " KEY_AUTH), ACME_VALUE_MALFORMED, NULL},
    {"space after", BYTES(KEY_AUTH " \n"), ACME_VALUE_MALFORMED, NULL},
    {"byte order mark", BYTES("\xef\xbb\xbf" KEY_AUTH), ACME_VALUE_MALFORMED, NULL},
    {"NUL in the token", BYTES("ABCDEFGHIJK\0LMNOPQRSTUV." THUMBPRINT), ACME_VALUE_MALFORMED,
     NULL},
    {"NUL after the value", BYTES(KEY_AUTH "\0"), ACME_VALUE_MALFORMED, NULL},

    /* the SHA-256 as unpadded base64url (RFC 4648 section 5) */
    {"base64url", BYTES(BASE64URL), ACME_OK, HEX},
    {"base64url, LF", BYTES(BASE64URL "\n"), ACME_OK, HEX},
    {"base64url, CRLF", BYTES(BASE64URL "\r\n"), ACME_OK, HEX},
    {"base64url of zeros", BYTES("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), ACME_OK,
     ZEROS_64},
    {"base64url, padded", BYTES(BASE64URL "="), ACME_VALUE_MALFORMED, NULL},
    {"base64url of 42 characters", BYTES(BASE64_42), ACME_VALUE_MALFORMED, NULL},
    {"base64url of 44 characters", BYTES(BASE64URL "A"), ACME_VALUE_MALFORMED, NULL},
    {"base64url with bits left over (RFC 4648 section 3.5)", BYTES(BASE64_42 "p"),
     ACME_VALUE_MALFORMED, NULL},
    {"plain base64", BYTES("LPsIwTo7o8BoG0+vjCyGQGBWSVIPxI+i/X336eUOQZo"), ACME_VALUE_MALFORMED,
     NULL},
    {"base64url with a NUL at the end", BYTES(BASE64_42 "\0"), ACME_VALUE_MALFORMED, NULL},

    /* the SHA-256 as hex (RFC 4648 section 8) */
    {"hex", BYTES(HEX), ACME_OK, HEX},
    {"hex in capitals", BYTES(HEX_CAPITAL), ACME_OK, HEX},
    {"hex in either case", BYTES(HEX_MIXED "\n"), ACME_OK, HEX},
    {"hex of zeros", BYTES(ZEROS_64), ACME_OK, ZEROS_64},
    {"hex, CRLF", BYTES(HEX "\r\n"), ACME_OK, HEX},
    {"hex with colons", BYTES(COLONS), ACME_OK, HEX},
    {"hex with colons, LF", BYTES(COLONS "\n"), ACME_OK, HEX},
    {"hex of 62 digits", BYTES(HEX_62), ACME_VALUE_MALFORMED, NULL},
    {"hex of 63 digits", BYTES(HEX_62 "9"), ACME_VALUE_MALFORMED, NULL},
    {"hex of 65 digits", BYTES(HEX "0"), ACME_VALUE_MALFORMED, NULL},
    {"hex of 66 digits", BYTES(HEX "00"), ACME_VALUE_MALFORMED, NULL},
    {"a letter that is no digit", BYTES(HEX_62 "9g"), ACME_VALUE_MALFORMED, NULL},
    {"hex with 0x", BYTES("0x" HEX_62), ACME_VALUE_MALFORMED, NULL},
    {"hex with one colon, 64 bytes", BYTES(HEX_62 ":9"), ACME_VALUE_MALFORMED, NULL},
    {"colons for all digits",
     BYTES(":::::::::::::::::::::::::::::::::::::::::::::::::::::::::"
           ":::::::::::::::::::::::::::::::::::::"),
     ACME_VALUE_MALFORMED, NULL},
    {"colon at the end", BYTES(COLONS ":"), ACME_VALUE_MALFORMED, NULL},
    {"colon a place too early",
     BYTES("2:cfb:08:c1:3a:3b:a3:c0:68:1b:4f:af:8c:2c:86:40:60:56:49"
           ":52:0f:c4:8f:a2:fd:7d:f7:e9:e5:0e:41:9a"),
     ACME_VALUE_MALFORMED, NULL},
    {"95 digits without a colon", BYTES(HEX "2cfb08c13a3ba3c0681b4faf8c2c864"),
     ACME_VALUE_MALFORMED, NULL},
    {"hex with hyphens",
     BYTES("2c-fb-08-c1-3a-3b-a3-c0-68-1b-4f-af-8c-2c-86-40-60-56-49-52-0f"
           "-c4-8f-a2-fd-7d-f7-e9-e5-0e-41-9a"),
     ACME_VALUE_MALFORMED, NULL},
    {"hex with spaces",
     BYTES("2c fb 08 c1 3a 3b a3 c0 68 1b 4f af 8c 2c 86 40 60 56 49 52 0f"
           " c4 8f a2 fd 7d f7 e9 e5 0e 41 9a"),
     ACME_VALUE_MALFORMED, NULL},

    /* one line */
    {"nothing", BYTES(""), ACME_VALUE_EMPTY, NULL},
    {"LF alone", BYTES("\n"), ACME_VALUE_EMPTY, NULL},
    {"CRLF alone", BYTES("\r\n"), ACME_VALUE_EMPTY, NULL},
    {"CR alone", BYTES("\r"), ACME_VALUE_MALFORMED, NULL},
    {"NUL alone", BYTES("\0"), ACME_VALUE_MALFORMED, NULL},
    {"space alone", BYTES(" "), ACME_VALUE_MALFORMED, NULL},
    {"two LF alone", BYTES("\n\n"), ACME_VALUE_LINES, NULL},
    {"two lines", BYTES(KEY_AUTH "\n" KEY_AUTH "\n"), ACME_VALUE_LINES, NULL},
    {"two lines, the last without an end", BYTES(KEY_AUTH "\n" KEY_AUTH), ACME_VALUE_LINES,
     NULL},
    {"an empty line after", BYTES(KEY_AUTH "\n\n"), ACME_VALUE_LINES, NULL},
    {"an empty line after, CRLF", BYTES(KEY_AUTH "\r\n\r\n"), ACME_VALUE_LINES, NULL},
    {"an empty line before", BYTES("\n" KEY_AUTH), ACME_VALUE_LINES, NULL},
    {"CR without LF", BYTES(KEY_AUTH "\r"), ACME_VALUE_MALFORMED, NULL},
    {"two CR before LF", BYTES(KEY_AUTH "\r\r\n"), ACME_VALUE_MALFORMED, NULL},
    {"CR within", BYTES(TOKEN "\r." THUMBPRINT), ACME_VALUE_MALFORMED, NULL},
};

static acme_error_e parse(acme_digest_t *digest, const char *value, apr_size_t length)
{
    char *copy = exact_copy(value, length);
    acme_error_e reason = acme_digest_parse(digest, copy, length);

    free(copy);
    return reason;
}

static void assert_digest(const acme_digest_t *digest, const char *expected)
{
    static const char digits[] = "0123456789abcdef";
    char hex[2 * ACME_DIGEST_SIZE + 1] = {0};
    size_t i;

    for (i = 0; i < ACME_DIGEST_SIZE; i++) {
        hex[2 * i] = digits[digest->bytes[i] >> 4];
        hex[2 * i + 1] = digits[digest->bytes[i] & 15];
    }
    assert_string_equal(hex, expected);
}

static void assert_refused(const char *value, apr_size_t length, acme_error_e expected)
{
    acme_digest_t digest, untouched;

    memset(&untouched, 0xa5, sizeof(untouched));
    digest = untouched;
    assert_reason(parse(&digest, value, length), expected);
    assert_memory_equal(&digest, &untouched, sizeof(digest));
}

static void assert_parsed(const char *value, apr_size_t length, const char *expected)
{
    acme_digest_t digest;

    memset(&digest, 0xa5, sizeof(digest));
    assert_reason(parse(&digest, value, length), ACME_OK);
    assert_digest(&digest, expected);
}

static void test_value(void **state)
{
    const digest_row_t *row = *state;

    if (row->reason == ACME_OK) {
        assert_parsed(row->value, row->length, row->digest);
    } else {
        assert_refused(row->value, row->length, row->reason);
    }
}

/* A key authorization of `length` bytes, line end included. */
static char *long_value(apr_size_t length, const char *line_end)
{
    static const char tail[] = "." THUMBPRINT;
    apr_size_t token_length = length - strlen(line_end) - strlen(tail);
    char *value = calloc(1, length + 1);

    assert_non_null(value);
    memset(value, 'A', token_length);
    strcpy(value + token_length, tail);
    strcat(value, line_end);
    assert_int_equal(strlen(value), length);
    return value;
}

static void test_1024_bytes_are_read(void **state)
{
    static const struct {
        const char *line_end;
        const char *digest;
    } values[] = {
        {"", "1724f2aa84682193887c9a26bb87e28cb1e477045136d0c801f9c1a9012511a6"},
        {"\n", "6ab5a807668e497fcb25d763a6a07266f92558c5fb0f9d1361b67f8544286fb2"},
        {"\r\n", "4da915b4af70cc8788c8d0a9105b46a5dbeb8d887f5557b28288ab6b1f01353a"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(values); i++) {
        char *value = long_value(1024, values[i].line_end);

        assert_parsed(value, 1024, values[i].digest);
        free(value);
    }
}

static void test_1025_bytes_are_too_many(void **state)
{
    static const char *const line_ends[] = {"", "\n", "\r\n"};
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(line_ends); i++) {
        char *value = long_value(1025, line_ends[i]);

        assert_refused(value, 1025, ACME_ENTRY_TOO_LARGE);
        free(value);
    }
}

/* Puts each byte there is at one place of a value that is right without it. */
static void assert_alphabet(const char *value, apr_size_t at, const char *alphabet)
{
    apr_size_t length = strlen(value);
    char *changed = strdup(value);
    int byte;

    assert_non_null(changed);
    for (byte = 0; byte < 256; byte++) {
        acme_digest_t digest;
        acme_error_e reason;
        int belongs = byte != 0 && strchr(alphabet, byte) != NULL;

        changed[at] = (char)byte;
        reason = parse(&digest, changed, length);
        if ((reason == ACME_OK) != belongs) {
            fail_msg("byte 0x%02x at %zu of %s: %s", byte, (size_t)at, value,
                     acme_error_slug(reason));
        }
    }
    free(changed);
}

static void test_every_byte_in_a_key_authorization(void **state)
{
    (void)state;
    assert_alphabet(KEY_AUTH, 0, base64url);
    assert_alphabet(KEY_AUTH, strlen(TOKEN) - 1, base64url);
    assert_alphabet(KEY_AUTH, strlen(TOKEN), ".");
    assert_alphabet(KEY_AUTH, strlen(TOKEN) + 1, base64url);
    assert_alphabet(KEY_AUTH, strlen(KEY_AUTH) - 1, base64url);
}

/* RFC 4648 section 3.5: of the last character's six bits two are left over, and zero. */
static void test_every_byte_in_base64url(void **state)
{
    (void)state;
    assert_alphabet(BASE64URL, 0, base64url);
    assert_alphabet(BASE64URL, strlen(BASE64URL) - 2, base64url);
    assert_alphabet(BASE64URL, strlen(BASE64URL) - 1, "AEIMQUYcgkosw048");
}

static void test_every_byte_in_hex(void **state)
{
    static const char digits[] = "0123456789abcdefABCDEF";

    (void)state;
    assert_alphabet(HEX, 0, digits);
    assert_alphabet(HEX, strlen(HEX) - 1, digits);
    assert_alphabet(COLONS, 1, digits);
    assert_alphabet(COLONS, 2, ":");
    assert_alphabet(COLONS, strlen(COLONS) - 3, ":");
    assert_alphabet(COLONS, strlen(COLONS) - 1, digits);
}

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_1024_bytes_are_read),
        cmocka_unit_test(test_1025_bytes_are_too_many),
        cmocka_unit_test(test_every_byte_in_a_key_authorization),
        cmocka_unit_test(test_every_byte_in_base64url),
        cmocka_unit_test(test_every_byte_in_hex),
    };
    struct CMUnitTest tests[COUNT(rows) + COUNT(others)];
    size_t i;

    for (i = 0; i < COUNT(rows); i++) {
        tests[i] = unit_case(rows[i].name, test_value, &rows[i]);
    }
    memcpy(tests + i, others, sizeof(others));
    return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
