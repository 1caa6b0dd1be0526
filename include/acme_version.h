/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The version of module and tool. configure.ac takes it from here, for a build by apxs alone
 * knows no configure.
 */
#ifndef ACME_VERSION_H
#define ACME_VERSION_H

#define ACME_VERSION "0.1.0"

#endif
