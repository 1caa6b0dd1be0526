"""A live challenge does not help anybody around client authentication, nor into another session."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import StartHttpd, checked
from harness import client
from harness.challenge import assert_answered, assert_refused
from harness.client import Answer
from harness.pki import Authority, Credential
from harness.renegotiation import Renegotiated, renegotiate
from harness.server import PAGE, RESUMABLE_SUITE, Httpd

NAME = "attacked.test"
GET = f"GET /index.html HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode()


def location(verify: str) -> list[str]:
    path = f"/{verify}.html"
    return [f"<Location {path}>", f"    SSLVerifyClient {verify}", "</Location>"]


def start(httpd: Httpd, authority: Authority) -> Httpd:
    lines = [f"SSLCACertificateFile {authority.root}", *location("require"), *location("optional")]
    for verify in ("require", "optional"):
        httpd.add_page(f"{verify}.html")
    httpd.vhost(NAME, credentials=[authority.issue(NAME)], lines=[*lines, RESUMABLE_SUITE])
    return httpd.start()


@pytest.fixture(scope="module")
def server(make_shared_httpd: StartHttpd, authority: Authority) -> Httpd:
    return start(make_shared_httpd(), authority)


@pytest.fixture(scope="module")
def reference(make_shared_httpd: StartHttpd, authority: Authority) -> Httpd:
    """The same httpd without the module."""
    return start(make_shared_httpd(with_module=False), authority)


@pytest.fixture
def httpd(server: Httpd) -> Iterator[Httpd]:
    """With a live challenge for the name."""
    server.spool.publish(NAME)
    with checked(server):
        yield server


def files(credential: Credential) -> tuple[Path, Path]:
    return credential.certificate, credential.key


@pytest.mark.parametrize("second", ["http/1.1", "acme-tls/1"])
@pytest.mark.parametrize("authenticated", [False, True])
@pytest.mark.parametrize("verify", ["require", "optional"])
def test_renegotiation_is_as_without_the_module(
    httpd: Httpd, reference: Httpd, authority: Authority, verify: str, authenticated: bool, second: str
) -> None:
    identity = files(authority.issue("client.test")) if authenticated else None

    def attack(target: Httpd) -> Renegotiated:
        return renegotiate(target.address(), NAME, f"/{verify}.html", second=second, client=identity)

    seen, without = attack(httpd), attack(reference)
    certificate = authority.issue(NAME).der
    served = authenticated or verify == "optional"
    assert seen.certificates == without.certificates
    assert set(seen.certificates) == {certificate}
    assert seen.response.endswith(PAGE.encode()) is served
    assert without.response.endswith(PAGE.encode()) is served
    assert seen.error == without.error
    if not served:
        for target in (httpd, reference):
            target.log.expect(pattern="AH02261: Re-negotiation handshake failed")
            target.log.expect(pattern="peer did not return a certificate")


def resumable(httpd: Httpd, version: str, *, tickets: bool) -> tuple[Answer, ssl.SSLContext]:
    """An ordinary session, with a ticket or (TLS 1.2) a session id, and the context that can resume it."""
    tls_context = client.context(["http/1.1"], version)
    if not tickets:
        tls_context.options |= ssl.OP_NO_TICKET
    first = client.handshake(httpd.address(), NAME, using=tls_context, send=GET)
    assert first.data.endswith(PAGE.encode())
    again = client.handshake(httpd.address(), NAME, using=tls_context, session=first.session, send=GET)
    assert again.resumed and again.data.endswith(PAGE.encode())
    return again, tls_context


@pytest.mark.parametrize("version, tickets", [("1.2", True), ("1.2", False), ("1.3", True)])
def test_ordinary_session_is_not_resumed_with_acme_tls(httpd: Httpd, version: str, tickets: bool) -> None:
    key_authorization = httpd.spool.publish(NAME)
    ordinary, tls_context = resumable(httpd, version, tickets=tickets)
    tls_context.set_alpn_protocols(["acme-tls/1"])

    def resume() -> Answer:
        return client.handshake(httpd.address(), NAME, using=tls_context, session=ordinary.session, send=GET)

    assert_refused(httpd, NAME, "session-resumed", resume)
    fresh = lambda: client.handshake(httpd.address(), NAME, using=tls_context)
    assert_answered(httpd, NAME, key_authorization, fresh)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("protocol", ["acme-tls/1", "http/1.1"])
def test_challenge_session_is_not_resumed(httpd: Httpd, authority: Authority, version: str, protocol: str) -> None:
    key_authorization = httpd.spool.publish(NAME)
    tls_context = client.context(version=version)
    challenge = assert_answered(
        httpd, NAME, key_authorization, lambda: client.handshake(httpd.address(), NAME, using=tls_context, send=GET)
    )
    tls_context.set_alpn_protocols([protocol])

    def resume() -> Answer:
        session = challenge.session
        return client.handshake(httpd.address(), NAME, using=tls_context, session=session, send=GET)

    if protocol == "acme-tls/1":
        assert_answered(httpd, NAME, key_authorization, resume)
    else:
        again = resume()
        assert (again.resumed, again.leaf) == (False, authority.issue(NAME).der)
