# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a handshake."""
from certbot import errors


class Problem(errors.PluginError):
    """`seen` says what happened; the whole text also says what to do about it on this server."""

    def __init__(self, seen: str, advice: str) -> None:
        super().__init__(f"{seen}: {advice}")
        self.seen = seen


class NoConnection(Problem):
    """TLS did not begin."""


class OrdinaryCertificate(Problem):
    """A TLS server that knows nothing of acme-tls/1, or does not heed it."""


class Refused(Problem):
    """The alert no_application_protocol: no answer for this name, or for acme-tls/1 at all."""
