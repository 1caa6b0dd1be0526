/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_identifier.h"

#include <string.h>

#include <arpa/inet.h>

#include <apr_encode.h>
#include <apr_lib.h>
#include <apr_strings.h>

#define LABEL_CHARACTERS "abcdefghijklmnopqrstuvwxyz0123456789-"
#define LABEL_MAX        63

static const char ipv4_suffix[] = ".in-addr.arpa";
static const char ipv6_suffix[] = ".ip6.arpa";

/* 32 nibbles, each but the last followed by a dot */
#define IPV6_REVERSE_LENGTH 63

/* RFC 5890 section 2.3.1: letters, digits and hyphens, no hyphen at either end. */
static int identifier_are_labels(const char *name)
{
    for (;;) {
        apr_size_t length = strspn(name, LABEL_CHARACTERS);

        if (length == 0 || length > LABEL_MAX || name[0] == '-' || name[length - 1] == '-') {
            return 0;
        }
        if (name[length] != '.') {
            return name[length] == '\0';
        }
        name += length + 1;
    }
}

/* An IPv4 address as text is no DNS name, and must not reach the spool entry of the IP
 * identifier. No top-level domain is a number (RFC 3696 section 2). */
static int identifier_ends_with_number(const char *name)
{
    const char *dot = strrchr(name, '.');
    const char *last = dot ? dot + 1 : name;

    return strspn(last, "0123456789") == strlen(last);
}

/* The length of the name without the suffix; 0 without that suffix. */
static apr_size_t identifier_length_before(const char *name, const char *suffix)
{
    apr_size_t length = strlen(name), suffix_length = strlen(suffix);

    if (length <= suffix_length || strcmp(name + length - suffix_length, suffix) != 0) {
        return 0;
    }
    return length - suffix_length;
}

/* Replaces the name with the canonical text of its address (RFC 5952). */
static acme_error_e identifier_name_address(acme_identifier_t *identifier, apr_size_t size)
{
    identifier->type = ACME_IDENTIFIER_IP;
    identifier->address_size = size;
    return inet_ntop(size == 4 ? AF_INET : AF_INET6, identifier->address, identifier->name,
                     sizeof(identifier->name))
               ? ACME_OK
               : ACME_NAME_INVALID;
}

static acme_error_e identifier_from_ipv4_reverse(acme_identifier_t *identifier,
                                                 apr_size_t length)
{
    unsigned char octets[4];
    int i;

    identifier->name[length] = '\0';
    if (inet_pton(AF_INET, identifier->name, octets) != 1) {
        return ACME_NAME_INVALID;
    }
    for (i = 0; i < 4; i++) {
        identifier->address[i] = octets[3 - i];
    }
    return identifier_name_address(identifier, 4);
}

static acme_error_e identifier_from_ipv6_reverse(acme_identifier_t *identifier,
                                                 apr_size_t length)
{
    const char *name = identifier->name;
    char hex[32];
    apr_size_t i;

    if (length != IPV6_REVERSE_LENGTH) {
        return ACME_NAME_INVALID;
    }
    for (i = 0; i < sizeof(hex); i++) {
        if (!apr_isxdigit(name[2 * i]) || name[2 * i + 1] != '.') {
            return ACME_NAME_INVALID;
        }
        hex[sizeof(hex) - 1 - i] = name[2 * i];
    }
    if (apr_decode_base16_binary(identifier->address, hex, sizeof(hex), APR_ENCODE_NONE,
                                 NULL) != APR_SUCCESS) {
        return ACME_NAME_INVALID;
    }
    return identifier_name_address(identifier, 16);
}

/* `identifier->name` holds the lower-case server name; the rest of it is zero. */
static acme_error_e identifier_from_name(acme_identifier_t *identifier)
{
    apr_size_t length;

    if (!identifier_are_labels(identifier->name)) {
        return ACME_NAME_INVALID;
    }
    if ((length = identifier_length_before(identifier->name, ipv4_suffix)) > 0) {
        return identifier_from_ipv4_reverse(identifier, length);
    }
    if ((length = identifier_length_before(identifier->name, ipv6_suffix)) > 0) {
        return identifier_from_ipv6_reverse(identifier, length);
    }
    return identifier_ends_with_number(identifier->name) ? ACME_NAME_INVALID : ACME_OK;
}

acme_error_e acme_identifier_from_sni(acme_identifier_t *identifier, const char *sni,
                                      apr_size_t length)
{
    acme_identifier_t parsed = {ACME_IDENTIFIER_DNS, {0}, {0}, 0};
    acme_error_e error;
    apr_size_t i;

    if (length > ACME_IDENTIFIER_MAX || memchr(sni, '\0', length)) {
        return ACME_NAME_INVALID;
    }
    for (i = 0; i < length; i++) {
        parsed.name[i] = (char)((sni[i] >= 'A' && sni[i] <= 'Z') ? sni[i] - 'A' + 'a' : sni[i]);
    }
    error = identifier_from_name(&parsed);
    if (error == ACME_OK) {
        *identifier = parsed;
    }
    return error;
}

acme_error_e acme_identifier_from_text(acme_identifier_t *identifier, const char *text)
{
    acme_identifier_t address = {ACME_IDENTIFIER_IP, {0}, {0}, 0};
    apr_size_t i, length = strlen(text);
    int is_ipv4 = inet_pton(AF_INET, text, address.address) == 1;

    if (is_ipv4 || inet_pton(AF_INET6, text, address.address) == 1) {
        *identifier = address;
        return identifier_name_address(identifier, is_ipv4 ? 4 : 16);
    }
    if (text[0] == '*' && text[1] == '.') {
        return ACME_NAME_WILDCARD;
    }
    for (i = 0; i < length; i++) {
        if ((unsigned char)text[i] > 127) {
            return ACME_NAME_NOT_ASCII;
        }
    }
    if (length > 1 && text[length - 1] == '.') {
        length--;
    }
    return acme_identifier_from_sni(identifier, text, length);
}

void acme_identifier_sni(char *sni, const acme_identifier_t *identifier)
{
    const unsigned char *address = identifier->address;
    int i;

    if (identifier->type == ACME_IDENTIFIER_DNS) {
        memcpy(sni, identifier->name, sizeof(identifier->name));
    } else if (identifier->address_size == 4) {
        apr_snprintf(sni, ACME_SNI_SIZE, "%d.%d.%d.%d%s", address[3], address[2], address[1],
                     address[0], ipv4_suffix);
    } else {
        for (i = 15; i >= 0; i--, sni += 4) {
            apr_snprintf(sni, 5, "%x.%x.", address[i] & 15, address[i] >> 4);
        }
        /* The last dot is the suffix's first. */
        memcpy(sni - 1, ipv6_suffix, sizeof(ipv6_suffix));
    }
}
