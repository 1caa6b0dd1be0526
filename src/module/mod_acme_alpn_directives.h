/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directives (docs/mod_acme_alpn.md).
 */
#ifndef MOD_ACME_ALPN_DIRECTIVES_H
#define MOD_ACME_ALPN_DIRECTIVES_H

#include <httpd.h>

#include <http_config.h>

extern const command_rec acme_alpn_directives[];

#endif
