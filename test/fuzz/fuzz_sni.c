/*
 * Any bytes as the server name of a ClientHello. What the parser says is compared with the
 * grammar of host names and reverse names as regular expressions, and an address with the
 * reverse name made from it. And the same bytes as a file's name or a store's key, which others
 * choose: that is compared with the parser of server names and the C library's of addresses.
 */
#include "fuzz.h"

#include <ctype.h>
#include <regex.h>
#include <string.h>

#include <arpa/inet.h>

#include "acme_identifier.h"

#define LABEL "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
#define OCTET "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"

/* Enough for any. */
#define REVERSE_NAME_SIZE 128

typedef enum { NOTHING, HOST, ADDRESS } kind_t;

/* By a grammar that is compiled once. */
static int matches(regex_t **expression, const char *grammar, const char *name)
{
    if (!*expression) {
        *expression = malloc(sizeof(**expression));
        REQUIRE(*expression);
        REQUIRE(regcomp(*expression, grammar, REG_EXTENDED | REG_NOSUB) == 0);
    }
    return regexec(*expression, name, 0, NULL, 0) == 0;
}

/* What a server name in lower case stands for. */
static kind_t kind_of(const char *name, size_t size)
{
    static regex_t *address, *host, *other;

    if (size > 253 || strlen(name) != size) {
        return NOTHING;
    }
    if (matches(&address, "^(" OCTET "[.]){4}in-addr[.]arpa$|^([0-9a-f][.]){32}ip6[.]arpa$",
                name)) {
        return ADDRESS;
    }
    return matches(&host, "^(" LABEL "[.])*" LABEL "$", name) &&
                   !matches(&other, "(^|[.])[0-9]+$|[.](in-addr|ip6)[.]arpa$", name)
               ? HOST
               : NOTHING;
}

/* RFC 1035 section 3.5, RFC 3596 section 2.5 */
static void reverse_name(char *name, size_t size, const acme_identifier_t *identifier)
{
    const unsigned char *bytes = identifier->address;
    size_t i, length = 0;

    if (identifier->address_size == 4) {
        snprintf(name, size, "%d.%d.%d.%d.in-addr.arpa", bytes[3], bytes[2], bytes[1],
                 bytes[0]);
        return;
    }
    for (i = 16; i-- > 0;) {
        length += (size_t)snprintf(name + length, size - length, "%x.%x.", bytes[i] & 15,
                                   bytes[i] >> 4);
    }
    snprintf(name + length, size - length, "ip6.arpa");
}

static void require_address(const acme_identifier_t *identifier, const char *lower)
{
    int family = identifier->address_size == 4 ? AF_INET : AF_INET6;
    unsigned char address[16];
    char name[REVERSE_NAME_SIZE];

    REQUIRE(identifier->address_size == 4 || identifier->address_size == 16);
    REQUIRE(inet_pton(family, identifier->name, address) == 1);
    REQUIRE(memcmp(address, identifier->address, identifier->address_size) == 0);
    REQUIRE(inet_ntop(family, address, name, sizeof(name)));
    REQUIRE(strcmp(name, identifier->name) == 0);
    reverse_name(name, sizeof(name), identifier);
    REQUIRE(strcmp(name, lower) == 0);
}

/* The canonical form as text, and the server name that a CA sends, mean the same identifier. */
static void require_round_trip(const acme_identifier_t *identifier, const char *lower)
{
    acme_identifier_t again;
    char sni[ACME_SNI_SIZE];

    acme_identifier_sni(sni, identifier);
    REQUIRE(strcmp(sni, lower) == 0);
    REQUIRE(acme_identifier_from_text(&again, identifier->name) == ACME_OK);
    REQUIRE(again.type == identifier->type);
    REQUIRE(strcmp(again.name, identifier->name) == 0);
    REQUIRE(again.address_size == identifier->address_size);
    REQUIRE(memcmp(again.address, identifier->address, again.address_size) == 0);
}

static void require_identifier(const acme_identifier_t *identifier, kind_t kind,
                               const char *lower)
{
    REQUIRE(kind != NOTHING);
    REQUIRE(identifier->type == (kind == ADDRESS ? ACME_IDENTIFIER_IP : ACME_IDENTIFIER_DNS));
    require_round_trip(identifier, lower);
    if (kind == ADDRESS) {
        require_address(identifier, lower);
    } else {
        REQUIRE(strcmp(identifier->name, lower) == 0 && identifier->address_size == 0);
    }
}

/* What stands for the identifier of `text` in a server name, or for none. */
static void sni_of(char *sni, const char *text, size_t length)
{
    acme_identifier_t address = {.type = ACME_IDENTIFIER_IP};

    if (inet_pton(AF_INET, text, address.address) == 1) {
        address.address_size = 4;
    } else if (inet_pton(AF_INET6, text, address.address) == 1) {
        address.address_size = 16;
    }
    if (address.address_size) {
        reverse_name(sni, REVERSE_NAME_SIZE, &address);
        return;
    }
    length -= length > 1 && text[length - 1] == '.';
    memcpy(sni, text, length);
    sni[length] = '\0';
}

static void require_text(const char *text, size_t length)
{
    acme_identifier_t identifier, named, untouched;
    acme_error_e reason;
    char *sni = malloc(length + REVERSE_NAME_SIZE);

    REQUIRE(sni);
    memset(&untouched, 0xa5, sizeof(untouched));
    identifier = named = untouched;
    sni_of(sni, text, length);
    reason = acme_identifier_from_text(&identifier, text);
    REQUIRE((reason == ACME_OK) ==
            (acme_identifier_from_sni(&named, sni, strlen(sni)) == ACME_OK));
    if (reason == ACME_OK) {
        REQUIRE(identifier.type == named.type && strcmp(identifier.name, named.name) == 0);
    } else {
        REQUIRE(memcmp(&identifier, &untouched, sizeof(identifier)) == 0);
        REQUIRE((reason == ACME_NAME_WILDCARD) == (strncmp(text, "*.", 2) == 0));
    }
    free(sni);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    acme_identifier_t identifier, untouched;
    acme_error_e reason;
    char *lower = malloc(size + 1);
    size_t i;

    REQUIRE(lower);
    for (i = 0; i < size; i++) {
        lower[i] = (char)tolower(data[i]);
    }
    lower[size] = '\0';
    memset(&untouched, 0xa5, sizeof(untouched));
    identifier = untouched;

    reason = acme_identifier_from_sni(&identifier, (const char *)data, size);
    if (reason == ACME_OK) {
        require_identifier(&identifier, kind_of(lower, size), lower);
    } else {
        REQUIRE(reason == ACME_NAME_INVALID);
        REQUIRE(memcmp(&identifier, &untouched, sizeof(identifier)) == 0);
        REQUIRE(kind_of(lower, size) == NOTHING);
    }
    memcpy(lower, data, size);
    require_text(lower, strlen(lower));
    free(lower);
    return 0;
}
