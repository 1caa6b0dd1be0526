/* SPDX-License-Identifier: Apache-2.0 */
#include "acme_identifier.h"

#include <string.h>

#include <arpa/inet.h>

#include <apr_encode.h>
#include <apr_lib.h>
#include <apr_strings.h>

#define LABEL_MAX 63

static const char ipv4_suffix[] = ".in-addr.arpa";
static const char ipv6_suffix[] = ".ip6.arpa";

/* 32 nibbles, each but the last followed by a dot */
#define IPV6_REVERSE_LENGTH 63

static int identifier_is_letter_or_digit(char character)
{
    return (character >= 'a' && character <= 'z') || (character >= '0' && character <= '9');
}

/* RFC 5890 section 2.3.1: letters, digits and hyphens, no hyphen at either end. */
static int identifier_is_label(const char *label, apr_size_t length)
{
    apr_size_t i;

    if (length == 0 || length > LABEL_MAX || label[0] == '-' || label[length - 1] == '-') {
        return 0;
    }
    for (i = 0; i < length; i++) {
        if (!identifier_is_letter_or_digit(label[i]) && label[i] != '-') {
            return 0;
        }
    }
    return 1;
}

static int identifier_are_labels(const char *name)
{
    const char *dot;

    while ((dot = strchr(name, '.')) != NULL) {
        if (!identifier_is_label(name, (apr_size_t)(dot - name))) {
            return 0;
        }
        name = dot + 1;
    }
    return identifier_is_label(name, strlen(name));
}

/* An address as text is no DNS name, though its characters are those of one: it must not reach
 * the spool entry of the IP identifier. No top-level domain is a number (RFC 3696 section 2).
 */
static int identifier_ends_with_number(const char *name)
{
    const char *dot = strrchr(name, '.');
    const char *last = dot ? dot + 1 : name;

    return strspn(last, "0123456789") == strlen(last);
}

static int identifier_has_suffix(const char *name, const char *suffix)
{
    apr_size_t length = strlen(name), suffix_length = strlen(suffix);

    return length >= suffix_length && strcmp(name + length - suffix_length, suffix) == 0;
}

static void identifier_reverse(unsigned char *bytes, apr_size_t size)
{
    apr_size_t i;

    for (i = 0; i < size / 2; i++) {
        unsigned char byte = bytes[i];
        bytes[i] = bytes[size - 1 - i];
        bytes[size - 1 - i] = byte;
    }
}

static int identifier_ipv4_from_reverse(acme_identifier_t *identifier, const char *name)
{
    char text[INET_ADDRSTRLEN];
    apr_size_t length = strlen(name) - (sizeof(ipv4_suffix) - 1);

    if (length >= sizeof(text)) {
        return 0;
    }
    memcpy(text, name, length);
    text[length] = '\0';
    if (inet_pton(AF_INET, text, identifier->address) != 1) {
        return 0;
    }
    identifier->address_size = 4;
    identifier_reverse(identifier->address, identifier->address_size);
    return 1;
}

static int identifier_ipv6_from_reverse(acme_identifier_t *identifier, const char *name)
{
    char hex[32];
    apr_size_t i, length = strlen(name) - (sizeof(ipv6_suffix) - 1);

    if (length != IPV6_REVERSE_LENGTH) {
        return 0;
    }
    for (i = 0; i < sizeof(hex); i++) {
        if (!apr_isxdigit(name[2 * i]) || name[2 * i + 1] != '.') {
            return 0;
        }
        hex[sizeof(hex) - 1 - i] = name[2 * i];
    }
    return apr_decode_base16_binary(identifier->address, hex, sizeof(hex), APR_ENCODE_NONE,
                                    &identifier->address_size) == APR_SUCCESS;
}

static acme_error_e identifier_from_address(acme_identifier_t *identifier)
{
    int family = identifier->address_size == 4 ? AF_INET : AF_INET6;

    identifier->type = ACME_IDENTIFIER_IP;
    return inet_ntop(family, identifier->address, identifier->name, sizeof(identifier->name))
               ? ACME_OK
               : ACME_NAME_INVALID;
}

/* `made->name` holds the lower-case server name; the rest of it is zero. */
static acme_error_e identifier_from_name(acme_identifier_t *made)
{
    if (!identifier_are_labels(made->name)) {
        return ACME_NAME_INVALID;
    }
    if (identifier_has_suffix(made->name, ipv4_suffix)) {
        return identifier_ipv4_from_reverse(made, made->name) ? identifier_from_address(made)
                                                              : ACME_NAME_INVALID;
    }
    if (identifier_has_suffix(made->name, ipv6_suffix)) {
        return identifier_ipv6_from_reverse(made, made->name) ? identifier_from_address(made)
                                                              : ACME_NAME_INVALID;
    }
    made->type = ACME_IDENTIFIER_DNS;
    return identifier_ends_with_number(made->name) ? ACME_NAME_INVALID : ACME_OK;
}

acme_error_e acme_identifier_from_sni(acme_identifier_t *identifier, const char *sni,
                                      apr_size_t length)
{
    acme_identifier_t made = {ACME_IDENTIFIER_DNS, {0}, {0}, 0};
    acme_error_e error;
    apr_size_t i;

    if (length > ACME_IDENTIFIER_MAX || memchr(sni, '\0', length)) {
        return ACME_NAME_INVALID;
    }
    for (i = 0; i < length; i++) {
        made.name[i] = (char)((sni[i] >= 'A' && sni[i] <= 'Z') ? sni[i] - 'A' + 'a' : sni[i]);
    }
    error = identifier_from_name(&made);
    if (error == ACME_OK) {
        *identifier = made;
    }
    return error;
}

static int identifier_is_ascii(const char *text)
{
    while (*text && (unsigned char)*text < 128) {
        text++;
    }
    return !*text;
}

static acme_error_e identifier_from_address_text(acme_identifier_t *identifier,
                                                 const char *text)
{
    acme_identifier_t made = {ACME_IDENTIFIER_IP, {0}, {0}, 0};
    acme_error_e error;

    if (inet_pton(AF_INET, text, made.address) == 1) {
        made.address_size = 4;
    } else if (inet_pton(AF_INET6, text, made.address) == 1) {
        made.address_size = 16;
    } else {
        return ACME_NAME_INVALID;
    }
    error = identifier_from_address(&made);
    if (error == ACME_OK) {
        *identifier = made;
    }
    return error;
}

acme_error_e acme_identifier_from_text(acme_identifier_t *identifier, const char *text)
{
    apr_size_t length = strlen(text);

    if (identifier_from_address_text(identifier, text) == ACME_OK) {
        return ACME_OK;
    }
    if (text[0] == '*' && text[1] == '.') {
        return ACME_NAME_WILDCARD;
    }
    if (!identifier_is_ascii(text)) {
        return ACME_NAME_NOT_ASCII;
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
