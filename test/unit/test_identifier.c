#include "unit.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "acme_identifier.h"

/* labels of 63, 61 and 60 letters */
#define LABEL_60 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz01234567"
#define LABEL_61 LABEL_60 "8"
#define LABEL_63 LABEL_60 "890"

/* 63 + 1 + 63 + 1 + 63 + 1 + 61 = 253 */
#define NAME_253 LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_61
#define NAME_254 NAME_253 "a"

/* the 32 nibbles of 2001:db8::567:89ab (RFC 3596 section 2.5, RFC 8738 section 6) */
#define NIBBLES_24  "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0"
#define NIBBLES_31  NIBBLES_24 ".8.b.d.0.1.0.0"
#define NIBBLES_32  NIBBLES_31 ".2"
#define IP6_ARPA    ".ip6.arpa"
#define IN_ADDR     ".in-addr.arpa"
#define ZEROS_30    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0"
#define ONES_8      "1.0.0.0.1.0.0.0.1.0.0.0.1.0.0.0.1.0.0.0.1.0.0.0.1.0.0.0.1.0.0.0"
#define REVERSE_V6  NIBBLES_32 IP6_ARPA
#define TWO_RUNS    "1.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
#define SINGLE_ZERO "1.0.0.0.1.0.0.0.1.0.0.0.1.0.0.0.1.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
#define LONGER_LAST "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.0.0.0.0.1.0.0.2"
#define MAPPED      "1.0.2.0.0.0.0.c.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0"

typedef struct {
    const char *name;
    const char *sni;
    apr_size_t length;
    const char *canonical; /* NULL where there is no identifier */
    const char *address;
    apr_size_t address_size;
} identifier_row_t;

#define DNS(sni, canonical)         BYTES(sni), canonical, NULL, 0
#define IP(sni, canonical, address) BYTES(sni), canonical, BYTES(address)
#define INVALID(sni)                BYTES(sni), NULL, NULL, 0

