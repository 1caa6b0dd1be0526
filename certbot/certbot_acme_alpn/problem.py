# SPDX-License-Identifier: Apache-2.0
"""What can go wrong in a handshake."""
from certbot import errors


class Problem(errors.PluginError):
    """`seen` says what happened; the whole text also says what to do on this server."""

    def __init__(self, seen: str, advice: str) -> None:
        super().__init__(f"{seen}: {advice}")
        self.seen = seen


class NoConnection(Problem):
    """No connection to the address."""


class OrdinaryCertificate(Problem):
    """A TLS server without acme-tls/1, or one that ignores it."""


class Refused(Problem):
    """The alert no_application_protocol: the server refuses this name, or acme-tls/1 altogether."""
