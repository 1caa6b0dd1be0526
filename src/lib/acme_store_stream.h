/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes to and from a store: a TCP or Unix domain socket, with TLS where the store wants
 * it, and one deadline for all that is done.
 */
#ifndef ACME_STORE_STREAM_H
#define ACME_STORE_STREAM_H

#include "acme_store.h"

typedef struct {
    int fd;   /* -1: closed */
    BIO *bio; /* of that socket, and of TLS on it */
} acme_store_stream_t;

/* Returns ACME_OK, and then the caller closes it, or ACME_STORE_* or ACME_SYSTEM_ERROR. */
acme_error_e acme_store_stream_open(acme_store_stream_t *stream, acme_store_call_t *call);

void acme_store_stream_close(acme_store_stream_t *stream);

/* Whether nothing has come that nobody asked for, such as the end of the connection. */
int acme_store_stream_is_quiet(const acme_store_stream_t *stream);

/* All of the bytes, or an error. */
acme_error_e acme_store_stream_send(acme_store_stream_t *stream, acme_store_call_t *call,
                                    const char *bytes, apr_size_t length);

/* Some bytes, *length of them and one at least, or an error. */
acme_error_e acme_store_stream_receive(acme_store_stream_t *stream, acme_store_call_t *call,
                                       char *buffer, apr_size_t size, apr_size_t *length);

/* Note what is to be told of a failure: the system's words for this errno. */
void acme_store_say_errno(acme_store_call_t *call, int error);

#endif
