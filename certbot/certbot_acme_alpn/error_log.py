# SPDX-License-Identifier: Apache-2.0
"""Where an admin finds httpd's error log."""
import os

# Debian's and Fedora's, which also have the vhosts' logs.
DIRECTORIES = ("/var/log/apache2", "/var/log/httpd")


def search_command() -> str:
    """The command that shows mod_acme_alpn's log lines."""
    for directory in DIRECTORIES:
        if os.path.isdir(directory):
            return f"grep -rh AALPN {directory} | tail"
    return "grep AALPN, in the files of httpd's ErrorLog directives"