static const identifier_row_t rows[] = {
    /* RFC 6066 section 3: A-labels without a trailing dot; RFC 8555 section 7.1.4: lower case
     */
    {"two labels", DNS("example.com", "example.com")},
    {"one label", DNS("localhost", "localhost")},
    {"one letter", DNS("a", "a")},
    {"capitals", DNS("WwW.ExAmPlE.CoM", "www.example.com")},
    {"first and last letters", DNS("azAZ.AZaz", "azaz.azaz")},
    {"A-label", DNS("xn--bcher-kva.example", "xn--bcher-kva.example")},
    {"A-label in capitals", DNS("XN--BCHER-KVA.example", "xn--bcher-kva.example")},
    {"digits and hyphens", DNS("0-9.3com.a--b", "0-9.3com.a--b")},
    {"label of 63 bytes", DNS(LABEL_63 ".com", LABEL_63 ".com")},
    {"name of 253 bytes", DNS(NAME_253, NAME_253)},
    {"digits only, but not last", DNS("1.2.3.example", "1.2.3.example")},
    {"last label begins with a digit", DNS("example.4com", "example.4com")},
    {"hex as the last label", DNS("127.0.0.0x1", "127.0.0.0x1")},
    {"a name in arpa", DNS("example.arpa", "example.arpa")},
    {"the reverse zone itself", DNS("in-addr.arpa", "in-addr.arpa")},
    {"the end of a reverse zone's name", DNS("1.2.3.4.xin-addr.arpa", "1.2.3.4.xin-addr.arpa")},
    {"a reverse zone that is not last",
     DNS("4.3.2.1.in-addr.arpa.example", "4.3.2.1.in-addr.arpa.example")},

    {"nothing", INVALID("")},
    {"label of 64 bytes", INVALID(LABEL_63 "x.com")},
    {"last label of 64 bytes", INVALID("www." LABEL_63 "x")},
    {"name of 254 bytes", INVALID(NAME_254)},
    {"name of 253 bytes and a dot", INVALID(NAME_253 ".")},
    {"trailing dot", INVALID("example.com.")},
    {"dot first", INVALID(".example.com")},
    {"dot alone", INVALID(".")},
    {"two dots alone", INVALID("..")},
    {"empty label", INVALID("example..com")},
    {"hyphen first", INVALID("-example.com")},
    {"hyphen last", INVALID("example-.com")},
    {"hyphen first in the last label", INVALID("example.-com")},
    {"hyphen at the end", INVALID("example.com-")},
    {"hyphen alone", INVALID("-")},
    {"underscore", INVALID("_acme-challenge.example.com")},
    {"wildcard", INVALID("*.example.com")},
    {"slash", INVALID("example/com")},
    {"slash first", INVALID("/etc/passwd")},
    {"parent directory", INVALID("../example.com")},
    {"backslash", INVALID("example\\com")},
    {"colon", INVALID("example.com:443")},
    {"space", INVALID("example .com")},
    {"line feed at the end", INVALID("example.com\n")},
    {"escape sequence", INVALID("\033[2J.example.com")},
    {"NUL alone", INVALID("\0")},
    {"NUL first", INVALID("\0example.com")},
    {"NUL within", INVALID("example.com\0.example.net")},
    {"NUL at the end", INVALID("example.com\0")},
    {"UTF-8", INVALID("b\xc3\xbc"
                      "cher.example")},
    {"byte 0xff", INVALID("\xff.example")},

    /* RFC 8738 section 3: an IP address is an identifier of its own type, never a dNSName */
    {"IPv4 as text", INVALID("192.0.2.1")},
    {"a number alone", INVALID("3221225985")},
    {"last label a number", INVALID("example.123")},
    {"IPv6 as text", INVALID("2001:db8::1")},
    {"IPv6 in brackets", INVALID("[2001:db8::1]")},
    {"IPv6 loopback", INVALID("::1")},

    /* RFC 8738 section 6: the reverse name stands for the address; RFC 1035 section 3.5 */
    {"IPv4", IP("1.2.0.192.in-addr.arpa", "192.0.2.1", "\xc0\x00\x02\x01")},
    {"IPv4 in capitals", IP("1.2.0.192.IN-ADDR.ARPA", "192.0.2.1", "\xc0\x00\x02\x01")},
    {"IPv4, all octets the largest",
     IP("255.255.255.255.in-addr.arpa", "255.255.255.255", "\xff\xff\xff\xff")},
    {"IPv4, all octets zero", IP("0.0.0.0.in-addr.arpa", "0.0.0.0", "\0\0\0\0")},
    {"IPv4, octets of 1 to 3 digits",
     IP("100.99.9.10.in-addr.arpa", "10.9.99.100", "\x0a\x09\x63\x64")},
    {"IPv4 with an octet of 256", INVALID("256.2.0.192.in-addr.arpa")},
    {"IPv4 with an octet of four digits", INVALID("1000.2.0.192.in-addr.arpa")},
    {"IPv4 with three octets", INVALID("2.0.192.in-addr.arpa")},
    {"IPv4 with one octet", INVALID("10.in-addr.arpa")},
    {"IPv4 with five octets", INVALID("0.1.2.0.192.in-addr.arpa")},
    {"IPv4 with a leading zero", INVALID("01.2.0.192.in-addr.arpa")},
    {"IPv4 with 00", INVALID("00.2.0.192.in-addr.arpa")},
    {"IPv4 with a letter", INVALID("a.2.0.192.in-addr.arpa")},
    {"IPv4 in hex", INVALID("0x1.2.0.192.in-addr.arpa")},
    {"IPv4 with a minus", INVALID("-1.2.0.192.in-addr.arpa")},
    {"IPv4 with an empty octet", INVALID("1..0.192.in-addr.arpa")},
    {"IPv4 with a trailing dot", INVALID("1.2.0.192.in-addr.arpa.")},
    {"IPv4 with no octets", INVALID(".in-addr.arpa")},
    {"RFC 2317 delegation", INVALID("1.0-127.2.0.192.in-addr.arpa")},
    {"a word under in-addr.arpa", INVALID("www.in-addr.arpa")},
    {"IPv4 under ip6.arpa", INVALID("1.2.0.192.ip6.arpa")},

    /* RFC 3596 section 2.5: 32 nibbles; RFC 5952 section 4: the one way to write an address */
    {"IPv6",
     IP(REVERSE_V6, "2001:db8::567:89ab", "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\x05\x67\x89\xab")},
    {"IPv6 in capitals",
     IP("B.A.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.IP6.ARPA",
        "2001:db8::567:89ab", "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\x05\x67\x89\xab")},
    {"IPv6 unspecified",
     IP(ZEROS_30 ".0.0" IP6_ARPA, "::", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
    {"IPv6 loopback's reverse",
     IP("1." ZEROS_30 ".0" IP6_ARPA, "::1", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1")},
    {"IPv6 without a run of zeros (RFC 5952 section 4.1)",
     IP(ONES_8 IP6_ARPA, "1:1:1:1:1:1:1:1", "\0\1\0\1\0\1\0\1\0\1\0\1\0\1\0\1")},
    {"IPv6 with one zero field (RFC 5952 section 4.2.2)",
     IP(SINGLE_ZERO IP6_ARPA, "2001:db8:0:1:1:1:1:1",
        "\x20\x01\x0d\xb8\0\0\0\1\0\1\0\1\0\1\0\1")},
    {"IPv6 with two runs of one length (RFC 5952 section 4.2.3)",
     IP(TWO_RUNS IP6_ARPA, "2001:db8::1:0:0:1", "\x20\x01\x0d\xb8\0\0\0\0\0\1\0\0\0\0\0\1")},
    {"IPv6 with the longer run last (RFC 5952 section 4.2.3)",
     IP(LONGER_LAST IP6_ARPA, "2001:0:0:1::1", "\x20\x01\0\0\0\0\0\1\0\0\0\0\0\0\0\1")},
    {"IPv6 that maps IPv4 (RFC 5952 section 5)",
     IP(MAPPED IP6_ARPA, "::ffff:192.0.2.1", "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1")},
    {"IPv6 of 31 nibbles", INVALID(NIBBLES_31 IP6_ARPA)},
    {"IPv6 of 33 nibbles", INVALID("0." NIBBLES_32 IP6_ARPA)},
    {"IPv6 of one nibble", INVALID("1" IP6_ARPA)},
    {"IPv6 with a letter that is no digit", INVALID("g." NIBBLES_31 IP6_ARPA)},
    {"IPv6 with a label of two nibbles, 63 bytes",
     INVALID("bab." NIBBLES_24 ".8.b.d.0.1.0" IP6_ARPA)},
    {"IPv6 with a hyphen for a dot", INVALID("b-a." NIBBLES_24 ".8.b.d.0.1.0" IP6_ARPA)},
    {"IPv6 with no nibbles", INVALID(".ip6.arpa")},
    {"IPv6 with a trailing dot", INVALID(REVERSE_V6 ".")},
    {"IPv6 under in-addr.arpa", INVALID(NIBBLES_32 IN_ADDR)},
};

static acme_error_e from_sni(acme_identifier_t *identifier, const char *sni, apr_size_t length)
{
    char *copy = exact_copy(sni, length);
    acme_error_e reason = acme_identifier_from_sni(identifier, copy, length);

    free(copy);
    return reason;
}

static void assert_no_identifier(const char *sni, apr_size_t length)
{
    acme_identifier_t identifier, untouched;

    memset(&untouched, 0xa5, sizeof(untouched));
    identifier = untouched;
    assert_reason(from_sni(&identifier, sni, length), ACME_NAME_INVALID);
    assert_memory_equal(&identifier, &untouched, sizeof(identifier));
}

static void test_sni(void **state)
{
    const identifier_row_t *row = *state;
    acme_identifier_t identifier;

    if (!row->canonical) {
        assert_no_identifier(row->sni, row->length);
        return;
    }
    memset(&identifier, 0xa5, sizeof(identifier));
    assert_reason(from_sni(&identifier, row->sni, row->length), ACME_OK);
    assert_string_equal(identifier.name, row->canonical);
    assert_int_equal(identifier.type, row->address ? ACME_IDENTIFIER_IP : ACME_IDENTIFIER_DNS);
    assert_int_equal(identifier.address_size, row->address_size);
    if (row->address) {
        assert_memory_equal(identifier.address, row->address, row->address_size);
    }
}

/* What people and clients write, and file names; RFC 8738 section 3 for addresses. */
typedef struct {
    const char *name;
    const char *text;
    acme_error_e reason;
    const char *canonical; /* with ACME_OK */
    const char *sni;       /* what a CA sends for it; with ACME_OK */
} text_row_t;

static const text_row_t texts[] = {
    {"text: DNS name", "example.com", ACME_OK, "example.com", "example.com"},
    {"text: capitals", "Example.COM", ACME_OK, "example.com", "example.com"},
    {"text: the root's dot", "example.com.", ACME_OK, "example.com", "example.com"},
    {"text: 253 bytes", NAME_253, ACME_OK, NAME_253, NAME_253},
    {"text: 253 bytes and the root's dot", NAME_253 ".", ACME_OK, NAME_253, NAME_253},
    {"text: IPv4", "192.0.2.1", ACME_OK, "192.0.2.1", "1.2.0.192.in-addr.arpa"},
    {"text: IPv4, the longest", "255.254.253.252", ACME_OK, "255.254.253.252",
     "252.253.254.255.in-addr.arpa"},
    {"text: IPv4 by its reverse name", "1.2.0.192.in-addr.arpa", ACME_OK, "192.0.2.1",
     "1.2.0.192.in-addr.arpa"},
    {"text: IPv6", "2001:db8::567:89ab", ACME_OK, "2001:db8::567:89ab", REVERSE_V6},
    {"text: IPv6 in capitals and in full", "2001:0DB8:0000:0000:0000:0000:0567:89AB", ACME_OK,
     "2001:db8::567:89ab", REVERSE_V6},
    {"text: IPv6 that maps IPv4", "::ffff:c000:201", ACME_OK, "::ffff:192.0.2.1",
     MAPPED IP6_ARPA},
    {"text: IPv6 loopback", "::1", ACME_OK, "::1", "1." ZEROS_30 ".0" IP6_ARPA},

    {"text: nothing", "", ACME_NAME_INVALID, NULL, NULL},
    {"text: a dot", ".", ACME_NAME_INVALID, NULL, NULL},
    {"text: two dots at the end", "example.com..", ACME_NAME_INVALID, NULL, NULL},
    {"text: 254 bytes", NAME_254, ACME_NAME_INVALID, NULL, NULL},
    {"text: wildcard", "*.example.com", ACME_NAME_WILDCARD, NULL, NULL},
    {"text: asterisk elsewhere", "www.*.com", ACME_NAME_INVALID, NULL, NULL},
    {"text: UTF-8",
     "b\xc3\xbc"
     "cher.example",
     ACME_NAME_NOT_ASCII, NULL, NULL},
    {"text: wildcard in UTF-8",
     "*.b\xc3\xbc"
     "cher.example",
     ACME_NAME_WILDCARD, NULL, NULL},
    {"text: URL", "https://example.com/", ACME_NAME_INVALID, NULL, NULL},
    {"text: path", "../example.com", ACME_NAME_INVALID, NULL, NULL},
    {"text: dot-file", ".example.com", ACME_NAME_INVALID, NULL, NULL},
    {"text: space at the end", "example.com ", ACME_NAME_INVALID, NULL, NULL},
    {"text: IPv4 with a root's dot", "192.0.2.1.", ACME_NAME_INVALID, NULL, NULL},
    {"text: IPv4 of three parts", "192.0.513", ACME_NAME_INVALID, NULL, NULL},
    {"text: IPv4 with a leading zero", "192.0.2.01", ACME_NAME_INVALID, NULL, NULL},
    {"text: IPv4 with a prefix length", "192.0.2.1/32", ACME_NAME_INVALID, NULL, NULL},
    {"text: IPv6 with a zone", "fe80::1%lo", ACME_NAME_INVALID, NULL, NULL},
    {"text: IPv6 in brackets", "[::1]", ACME_NAME_INVALID, NULL, NULL},
};

static void test_text(void **state)
{
    const text_row_t *row = *state;
    acme_identifier_t identifier, untouched;
    char sni[ACME_SNI_SIZE];

    memset(&untouched, 0xa5, sizeof(untouched));
    identifier = untouched;
    assert_reason(acme_identifier_from_text(&identifier, row->text), row->reason);
    if (row->reason != ACME_OK) {
        assert_memory_equal(&identifier, &untouched, sizeof(identifier));
        return;
    }
    assert_string_equal(identifier.name, row->canonical);
    acme_identifier_sni(sni, &identifier);
    assert_string_equal(sni, row->sni);
}

/* RFC 8738 section 6: what the CA sends is what the server reads, whole and back. */
static void test_server_name_round_trip(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(rows); i++) {
        acme_identifier_t identifier, text;
        char sni[ACME_SNI_SIZE];

        if (!rows[i].canonical) {
            continue;
        }
        assert_reason(from_sni(&identifier, rows[i].sni, rows[i].length), ACME_OK);
        acme_identifier_sni(sni, &identifier);
        assert_int_equal(strlen(sni), rows[i].length);
        assert_int_equal(strcasecmp(sni, rows[i].sni), 0);

        assert_reason(acme_identifier_from_text(&text, rows[i].canonical), ACME_OK);
        assert_int_equal(text.type, identifier.type);
        assert_string_equal(text.name, identifier.name);
        assert_int_equal(text.address_size, identifier.address_size);
        assert_memory_equal(text.address, identifier.address, sizeof(text.address));
    }
}

/* Each byte there is, at the start of a label, within one and at the end of the name. */
static void test_every_byte(void **state)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    static const struct {
        size_t at;
        const char *more; /* what is allowed there besides letters */
    } places[] = {{0, ""}, {2, "-."}, {8, ""}, {10, ""}};
    size_t i;
    int byte;

    (void)state;
    for (i = 0; i < COUNT(places); i++) {
        for (byte = 0; byte < 256; byte++) {
            char sni[] = "example.com";
            acme_identifier_t identifier;
            int belongs = byte && (strchr(letters, byte) || strchr(places[i].more, byte));
            acme_error_e reason;

            sni[places[i].at] = (char)byte;
            reason = from_sni(&identifier, sni, sizeof(sni) - 1);
            if ((reason == ACME_OK) != belongs) {
                fail_msg("byte 0x%02x at %zu: %s", byte, places[i].at, acme_error_slug(reason));
            }
        }
    }
}

/* RFC 1035 section 2.3.4, for names far longer than any, too. */
static void test_every_length(void **state)
{
    char sni[2048];
    size_t length;

    (void)state;
    for (length = 0; length < sizeof(sni); length++) {
        sni[length] = length % 2 ? '.' : 'a';
    }
    for (length = 1; length < sizeof(sni); length += 2) {
        acme_identifier_t identifier;
        acme_error_e reason = from_sni(&identifier, sni, length);

        assert_reason(reason, length <= 253 ? ACME_OK : ACME_NAME_INVALID);
    }
}

static void test_canonical_form_stays_as_it_is(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(rows); i++) {
        acme_identifier_t identifier;

        if (!rows[i].canonical) {
            continue;
        }
        if (rows[i].address) {
            assert_no_identifier(rows[i].canonical, strlen(rows[i].canonical));
            continue;
        }
        assert_reason(from_sni(&identifier, rows[i].canonical, strlen(rows[i].canonical)),
                      ACME_OK);
        assert_string_equal(identifier.name, rows[i].canonical);
    }
}

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_canonical_form_stays_as_it_is),
        cmocka_unit_test(test_server_name_round_trip),
    };
    struct CMUnitTest tests[COUNT(rows) + COUNT(texts) + COUNT(others)];
    size_t i, n = 0;

    for (i = 0; i < COUNT(rows); i++) {
        tests[n++] = unit_case(rows[i].name, test_sni, &rows[i]);
    }
    for (i = 0; i < COUNT(texts); i++) {
        tests[n++] = unit_case(texts[i].name, test_text, &texts[i]);
    }
    memcpy(tests + n, others, sizeof(others));
    return cmocka_run_group_tests_name("identifier", tests, NULL, NULL);
}
