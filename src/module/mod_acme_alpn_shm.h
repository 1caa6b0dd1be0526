/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared memory that survives reloads: old children use it together with the new ones.
 */
#ifndef MOD_ACME_ALPN_SHM_H
#define MOD_ACME_ALPN_SHM_H

#include <httpd.h>

/* In the parent, at each start and reload: `size` bytes, zero at the first call with this name.
 * A new layout needs a new name. Returns NULL, after a log line, where httpd cannot start. */
void *acme_alpn_shm_get(server_rec *server, const char *name, apr_size_t size);

#endif
