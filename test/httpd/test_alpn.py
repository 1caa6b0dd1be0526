"""Only a list of exactly acme-tls/1 asks for a challenge (RFC 8737 section 3); any other is an ordinary offer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import StartHttpd, checked, start_vhost
from harness.challenge import ANSWERED, assert_incomplete, publish_and_check
from harness.clienthello import ALPN, Hello, HelloAnswer, protocol_list, shake
from harness.pki import Authority
from harness.server import Httpd
from harness.wire import get

NAME = "alpn.test"
SNI = NAME.encode()
ACME = b"acme-tls/1"
GET = get(NAME)
DECODE_ERROR, ILLEGAL_PARAMETER = 50, 47


@pytest.fixture(scope="module")
def reference(make_shared_httpd: StartHttpd, authority: Authority) -> Httpd:
    """The same httpd without the module."""
    return start_vhost(make_shared_httpd(with_module=False), NAME, authority)


@pytest.fixture
def httpd(server: Httpd) -> Iterator[Httpd]:
    """With a live challenge for the name, of which no test here but one gets an answer."""
    server.spool.publish(NAME)
    with checked(server):
        yield server
        assert not [record for record in server.log.find(ANSWERED) if not record.claimed]


def outcome(answer: HelloAnswer) -> tuple[object, ...]:
    return answer.chain, answer.alpn, answer.alert, answer.error, answer.data[:15]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_exactly_acme_tls_is_answered(httpd: Httpd, version: str) -> None:
    publish_and_check(httpd, NAME, lambda: shake(httpd.address(), Hello(SNI, version=version), send=GET))


ORDINARY = {
    "twice": protocol_list(ACME, ACME),
    "first-of-two": protocol_list(ACME, b"http/1.1"),
    "last-of-two": protocol_list(b"http/1.1", ACME),
    "last-of-many": protocol_list(*(b"p%d" % number for number in range(2000)), ACME),
    "many-times": protocol_list(*[ACME] * 5000),
    "nul-after": protocol_list(ACME + b"\0"),
    "upper-case": protocol_list(ACME.upper()),
    "shorter": protocol_list(ACME[:-1]),
    "longest": protocol_list(ACME + b"a" * 245),
    "none": None,
}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("offer", ORDINARY)
def test_any_other_list_is_an_ordinary_handshake(
    httpd: Httpd, reference: Httpd, authority: Authority, offer: str, version: str
) -> None:
    hello = Hello(SNI, ORDINARY[offer], version)
    seen, without = (outcome(shake(target.address(), hello, send=GET)) for target in (httpd, reference))
    assert seen == without
    protocol = None if offer == "none" else "http/1.1"
    assert seen == ((authority.issue(NAME).der,), protocol, None, "", b"HTTP/1.1 200 OK")


MALFORMED = {
    "no-content": b"",
    "empty-list": b"\0\0",
    "empty-protocol-after": protocol_list(ACME, b""),
    "list-longer-than-extension": b"\0\x0c\x0a" + ACME,
    "protocol-shorter-than-list": b"\0\x0b\x09" + ACME,
    "byte-after-list": protocol_list(ACME) + b"\0",
}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("content", MALFORMED)
def test_malformed_list_gets_nothing(httpd: Httpd, reference: Httpd, content: str, version: str) -> None:
    hello = Hello(SNI, MALFORMED[content], version)
    seen, without = (shake(target.address(), hello) for target in (httpd, reference))
    assert outcome(seen) == outcome(without)
    assert (seen.alert, seen.chain) == (DECODE_ERROR, ())


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("first", [ACME, b"http/1.1"])
@pytest.mark.parametrize("second", [ACME, b"http/1.1"])
def test_two_extensions_get_nothing(httpd: Httpd, first: bytes, second: bytes, version: str) -> None:
    """OpenSSL refuses them, after the module has seen the first."""
    hello = Hello(SNI, protocol_list(first), version, extra=((ALPN, protocol_list(second)),))
    if first == ACME:
        answer = assert_incomplete(httpd, lambda: shake(httpd.address(), hello))
    else:
        answer = shake(httpd.address(), hello)
    assert (answer.alert, answer.chain) == (ILLEGAL_PARAMETER, ())


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_repeated_extension_of_the_relay_ends_any_handshake(httpd: Httpd, reference: Httpd, version: str) -> None:
    """The one difference for ordinary clients, which docs/mod_acme_alpn.md tells."""
    twice = Hello(SNI, protocol_list(b"http/1.1"), version, extra=((65452, b""),) * 2)
    assert shake(httpd.address(), twice).alert == ILLEGAL_PARAMETER
    assert shake(reference.address(), twice).chain
