/* SPDX-License-Identifier: Apache-2.0 */
/* Identifiers: a DNS name or an IP address (RFC 8555 section 9.7.7, RFC 8738 section 3), and
 * the TLS server name that a CA sends for it. */
#ifndef ACME_IDENTIFIER_H
#define ACME_IDENTIFIER_H

#include <apr.h>

#include "acme_error.h"

/* The longest canonical form, in bytes (RFC 1035 section 2.3.4, without the root's dot). */
#define ACME_IDENTIFIER_MAX 253

typedef enum { ACME_IDENTIFIER_DNS, ACME_IDENTIFIER_IP } acme_identifier_type_e;

typedef struct {
    acme_identifier_type_e type;
    /* Canonical form, NUL-terminated: lower-case A-labels without a trailing dot, or an
     * address as text (IPv6 per RFC 5952). Safe as a file name: never a slash, never a dot
     * first. */
    char name[ACME_IDENTIFIER_MAX + 1];
    /* Network byte order, 4 or 16 bytes; 0 bytes for a DNS name. */
    unsigned char address[16];
    apr_size_t address_size;
} acme_identifier_t;

/*
 * The identifier that a server name (SNI) stands for. `sni` may hold any bytes; it needs no NUL
 * at its end. A reverse name under in-addr.arpa or ip6.arpa stands for the address
 * (RFC 8738 section 6); one that is not exactly an address is invalid.
 *
 * Returns ACME_OK, or ACME_NAME_INVALID with *identifier untouched.
 */
acme_error_e acme_identifier_from_sni(acme_identifier_t *identifier, const char *sni,
                                      apr_size_t length);

/*
 * The identifier of a command line or a file name: a DNS name in any case, with or without a
 * trailing dot, or an address as text. `text` is NUL-terminated.
 *
 * Returns ACME_OK, or with *identifier untouched ACME_NAME_WILDCARD, ACME_NAME_NOT_ASCII or
 * ACME_NAME_INVALID.
 */
acme_error_e acme_identifier_from_text(acme_identifier_t *identifier, const char *text);

#define ACME_SNI_SIZE (ACME_IDENTIFIER_MAX + 1)

/* The server name that a CA sends for the identifier: the name itself, or the reverse name of
 * an address (RFC 8738 section 6). Writes at most ACME_SNI_SIZE bytes, NUL included. */
void acme_identifier_sni(char *sni, const acme_identifier_t *identifier);

#endif
