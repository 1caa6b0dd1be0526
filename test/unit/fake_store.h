/*
 * A store that answers as a test tells it to, on a Unix domain socket in a directory of its
 * own.
 */
#ifndef FAKE_STORE_H
#define FAKE_STORE_H

#include <apr_pools.h>

#include "acme_store.h"

/* What it says to one request: these bytes; FAKE_SILENCE: nothing; FAKE_END: it hangs up. */
typedef const char *fake_answer_t;
#define FAKE_SILENCE NULL
#define FAKE_END     ""

/* An answer to GET whose digest is 32 times the same hex digit twice. */
#define FAKE_DIGEST(digit) digit digit digit digit digit digit digit digit
#define FAKE_VALUE(digit)  "$64\r\n" FAKE_DIGEST(FAKE_DIGEST(digit)) "\r\n"

/* Requests that it can tell apart, and connections that it takes. */
#define FAKE_REQUESTS 32

/* Starts it; `answers` (of static storage) has one for each request, in the order in which they
 * come, whatever the connection. The store is at fake_store_settings. */
void fake_store_start(apr_pool_t *pool, const fake_answer_t *answers, int count);
void fake_store_stop(void);

/* How to reach it, loaded. */
const acme_store_t *fake_store_settings(void);

/* Bytes on the connection that this request (from 0) came on. */
void fake_store_say(int request, const char *bytes);

int fake_store_requests(void);
int fake_store_accepted(void);

#endif
