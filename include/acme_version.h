/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The version of module and tool. configure.ac reads it, since apxs builds without configure.
 * build/release writes it here and into the files that carry a copy.
 */
#ifndef ACME_VERSION_H
#define ACME_VERSION_H

#define ACME_VERSION "0.1.0"

#endif
