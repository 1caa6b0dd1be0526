"""Where acme-tls/1 meets sessions and renegotiations that began as something else, beside what test_attacks has."""

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
from harness.renegotiation import renegotiate
from harness.server import PAGE, RESUMABLE_SUITE, Httpd
from harness.wire import NEW_SESSION_TICKET, converse, get, messages_of

RSA, OTHER, TICKETLESS, STRICT = "rsa.test", "other.test", "ticketless.test", "strict.test"
NAMES = (RSA, OTHER, TICKETLESS, STRICT)
PAGES = {
    "require.html": "SSLVerifyClient require",
    "optional.html": "SSLVerifyClient optional",
    "cipher.html": "SSLCipherSuite ECDHE-RSA-AES128-GCM-SHA256",
}


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A client certificate of a CA that nobody here trusts."""
    credential = Authority(tmp_path_factory.mktemp("stranger")).issue("client.test")
    return credential.certificate, credential.key


def identity(authority: Authority) -> tuple[Path, Path]:
    credential = authority.issue("client.test")
    return credential.certificate, credential.key


@pytest.fixture(scope="module")
def server(make_shared_httpd: StartHttpd, authority: Authority) -> Httpd:
    httpd = make_shared_httpd()
    locations = [line for page, rule in PAGES.items() for line in (f"<Location /{page}>", f"    {rule}", "</Location>")]
    for page in PAGES:
        httpd.add_page(page)
    trusting = [f"SSLCACertificateFile {authority.root}"]
    lines: dict[str, list[str]] = {
        RSA: [*trusting, *locations],
        OTHER: [],
        TICKETLESS: ["SSLSessionTickets off"],
        STRICT: [*trusting, "SSLVerifyClient require"],
    }
    for name in NAMES:
        httpd.vhost(name, credentials=[authority.issue(name, kind="rsa")], lines=[*lines[name], RESUMABLE_SUITE])
    return httpd.start()


@pytest.fixture
def httpd(server: Httpd) -> Iterator[Httpd]:
    """With a live challenge for each name."""
    for name in NAMES:
        server.spool.publish(name)
    with checked(server):
        yield server


@pytest.mark.parametrize("second", ["http/1.1", "acme-tls/1"])
@pytest.mark.parametrize("page", ["require.html", "optional.html"])
def test_renegotiation_refuses_a_strangers_certificate(
    httpd: Httpd, authority: Authority, stranger: tuple[Path, Path], page: str, second: str
) -> None:
    seen = renegotiate(httpd.address(), RSA, f"/{page}", second=second, client=stranger)
    assert seen.certificates == [authority.issue(RSA, kind="rsa").der]
    assert second.encode() in seen.hellos[1] and b"acme-tls/1" not in seen.hellos[0]
    assert (seen.response, bool(seen.error)) == (b"", True)
    for pattern in ("AH02039: Certificate Verification", "AH02261: Re-negotiation handshake failed", "certificate verify failed"):
        httpd.log.expect(pattern=pattern, level="error")


def test_renegotiation_for_a_cipher_takes_the_vhosts_certificate(httpd: Httpd, authority: Authority) -> None:
    """No client authentication is at stake, and still acme-tls/1 counts in the first hello alone."""
    seen = renegotiate(httpd.address(), RSA, "/cipher.html", second="acme-tls/1")
    assert seen.certificates == 2 * [authority.issue(RSA, kind="rsa").der]
    assert seen.response.endswith(PAGE.encode()) and not seen.error


def session(httpd: Httpd, name: str, using: ssl.SSLContext) -> ssl.SSLSession:
    """Of an ordinary connection, shown to be good for another one."""
    first = client.handshake(httpd.address(), name, using=using, send=get(name))
    assert first.data.endswith(PAGE.encode())
    again = client.handshake(httpd.address(), name, using=using, session=first.session, send=get(name))
    assert again.resumed and again.data.endswith(PAGE.encode())
    assert again.session is not None
    return again.session


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("name", [TICKETLESS, STRICT])
def test_session_of_the_servers_cache_or_of_a_client_is_refused(
    httpd: Httpd, authority: Authority, name: str, version: str
) -> None:
    """In TLS 1.3 a server without tickets has its cache behind them; a session also keeps the client's certificate."""
    using = client.context(["http/1.1"], version, client=identity(authority))
    resumable = session(httpd, name, using)
    using.set_alpn_protocols(["acme-tls/1"])

    def resume() -> Answer:
        return client.handshake(httpd.address(), name, using=using, session=resumable, send=get(name))

    assert_refused(httpd, name, "session-resumed", resume)
    key_authorization = httpd.spool.publish(name)
    assert_answered(httpd, name, key_authorization, lambda: client.handshake(httpd.address(), name, using=using))


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_session_of_another_vhost_is_not_taken(httpd: Httpd, version: str) -> None:
    using = client.context(["http/1.1"], version)
    resumable = session(httpd, RSA, using)
    using.set_alpn_protocols(["acme-tls/1"])
    key_authorization = httpd.spool.publish(OTHER)
    shake = lambda: client.handshake(httpd.address(), OTHER, using=using, session=resumable)
    assert_answered(httpd, OTHER, key_authorization, shake)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("takes_tickets", [True, False], ids=["tickets", "no-tickets"])
@pytest.mark.parametrize("name", [RSA, TICKETLESS, STRICT])
def test_challenge_leaves_nothing_to_resume(
    httpd: Httpd, authority: Authority, name: str, takes_tickets: bool, version: str
) -> None:
    """Nobody has authenticated in it: a session of it would be worth something at the vhost with client authentication."""
    using = client.context(version=version, client=identity(authority))
    if not takes_tickets:
        using.options |= ssl.OP_NO_TICKET
    challenge = converse(httpd.address(), name, get(name), using=using)
    # httpd may be quicker to close than the client to send.
    assert (challenge.alpn, challenge.response) == ("acme-tls/1", b"")
    assert not messages_of(NEW_SESSION_TICKET, challenge.messages)

    using.set_alpn_protocols(["http/1.1"])
    ordinary = converse(httpd.address(), name, get(name), using=using, session=challenge.session)
    assert ordinary.outcome == "200" and not ordinary.resumed
    again = converse(httpd.address(), name, get(name), using=using, session=ordinary.session)
    assert again.outcome == "200" and again.resumed
