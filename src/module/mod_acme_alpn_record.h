/*
 * The record of the server: one for all children, which lasts as long as the server does, over
 * graceful restarts too.
 */
#ifndef MOD_ACME_ALPN_RECORD_H
#define MOD_ACME_ALPN_RECORD_H

#include <httpd.h>

#include "acme_record.h"

/* In the parent, at each start and reload. Returns whether there is memory for it. */
int acme_alpn_record_init(apr_pool_t *config_pool, server_rec *server);

/* Never NULL once a server has started. */
acme_record_t *acme_alpn_record_get(void);

#endif
