#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "acme_identifier.h"

/* Which server names and texts are right and which are not is in the corpus of
 * test/fuzz/fuzz_sni.c, which knows the grammar and reads an address another way. */

/* the 32 nibbles of 2001:db8::567:89ab (RFC 3596 section 2.5, RFC 8738 section 6) */
#define NIBBLES_24  "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0"
#define REVERSE_V6  NIBBLES_24 ".8.b.d.0.1.0.0.2.ip6.arpa"
#define ZEROS_30    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0"
#define ONES_8      "1.0.0.0.1.0.0.0.1.0.0.0.1.0.0.0.1.0.0.0.1.0.0.0.1.0.0.0.1.0.0.0"
#define TWO_RUNS    "1.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
#define SINGLE_ZERO "1.0.0.0.1.0.0.0.1.0.0.0.1.0.0.0.1.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
#define LONGER_LAST "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.0.0.0.0.1.0.0.2"
#define MAPPED      "1.0.2.0.0.0.0.c.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0"
#define IP6_ARPA    ".ip6.arpa"

typedef struct {
    const char *name;
    const char *sni;
    const char *canonical;
    const char *address; /* NULL: a DNS name */
    apr_size_t address_size;
} identifier_row_t;

/* RFC 8555 section 7.1.4 and RFC 8738: lower case, and the reverse name stands for the address.
 * RFC 5952 section 4: the one way to write it. */
static const identifier_row_t rows[] = {
    {"DNS name", "WwW.ExAmPlE.CoM", "www.example.com", NULL, 0},
    {"IPv4", "1.2.0.192.IN-ADDR.ARPA", "192.0.2.1", BYTES("\xc0\x00\x02\x01")},
    {"IPv4, octets of 1 to 3 digits", "100.99.9.10.in-addr.arpa", "10.9.99.100",
     BYTES("\x0a\x09\x63\x64")},
    {"IPv6", REVERSE_V6, "2001:db8::567:89ab",
     BYTES("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\x05\x67\x89\xab")},
    {"unspecified", ZEROS_30 ".0.0" IP6_ARPA, "::", BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
    {"loopback", "1." ZEROS_30 ".0" IP6_ARPA, "::1", BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1")},
    {"no run of zeros (section 4.1)", ONES_8 IP6_ARPA, "1:1:1:1:1:1:1:1",
     BYTES("\0\1\0\1\0\1\0\1\0\1\0\1\0\1\0\1")},
    {"one zero field (section 4.2.2)", SINGLE_ZERO IP6_ARPA, "2001:db8:0:1:1:1:1:1",
     BYTES("\x20\x01\x0d\xb8\0\0\0\1\0\1\0\1\0\1\0\1")},
    {"two runs of one length (section 4.2.3)", TWO_RUNS IP6_ARPA, "2001:db8::1:0:0:1",
     BYTES("\x20\x01\x0d\xb8\0\0\0\0\0\1\0\0\0\0\0\1")},
    {"the longer run last (section 4.2.3)", LONGER_LAST IP6_ARPA, "2001:0:0:1::1",
     BYTES("\x20\x01\0\0\0\0\0\1\0\0\0\0\0\0\0\1")},
    {"IPv6 that maps IPv4 (section 5)", MAPPED IP6_ARPA, "::ffff:192.0.2.1",
     BYTES("\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1")},
};

static void test_identifier(void **state)
{
    const identifier_row_t *row = *state;
    acme_identifier_t identifier;

    assert_reason(acme_identifier_from_sni(&identifier, row->sni, strlen(row->sni)), ACME_OK);
    assert_string_equal(identifier.name, row->canonical);
    assert_int_equal(identifier.type, row->address ? ACME_IDENTIFIER_IP : ACME_IDENTIFIER_DNS);
    assert_int_equal(identifier.address_size, row->address_size);
    assert_memory_equal(identifier.address, row->address ? row->address : "",
                        row->address_size);
}

/* What people and clients write, and file names; RFC 8738 section 3 for addresses. */
static void test_text(void **state)
{
    static const struct {
        const char *text;
        acme_error_e reason;
        const char *canonical; /* with ACME_OK */
    } texts[] = {
        {"Example.COM", ACME_OK, "example.com"},
        {"example.com.", ACME_OK, "example.com"},
        {"1.2.0.192.in-addr.arpa", ACME_OK, "192.0.2.1"},
        {"2001:0DB8:0000:0000:0000:0000:0567:89AB", ACME_OK, "2001:db8::567:89ab"},
        {"::ffff:c000:201", ACME_OK, "::ffff:192.0.2.1"},
        {"*.example.com", ACME_NAME_WILDCARD, NULL},
        {"*.b\xc3\xbc.example", ACME_NAME_WILDCARD, NULL},
        {"b\xc3\xbc.example", ACME_NAME_NOT_ASCII, NULL},
        {"www.*.com", ACME_NAME_INVALID, NULL},
    };
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(texts); i++) {
        acme_identifier_t identifier;

        assert_reason(acme_identifier_from_text(&identifier, texts[i].text), texts[i].reason);
        if (texts[i].canonical) {
            assert_string_equal(identifier.name, texts[i].canonical);
        }
    }
}

int main(void)
{
    UNIT_ADD_ROWS(test_identifier, rows);
    UNIT_ADD(test_text);
    return cmocka_run_group_tests_name("identifier", unit_tests, NULL, NULL);
}
