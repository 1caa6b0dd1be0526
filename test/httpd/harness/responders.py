"""Every way in which another responder fails a handshake, by the reason that its client gives."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from .client import HANDSHAKE_FAILURE, NO_APPLICATION_PROTOCOL
from .pki import Authority
from .upstream import Behaviour, Upstream, alert, anonymous, certificate, close, say, serve

HTTP = b"HTTP/1.1 400 Bad Request\r\n\r\n"


class Asked:
    """What a responder is asked for, and by whom an ordinary certificate would be issued."""

    def __init__(self, name: str, digest: bytes, authority: Authority) -> None:
        self.name, self.digest, self.authority = name, digest, authority

    def flawed(self, **flaws: object) -> bytes:
        return certificate([self.name], self.digest, **flaws)  # type: ignore[arg-type]

    def ordinary(self) -> bytes:
        issued = self.authority.issue(self.name)
        return issued.certificate.read_bytes() + issued.key.read_bytes()


# What a responder that listens does.
BEHAVIOURS: dict[str, Callable[[Asked], Behaviour]] = {
    "refused": lambda asked: alert(NO_APPLICATION_PROTOCOL),
    "tls-failed": lambda asked: alert(HANDSHAKE_FAILURE),
    "closed": lambda asked: close,
    "not-tls": lambda asked: say(HTTP),
    "other-protocol": lambda asked: serve(asked.flawed(), protocols=()),
    "no-certificate": lambda asked: anonymous(),
    "certificate-ordinary": lambda asked: serve(asked.ordinary()),
    "certificate-not-self-signed": lambda asked: serve(asked.flawed(issuer="another")),
    "certificate-repeated-extension": lambda asked: serve(asked.flawed(repeated=True)),
    "certificate-wrong-name": lambda asked: serve(certificate(["other.test"], asked.digest)),
    "certificate-not-critical": lambda asked: serve(asked.flawed(critical=False)),
    "certificate-malformed": lambda asked: serve(asked.flawed(value=b"\x04\x1f" + asked.digest[:31])),
    "certificate-wrong-digest": lambda asked: serve(certificate([asked.name], bytes(32))),
}

# Where nobody listens at all. Broadcast of loopback: no TCP leads there. A name with more bytes than
# any can have: the resolver refuses it by itself.
UNREACHABLE = "127.255.255.255:443"
UNKNOWN = ".".join(["a" * 63] * 5) + ":443"

REASONS = [*BEHAVIOURS, "timeout", "connection-refused", "unreachable", "host-unknown"]


@contextmanager
def refusing() -> Iterator[tuple[str, int]]:
    """An address where nothing listens, and nothing else can."""
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()


@contextmanager
def failing(reason: str, asked: Asked) -> Iterator[str]:
    """HOST:PORT of a responder for which a client gives this reason."""
    if reason == "connection-refused":
        with refusing() as address:
            yield f"{address[0]}:{address[1]}"
    elif reason in ("unreachable", "host-unknown"):
        yield UNREACHABLE if reason == "unreachable" else UNKNOWN
    else:
        # Without a behaviour of its own an upstream hangs.
        make = BEHAVIOURS.get(reason)
        with Upstream(make(asked) if make else None) as upstream:
            yield str(upstream)
