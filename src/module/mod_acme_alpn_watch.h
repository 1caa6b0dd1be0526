/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watch: one process of the server at a time (mod_watchdog) logs what is wrong with entries
 * before a CA asks for them. The kernel tells of new files (inotify). Scans find what becomes
 * too old and, by the directory's mtime, what the kernel does not tell.
 */
#ifndef MOD_ACME_ALPN_WATCH_H
#define MOD_ACME_ALPN_WATCH_H

#include <httpd.h>

/* In the parent, before mod_watchdog's post_config: watch the spools of these servers (an array
 * of server_rec *, not empty). */
void acme_alpn_watch_init(apr_pool_t *config_pool, const apr_array_header_t *servers);

#endif
