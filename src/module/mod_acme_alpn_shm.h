/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that all processes of the server share, and that outlives reloads: the old children go
 * on using it beside the new ones.
 */
#ifndef MOD_ACME_ALPN_SHM_H
#define MOD_ACME_ALPN_SHM_H

#include <httpd.h>

/*
 * In the parent, at each start and reload: `size` bytes, all zero at the first call with this
 * name, which has to change with their layout. NULL: there is no memory, which has been logged,
 * and httpd shall not start.
 */
void *acme_alpn_shm_get(server_rec *server, const char *name, apr_size_t size);

#endif
