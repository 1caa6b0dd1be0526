"""One of each kind of handshake that the module has to do with, for runs that look at its memory."""

from __future__ import annotations

import socket
import ssl

from . import client
from .challenge import REFUSED, assert_answered, assert_refused
from .client import Answer
from .server import PAGE, Httpd
from .spool import Spool

SITE = "site.test"
NAME = "name.test"
INTERNAL_ERROR = 80
GET = f"GET /index.html HTTP/1.1\r\nHost: {SITE}\r\nConnection: close\r\n\r\n".encode()

# Options of s_client: a HelloRetryRequest, and each type of key.
CLIENTS = (
    ("-groups", "ffdhe2048:P-256"),
    ("-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"),
    ("-sigalgs", "ECDSA+SHA384", "-groups", "P-384"),
)


def run_round(httpd: Httpd) -> None:
    _answers(httpd)
    _refusals(httpd)
    _no_key_type(httpd)
    _incomplete(httpd)
    for version in ("1.2", "1.3"):
        _ordinary_and_resumed(httpd, version)


def _answers(httpd: Httpd) -> None:
    """Each certificate is minted for the first of these, and cached for the next."""
    key_authorization = httpd.spool.publish(NAME)
    for version in ("1.2", "1.3"):
        assert_answered(
            httpd, NAME, key_authorization, lambda: client.handshake(httpd.address(), NAME, version=version)
        )
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
    assert (answer.alert, answer.chain) == (INTERNAL_ERROR, ())
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
