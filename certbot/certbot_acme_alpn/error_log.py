# SPDX-License-Identifier: Apache-2.0
"""Where an operator finds what httpd has to say."""
import os

# Debian's and Fedora's. The vhosts' logs are there, too.
DIRECTORIES = ("/var/log/apache2", "/var/log/httpd")


def search_command() -> str:
    """The command that shows mod_acme_alpn's messages."""
    for directory in DIRECTORIES:
        if os.path.isdir(directory):
            return f"grep -r AALPN {directory}"
    return "grep AALPN, over the files that httpd's ErrorLog directives name"
