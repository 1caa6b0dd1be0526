/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes to and from a store: a BIO of a TCP or Unix domain socket, with TLS on it where the
 * store wants it. All functions end at the call's deadline, and return ACME_OK, ACME_STORE_* or
 * ACME_SYSTEM_ERROR with errno.
 */
#ifndef ACME_STORE_STREAM_H
#define ACME_STORE_STREAM_H

#include "acme_store.h"

/* *stream is NULL before. Also after an error the caller frees it and its socket with
 * BIO_free_all. */
acme_error_e acme_store_stream_open(BIO **stream, acme_store_call_t *call);

/* Send all of the bytes. */
acme_error_e acme_store_stream_send(BIO *stream, acme_store_call_t *call, const char *bytes,
                                    apr_size_t length);

/* Receive some bytes, at least one; *length is their number. */
acme_error_e acme_store_stream_receive(BIO *stream, acme_store_call_t *call, char *buffer,
                                       apr_size_t size, apr_size_t *length);

#endif
