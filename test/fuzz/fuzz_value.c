/*
 * Any bytes as the value of a spool entry. What the parser says is compared with the grammar of
 * the contract, given once more as a regular expression, and with a digest made another way.
 */
#include "fuzz.h"

#include <regex.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include "acme_digest.h"

#define CHARACTER "[A-Za-z0-9_-]"

/* In the order of the parts: 1 key authorization, 2 base64url, 3 hex, 4 hex with colons. */
static const char grammar[] = "^(" CHARACTER "{22,}[.]" CHARACTER "{43})(\r?\n)?$|"
                              "^(" CHARACTER "{42}[AEIMQUYcgkosw048])(\r?\n)?$|"
                              "^([0-9A-Fa-f]{64})(\r?\n)?$|"
                              "^(([0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2})(\r?\n)?$";

enum { WHOLE, KEY_AUTHORIZATION = 1, BASE64URL = 3, HEX = 5, COLONED_HEX = 7, GROUPS = 10 };

/* The group of the form that the value has, and its text in *match; or WHOLE for none. */
static int form_of(const char *value, size_t length, regmatch_t *match)
{
    static const int forms[] = {KEY_AUTHORIZATION, BASE64URL, HEX, COLONED_HEX};
    static regex_t expression;
    static int is_compiled;
    regmatch_t groups[GROUPS];
    size_t i;

    if (!is_compiled) {
        REQUIRE(regcomp(&expression, grammar, REG_EXTENDED) == 0);
        is_compiled = 1;
    }
    if (strlen(value) != length || regexec(&expression, value, GROUPS, groups, 0) != 0) {
        return WHOLE;
    }
    for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (groups[forms[i]].rm_so >= 0) {
            *match = groups[forms[i]];
            return forms[i];
        }
    }
    return WHOLE;
}

static void require_hash(const acme_digest_t *digest, const char *text, size_t length)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned int size;

    REQUIRE(EVP_Digest(text, length, hash, &size, EVP_sha256(), NULL) == 1);
    REQUIRE(size == sizeof(digest->bytes));
    REQUIRE(memcmp(hash, digest->bytes, size) == 0);
}

/* Encoding the digest again gives the text again: no two texts are read alike. */
static void require_base64url(const acme_digest_t *digest, const char *text)
{
    unsigned char encoded[64];
    size_t i;

    REQUIRE(EVP_EncodeBlock(encoded, digest->bytes, sizeof(digest->bytes)) == 44);
    for (i = 0; i < 43; i++) {
        encoded[i] = encoded[i] == '+' ? '-' : encoded[i] == '/' ? '_' : encoded[i];
    }
    REQUIRE(encoded[43] == '=');
    REQUIRE(memcmp(encoded, text, 43) == 0);
}

static void require_hex(const acme_digest_t *digest, const char *text, const char *separator)
{
    char encoded[3 * sizeof(digest->bytes) + 1] = {0};
    size_t i, length = 0;

    for (i = 0; i < sizeof(digest->bytes); i++) {
        length += (size_t)snprintf(encoded + length, sizeof(encoded) - length, "%s%02x",
                                   i ? separator : "", digest->bytes[i]);
    }
    REQUIRE(strncasecmp(encoded, text, length) == 0);
}

static void require_digest(const acme_digest_t *digest, int form, const char *text,
                           size_t length)
{
    REQUIRE(form != WHOLE);
    if (form == KEY_AUTHORIZATION) {
        require_hash(digest, text, length);
    } else if (form == BASE64URL) {
        require_base64url(digest, text);
    } else {
        require_hex(digest, text, form == HEX ? "" : ":");
    }
}

/* The reason that a value outside the grammar is refused for. */
static acme_error_e refusal(const char *value, size_t length)
{
    const char *end;

    if (length > 1024) {
        return ACME_ENTRY_TOO_LARGE;
    }
    if (length == 0 || (length == 1 && value[0] == '\n') ||
        (length == 2 && memcmp(value, "\r\n", 2) == 0)) {
        return ACME_VALUE_EMPTY;
    }
    end = memchr(value, '\n', length);
    return end && end != value + length - 1 ? ACME_VALUE_LINES : ACME_VALUE_MALFORMED;
}

/* A list of two accounts takes a key authorization of one of these. A list of its own account
 * takes it. */
static void require_account(const char *value, int form, const regmatch_t *match,
                            const acme_digest_t *digest)
{
    static const char two[] = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI "
                              "LPsIwTo7o8BoG0-vjCyGQGBWSVIPxI-i_X336eUOQZo";
    const char *last = form == KEY_AUTHORIZATION ? value + match->rm_eo - 43 : NULL;
    int is_one = last && (memcmp(last, two, 43) == 0 || memcmp(last, two + 44, 43) == 0);
    const char *own = digest->account;

    REQUIRE(last ? strncmp(own, last, 43) == 0 && strlen(own) == 43 : *own == '\0');
    REQUIRE(acme_digest_check_account(digest, NULL) == ACME_OK);
    REQUIRE(acme_digest_check_account(digest, two) == (is_one ? ACME_OK
                                                       : last ? ACME_ACCOUNT_OTHER
                                                              : ACME_ACCOUNT_UNKNOWN));
    REQUIRE(acme_digest_check_account(digest, own) == (last ? ACME_OK : ACME_ACCOUNT_UNKNOWN));
}

/* Any bytes as a word of the list: a SHA-256 in base64url, or "any", in any case. */
static void require_word(const char *word, size_t size)
{
    const char *list = NULL;
    regmatch_t match;
    int is_allowed =
        strlen(word) == size && (strcasecmp(word, "any") == 0 ||
                                 (size == 43 && form_of(word, size, &match) == BASE64URL));

    if (strlen(word) == size) {
        REQUIRE(acme_digest_add_account(NULL, &list, word) == is_allowed);
        REQUIRE((list != NULL) == is_allowed);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    acme_digest_t digest, untouched;
    acme_error_e reason;
    char *value = malloc(size + 1);
    regmatch_t match;
    int form;

    REQUIRE(value);
    memcpy(value, data, size);
    value[size] = '\0';
    memset(&untouched, 0xa5, sizeof(untouched));
    digest = untouched;

    reason = acme_digest_parse(&digest, (const char *)data, size);
    form = form_of(value, size, &match);
    if (reason == ACME_OK) {
        REQUIRE(size <= 1024);
        require_digest(&digest, form, value + match.rm_so, (size_t)(match.rm_eo - match.rm_so));
        require_account(value, form, &match, &digest);
    } else {
        REQUIRE(form == WHOLE || size > 1024);
        REQUIRE(reason == refusal(value, size));
        REQUIRE(memcmp(&digest, &untouched, sizeof(digest)) == 0);
    }
    require_word(value, size);
    free(value);
    return 0;
}
