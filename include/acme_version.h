/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The place of the version: a build with apxs alone has no configure, so configure.ac reads it
 * here. build/release writes it here and into the files that carry a copy.
 */
#ifndef ACME_VERSION_H
#define ACME_VERSION_H

#define ACME_VERSION "0.1.0"

#endif
