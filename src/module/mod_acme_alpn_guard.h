/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guard (acme_guard.h) of this server: the rows of its stores and upstreams, their
 * addresses, and how many workers may wait for them.
 */
#ifndef MOD_ACME_ALPN_GUARD_H
#define MOD_ACME_ALPN_GUARD_H

#include <httpd.h>

#include "acme_guard.h"

/* In the parent, at each start and reload, before the rows. Returns 0, after a log line,
 * without shared memory. */
int acme_alpn_guard_init(apr_pool_t *config_pool, server_rec *server);

/* The row of this line of the configuration. Its host is resolved before httpd detaches, and
 * every 30 seconds by the watchdog. For a Unix domain socket `host` is NULL, and `port` its
 * path. Returns NULL, after a log line, where there are too many lines. */
acme_guard_row_t *acme_alpn_guard_row(server_rec *server, const char *line, const char *host,
                                      const char *port);

/* By the watchdog, in one process at a time: resolves due names, for 2 seconds at most. */
void acme_alpn_guard_resolve(void);

/* acme_guard_enter, with this server's numbers of workers. */
acme_guard_answer_e acme_alpn_guard_enter(acme_guard_pass_t *pass, acme_guard_row_t *row,
                                          unsigned int places, apr_time_t deadline);

#endif
