"""One of each kind of handshake that the module has to do with, for runs that look at its memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from . import client, clienthello
from .challenge import INCOMPLETE, REFUSED, assert_answered, assert_refused
from .clienthello import Hello, Wire
from .pki import Authority
from .redis import Redis
from .server import PAGE, RESUMABLE_SUITE, Httpd
from .spool import KeyAuthorization
from .upstream import Upstream, certificate, serve
from .wire import get

SITE, NAME, REVERSE_NAME = "site.test", "name.test", "7.2.0.192.in-addr.arpa"
# Each has a vhost: client certificates wanted, none of its own yet, and other sources besides the spool.
# Their time-outs are for a server that is instrumented.
STRICT, EMPTY, STORED, RELAYED = "strict.test", "empty.test", "stored.test", "relayed.test"

# Options of s_client for each further type of key, and for none.
CLIENTS = (("-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"), ("-sigalgs", "ECDSA+SHA384", "-groups", "P-384"))
NO_KEY_TYPE = ("-sigalgs", "ed25519")
REFUSED_CONTENTS = {b"nonsense\n": "value-malformed", b"n" * 2000: "entry-too-large"}


class Rounds:
    """A server that is given what the rounds need, before it starts."""

    def __init__(self, httpd: Httpd, authority: Authority, redis: Redis, upstream: Upstream) -> None:
        self._httpd, self._redis, self._upstream = httpd, redis, upstream
        lines = {
            SITE: [RESUMABLE_SUITE],
            STRICT: ["SSLVerifyClient require", f"SSLCACertificateFile {authority.root}"],
            STORED: [f"AcmeAlpnStore {redis.url} timeout=10s"],
            RELAYED: [f"AcmeAlpnUpstream {upstream} timeout=8s"],
        }
        for name in lines:
            httpd.vhost(name, credentials=[authority.issue(name)], lines=lines[name])
        httpd.vhost(EMPTY, lines=["AcmeAlpnPlaceholder On"])

    def run(self) -> None:
        """Each certificate is minted for the first of these, and cached for the next."""
        values = {name: self._httpd.spool.publish(name) for name in (NAME, STRICT, EMPTY, "192.0.2.7")}
        for version in ("1.2", "1.3"):
            for identifier, value in values.items():
                name = REVERSE_NAME if identifier == "192.0.2.7" else identifier
                self._answer(identifier, value, name, version)
            self._other_sources(version)
            self._ordinary_and_resumed(version)
        self._more_clients(values[NAME])
        self._refusals()
        answer = client.handshake(self._httpd.address(), EMPTY, alpn=["http/1.1"], send=get(EMPTY))
        assert b" 503 " in answer.data.splitlines()[0]

    def _answer(self, identifier: str, value: KeyAuthorization, name: str, version: str) -> None:
        shake = lambda: client.handshake(self._httpd.address(), name, version=version)
        assert_answered(self._httpd, identifier, value, shake)

    def _other_sources(self, version: str) -> None:
        self._answer(STORED, self._redis.publish(STORED), STORED, version)
        self._redis.withdraw(STORED)
        relayed = KeyAuthorization.new()
        self._upstream.behaviour = serve(certificate([RELAYED], relayed.digest))
        self._answer(RELAYED, relayed, RELAYED, version)

    def _ordinary_and_resumed(self, version: str) -> None:
        using = client.context(["http/1.1"], version)
        first = client.handshake(self._httpd.address(), SITE, using=using, send=get(SITE))
        assert first.data.endswith(PAGE.encode())
        using.set_alpn_protocols(list(client.ACME))
        resume = lambda: client.handshake(self._httpd.address(), SITE, using=using, session=first.session)
        assert_refused(self._httpd, SITE, "session-resumed", resume)

    def _more_clients(self, value: KeyAuthorization) -> None:
        """Other keys, a handshake that is retried, a client without a usable key, and one that goes away."""
        address = self._httpd.address()
        for options in CLIENTS:
            assert_answered(self._httpd, NAME, value, lambda: client.s_client(address, NAME, *options))
        hello = Hello(NAME.encode(), shares=())
        assert_answered(self._httpd, NAME, value, lambda: clienthello.shake(address, hello, hello))
        assert client.s_client(address, NAME, *NO_KEY_TYPE).alert == client.INTERNAL_ERROR
        self._httpd.log.expect(REFUSED, "reason=no-key-type ")
        whole = Wire()
        assert_answered(self._httpd, NAME, value, lambda: clienthello.shake(address, Hello(NAME.encode()), wire=whole))
        less = Wire(most=whole.ends[-1] - 1)
        assert clienthello.shake(address, Hello(NAME.encode()), wire=less).error == "went away"
        self._httpd.log.expect(INCOMPLETE, f"identifier={NAME} ")

    def _refusals(self) -> None:
        spool = self._httpd.spool
        for name, reason in (("absent.test", "no-entry"), ("under_score.test", "name-invalid"), (None, "no-sni")):
            assert_refused(self._httpd, name, reason)
        for content, reason in REFUSED_CONTENTS.items():
            spool.write(NAME, content)
            assert_refused(self._httpd, NAME, reason)
        elsewhere = spool.path.with_name("elsewhere")
        spool.path.rename(elsewhere)
        assert_refused(self._httpd, NAME, "spool-missing")
        elsewhere.rename(spool.path)


@contextmanager
def prepared(httpd: Httpd, authority: Authority) -> Iterator[Rounds]:
    with Redis() as redis, Upstream() as upstream:
        yield Rounds(httpd, authority, redis, upstream)
