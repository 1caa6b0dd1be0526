/*
 * The watch over the spools of the TLS vhosts (acme_watch.h), by mod_watchdog in one process of
 * the server at a time, and what the log says of it.
 */
#ifndef MOD_ACME_ALPN_WATCH_H
#define MOD_ACME_ALPN_WATCH_H

#include <httpd.h>

/* In the parent, at each start and reload, before mod_watchdog's post_config: watch the spools
 * of these servers (an array of server_rec *, not empty). Without mod_watchdog, say so. */
void acme_alpn_watch_init(apr_pool_t *config_pool, const apr_array_header_t *servers);

/* In a child, before mod_watchdog's child_init: no tick goes on, or begins, when the pool is
 * destroyed, since httpd then takes libraries down that a tick uses. */
void acme_alpn_watch_child_init(apr_pool_t *pool);

#endif
