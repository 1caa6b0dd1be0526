"""Handshakes that are no challenge go on as if the module were not there, and challenges serve no data."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import StartHttpd, checked
from harness import client
from harness.challenge import assert_answered, publish_and_check
from harness.pki import Authority
from harness.server import MPM, PAGE, Httpd

NAME = "ordinary.test"
OTHER = "other.test"
GET = f"GET /index.html HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode()


@pytest.fixture(scope="module", params=["absent", "h2 http/1.1", "h2", "http/1.1 acme-tls/1"])
def protocols(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def start(httpd: Httpd, authority: Authority, protocols: str) -> Httpd:
    lines = [] if protocols == "absent" else [f"Protocols {protocols}"]
    httpd.vhost(NAME, credentials=[authority.issue(NAME)], lines=lines)
    httpd.vhost(OTHER, credentials=[authority.issue(OTHER, kind="rsa")])
    return httpd.start()


@pytest.fixture(scope="module")
def server(protocols: str, make_shared_httpd: StartHttpd, authority: Authority) -> Httpd:
    return start(make_shared_httpd(modules=["http2"]), authority, protocols)


@pytest.fixture(scope="module")
def reference(protocols: str, make_shared_httpd: StartHttpd, authority: Authority) -> Httpd:
    """The same httpd without the module."""
    return start(make_shared_httpd(modules=["http2"], with_module=False), authority, protocols)


@pytest.fixture
def httpd(server: Httpd) -> Iterator[Httpd]:
    """While a challenge is live for the very name."""
    server.spool.publish(NAME)
    with checked(server):
        yield server


OFFERS = [(), ("http/1.1",), ("h2",), ("h2", "http/1.1"), ("acme-tls/1", "http/1.1"), ("http/1.1", "acme-tls/1")]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("offer", OFFERS)
def test_offer_is_answered_as_without_the_module(
    httpd: Httpd, reference: Httpd, authority: Authority, offer: tuple[str, ...], version: str
) -> None:
    answers = [client.handshake(server.address(), NAME, alpn=offer, version=version) for server in (httpd, reference)]
    with_module, without = ((answer.chain, answer.alpn, answer.alert, answer.error) for answer in answers)
    assert with_module == without
    assert with_module[0] in ((authority.issue(NAME).der,), ())


def test_two_protocols_are_negotiated_as_configured(httpd: Httpd, protocols: str) -> None:
    answer = client.handshake(httpd.address(), NAME, alpn=["h2", "http/1.1"])
    # mod_http2 declines beside the prefork MPM.
    assert answer.alpn == ("h2" if "h2" in protocols and MPM != "prefork" else "http/1.1")


def test_ordinary_request_beside_a_live_challenge(httpd: Httpd, authority: Authority) -> None:
    response = client.https_get(httpd.address(), NAME, authority.root)
    assert (response.status, response.body.decode()) == (200, PAGE)
    assert response.certificate == authority.issue(NAME).der
    assert "acme" not in dict(response.headers).get("Upgrade", "")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_request_over_acme_tls_gets_no_byte(httpd: Httpd, version: str) -> None:
    ordinary = client.handshake(httpd.address(), NAME, alpn=["http/1.1"], version=version, send=GET)
    assert ordinary.data.endswith(PAGE.encode())
    key_authorization = httpd.spool.publish(NAME)
    shake = lambda: client.handshake(httpd.address(), NAME, version=version, send=GET)
    assert assert_answered(httpd, NAME, key_authorization, shake).data == b""


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_challenge_without_a_protocols_line_and_with_each(httpd: Httpd, version: str) -> None:
    for name in (NAME, OTHER, "nobody.test"):
        publish_and_check(httpd, name, lambda: client.handshake(httpd.address(), name, version=version))
