# SPDX-License-Identifier: Apache-2.0
"""Certbot authenticator for tls-alpn-01 (RFC 8737, RFC 8738) through mod_acme_alpn's spool."""
