/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text of clients, files and servers as printable ASCII, for logs, pages and terminals. Other
 * bytes, and the percent sign, are percent-encoded.
 */
#ifndef ACME_TEXT_H
#define ACME_TEXT_H

#include <apr_pools.h>

/* A phrase may have spaces. */
const char *acme_text_phrase(apr_pool_t *pool, const char *text);

/* A word, for a field's value, keeps letters, digits, -._~:/ and * only. */
const char *acme_text_word(apr_pool_t *pool, const char *text);

/* Copies as much of the phrase as fits into `size` bytes with the NUL. */
void acme_text_copy(char *to, apr_size_t size, const char *text);

/* FNV-1a of the bytes, continued from `hash`. It does not withstand forgery. */
#define ACME_TEXT_HASH_BASIS APR_UINT64_C(14695981039346656037)
apr_uint64_t acme_text_hash(apr_uint64_t hash, const void *bytes, apr_size_t length);

#endif
