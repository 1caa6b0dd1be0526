/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watch: one process of the server (mod_watchdog's singleton) logs bad entries before a CA
 * asks for them. inotify reports new files. Scans find files that have become too old, and by
 * the directory's mtime those that inotify missed.
 */
#ifndef MOD_ACME_ALPN_WATCH_H
#define MOD_ACME_ALPN_WATCH_H

#include <httpd.h>

/* In the parent, before mod_watchdog's post_config: watch the spools of these servers (an array
 * of server_rec *, not empty). */
void acme_alpn_watch_init(apr_pool_t *config_pool, const apr_array_header_t *servers);

#endif
