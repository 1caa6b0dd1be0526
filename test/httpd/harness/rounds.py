"""One of each kind of handshake that the module has to do with, for runs that look at its memory."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from . import client, clienthello
from .challenge import REFUSED, assert_answered, assert_refused
from .client import Answer
from .clienthello import Hello
from .pki import Authority
from .redis import Redis
from .server import PAGE, RESUMABLE_SUITE, Httpd
from .spool import KeyAuthorization, Spool
from .upstream import Upstream, certificate, serve

SITE = "site.test"
NAME = "name.test"
ADDRESS, REVERSE_NAME = "192.0.2.7", "7.2.0.192.in-addr.arpa"
# Each has a vhost: client certificates wanted, none of its own yet, and other sources besides the spool.
# Their time-outs are for a server that is instrumented.
STRICT, EMPTY, STORED, RELAYED = "strict.test", "empty.test", "stored.test", "relayed.test"
GET = f"GET /index.html HTTP/1.1\r\nHost: {SITE}\r\nConnection: close\r\n\r\n".encode()

# Options of s_client for each further type of key.
CLIENTS = (
    ("-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"),
    ("-sigalgs", "ECDSA+SHA384", "-groups", "P-384"),
)


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
        httpd = self._httpd
        _answers(httpd)
        _refusals(httpd)
        _no_key_type(httpd)
        _incomplete(httpd)
        for version in ("1.2", "1.3"):
            _ordinary_and_resumed(httpd, version)
            self._other_sources(version)
        _unavailable(httpd)

    def _other_sources(self, version: str) -> None:
        """What store and upstream answer with."""
        stored = self._redis.publish(STORED)
        _answer(self._httpd, STORED, stored, version)
        self._redis.withdraw(STORED)
        relayed = KeyAuthorization.new()
        self._upstream.behaviour = serve(certificate([RELAYED], relayed.digest))
        _answer(self._httpd, RELAYED, relayed, version)


@contextmanager
def prepared(httpd: Httpd, authority: Authority) -> Iterator[Rounds]:
    with Redis() as redis, Upstream() as upstream:
        yield Rounds(httpd, authority, redis, upstream)


def _answer(httpd: Httpd, identifier: str, key_authorization: KeyAuthorization, version: str, name: str = "") -> None:
    shake = lambda: client.handshake(httpd.address(), name or identifier, version=version)
    assert_answered(httpd, identifier, key_authorization, shake)


def _unavailable(httpd: Httpd) -> None:
    """A request to the vhost that has no certificate yet."""
    answer = client.handshake(httpd.address(), EMPTY, alpn=["http/1.1"], send=GET.replace(SITE.encode(), EMPTY.encode()))
    assert b" 503 " in answer.data.splitlines()[0]


def _answers(httpd: Httpd) -> None:
    """Each certificate is minted for the first of these, and cached for the next; one handshake is retried."""
    key_authorization = httpd.spool.publish(NAME)
    sites = {name: httpd.spool.publish(name) for name in (STRICT, EMPTY)}
    address = httpd.spool.publish(ADDRESS)
    for version in ("1.2", "1.3"):
        _answer(httpd, NAME, key_authorization, version)
        _answer(httpd, ADDRESS, address, version, REVERSE_NAME)
        for name in sites:
            _answer(httpd, name, sites[name], version)
    first, second = Hello(NAME.encode(), shares=()), Hello(NAME.encode())
    assert_answered(httpd, NAME, key_authorization, lambda: clienthello.shake(httpd.address(), first, second))
    for options in CLIENTS:
        assert_answered(
            httpd, NAME, key_authorization, lambda: client.s_client(httpd.address(), NAME, *options)
        )


def _refusals(httpd: Httpd) -> None:
    assert_refused(httpd, "absent.test", "no-entry")
    assert_refused(httpd, "under_score.test", "name-invalid")
    assert_refused(httpd, None, "no-sni")
    httpd.spool.write(NAME, b"nonsense\n")
    assert_refused(httpd, NAME, "value-malformed")
    httpd.spool.write(NAME, b"n" * 2000)
    assert_refused(httpd, NAME, "entry-too-large")
    httpd.spool.publish(NAME)
    _without_spool(httpd, httpd.spool)


def _without_spool(httpd: Httpd, spool: Spool) -> None:
    elsewhere = spool.path.with_name("elsewhere")
    spool.path.rename(elsewhere)
    assert_refused(httpd, NAME, "spool-missing")
    elsewhere.rename(spool.path)


def _no_key_type(httpd: Httpd) -> None:
    answer = client.s_client(httpd.address(), NAME, "-sigalgs", "ed25519")
    assert (answer.alert, answer.chain) == (client.INTERNAL_ERROR, ())
    httpd.log.expect(REFUSED, "reason=no-key-type ")


def _incomplete(httpd: Httpd) -> None:
    """A client that goes away when it has seen the certificate."""
    outgoing = ssl.MemoryBIO()
    tls = client.context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=NAME)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    with socket.create_connection(httpd.address(), client.TIMEOUT) as connection:
        connection.sendall(outgoing.read())
        assert connection.recv(1)
    httpd.log.expect("AALPN0103", f"identifier={NAME} ")


def _ordinary_and_resumed(httpd: Httpd, version: str) -> None:
    using = client.context(["http/1.1"], version)
    first = client.handshake(httpd.address(), SITE, using=using, send=GET)
    assert first.data.endswith(PAGE.encode())
    using.set_alpn_protocols(list(client.ACME))

    def resume() -> Answer:
        return client.handshake(httpd.address(), SITE, using=using, session=first.session)

    assert_refused(httpd, SITE, "session-resumed", resume)
