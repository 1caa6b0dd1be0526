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
from harness.pki import Authority
from harness.renegotiation import Renegotiated, renegotiate
from harness.server import PAGE, RESUMABLE_SUITE, Httpd
from harness.wire import NEW_SESSION_TICKET, converse, get

SITE, OTHER, TICKETLESS, STRICT = "site.test", "other.test", "ticketless.test", "strict.test"
NAMES = (SITE, OTHER, TICKETLESS, STRICT)
PAGES = {"require.html": "SSLVerifyClient require", "optional.html": "SSLVerifyClient optional"}


def start(httpd: Httpd, authority: Authority) -> Httpd:
    trusting = [f"SSLCACertificateFile {authority.root}"]
    lines = {
        SITE: [*trusting, *(line for page in PAGES for line in (f"<Location /{page}>", PAGES[page], "</Location>"))],
        TICKETLESS: ["SSLSessionTickets off"],
        STRICT: [*trusting, "SSLVerifyClient require"],
    }
    for page in PAGES:
        httpd.add_page(page)
    for name in NAMES:
        credentials = [authority.issue(name, kind="rsa")]
        httpd.vhost(name, credentials=credentials, lines=[*lines.get(name, []), RESUMABLE_SUITE])
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
    """With a live challenge for each name."""
    for name in NAMES:
        server.spool.publish(name)
    with checked(server):
        yield server


def identity(authority: Authority) -> tuple[Path, Path]:
    credential = authority.issue("client.test")
    return credential.certificate, credential.key


@pytest.mark.parametrize("second", ["http/1.1", "acme-tls/1"])
@pytest.mark.parametrize("authenticated", [False, True])
@pytest.mark.parametrize("page", PAGES)
def test_renegotiation_is_as_without_the_module(
    httpd: Httpd, reference: Httpd, authority: Authority, page: str, authenticated: bool, second: str
) -> None:
    """acme-tls/1 counts in the first ClientHello alone."""

    def attack(target: Httpd) -> Renegotiated:
        client = identity(authority) if authenticated else None
        return renegotiate(target.address(), SITE, f"/{page}", second=second, client=client)

    seen, without = attack(httpd), attack(reference)
    served = authenticated or page == "optional.html"
    assert seen.certificates == without.certificates
    assert set(seen.certificates) == {authority.issue(SITE, kind="rsa").der}
    assert seen.response.endswith(PAGE.encode()) is without.response.endswith(PAGE.encode()) is served
    assert seen.error == without.error
    if not served:
        for target in (httpd, reference):
            target.log.expect(pattern="AH02261: Re-negotiation handshake failed")
            target.log.expect(pattern="peer did not return a certificate")


def resumable(httpd: Httpd, name: str, using: ssl.SSLContext) -> ssl.SSLSession:
    """Of an ordinary connection, shown to be good for another one."""
    first = client.handshake(httpd.address(), name, using=using, send=get(name))
    again = client.handshake(httpd.address(), name, using=using, session=first.session, send=get(name))
    assert again.resumed and again.data.endswith(PAGE.encode()) and again.session
    return again.session


@pytest.mark.parametrize("version, tickets", [("1.2", True), ("1.2", False), ("1.3", True)])
@pytest.mark.parametrize("name", [SITE, TICKETLESS, STRICT])
def test_ordinary_session_is_not_resumed_with_acme_tls(
    httpd: Httpd, authority: Authority, name: str, version: str, tickets: bool
) -> None:
    """In TLS 1.3 a server without tickets has its cache behind them; a session also keeps the client's certificate."""
    using = client.context(["http/1.1"], version, client=identity(authority))
    if not tickets:
        using.options |= ssl.OP_NO_TICKET
    session = resumable(httpd, name, using)
    using.set_alpn_protocols(["acme-tls/1"])

    def resume() -> Answer:
        return client.handshake(httpd.address(), name, using=using, session=session, send=get(name))

    assert_refused(httpd, name, "session-resumed", resume)
    value = httpd.spool.publish(name)
    assert_answered(httpd, name, value, lambda: client.handshake(httpd.address(), name, using=using))


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_session_of_another_vhost_is_not_taken(httpd: Httpd, version: str) -> None:
    using = client.context(["http/1.1"], version)
    session = resumable(httpd, SITE, using)
    using.set_alpn_protocols(["acme-tls/1"])
    shake = lambda: client.handshake(httpd.address(), OTHER, using=using, session=session)
    assert_answered(httpd, OTHER, httpd.spool.publish(OTHER), shake)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("takes_tickets", [True, False], ids=["tickets", "no-tickets"])
@pytest.mark.parametrize("name", [SITE, TICKETLESS, STRICT])
def test_challenge_leaves_nothing_to_resume(
    httpd: Httpd, authority: Authority, name: str, takes_tickets: bool, version: str
) -> None:
    """Nobody has authenticated in it, so a session of it would help at a vhost with client authentication."""
    using = client.context(version=version, client=identity(authority))
    if not takes_tickets:
        using.options |= ssl.OP_NO_TICKET
    challenge = converse(httpd.address(), name, get(name), using=using)
    # httpd may be quicker to close than the client to send.
    assert (challenge.alpn, challenge.response) == ("acme-tls/1", b"")
    assert NEW_SESSION_TICKET not in challenge.messages

    using.set_alpn_protocols(["http/1.1"])
    ordinary = converse(httpd.address(), name, get(name), using=using, session=challenge.session)
    assert ordinary.outcome == "200" and not ordinary.resumed
    again = converse(httpd.address(), name, get(name), using=using, session=ordinary.session)
    assert again.outcome == "200" and again.resumed
