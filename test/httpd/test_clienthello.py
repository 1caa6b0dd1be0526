"""ClientHellos in pieces, large, repeated with changes, or left alone half-way: the right answer or none."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache

import pytest
from conftest import StartHttpd, checked
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import load_der_x509_certificate
from harness import client, poll
from harness.challenge import (
    ANSWERED,
    INCOMPLETE,
    assert_answered,
    assert_refused,
    publish_and_check,
    wait_for_rate_limit,
)
from harness.checker import check_answer
from harness.clienthello import (
    ECDSA_SHA256,
    ECDSA_SHA384,
    P256,
    P384,
    RSA_SHA256,
    SIGNATURE_ALGORITHMS_CERT,
    X25519,
    X25519MLKEM768,
    Hello,
    HelloAnswer,
    Wire,
    prefixed,
    protocol_list,
    shake,
)
from harness.pki import Authority
from harness.server import PAGE, Httpd

NAME = "hello.test"
PRIVATE = "private.test"
PADDING, UNKNOWN = 21, 0xFF77

ACME = protocol_list(b"acme-tls/1")


def request(name: str) -> bytes:
    return f"GET /index.html HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode()


@pytest.fixture(scope="module")
def server(make_shared_httpd: StartHttpd, authority: Authority) -> Httpd:
    httpd = make_shared_httpd(modules=["http2"])
    h2 = ["Protocols h2 http/1.1"]
    httpd.vhost(NAME, credentials=[authority.issue(NAME)], lines=h2)
    verify = ["SSLVerifyClient require", f"SSLCACertificateFile {authority.root}"]
    httpd.vhost(PRIVATE, credentials=[authority.issue(PRIVATE, kind="rsa")], lines=[*h2, *verify])
    return httpd.start()


@pytest.fixture
def httpd(server: Httpd) -> Iterator[Httpd]:
    with checked(server):
        yield server


# In pieces, and large

PIECES = {
    "one-byte-segments": (1, 16384),
    "seven-byte-segments": (7, 16384),
    "one-byte-records": (16384, 1),
    "two-records": (16384, 100),
    "one-byte-records-in-one-byte-segments": (1, 1),
}
EXTRA = {
    "4-kib": ((UNKNOWN, b"x" * 4096),),
    "two-records": ((UNKNOWN, b"x" * 20_000),),
    "many-extensions": tuple((kind, b"x" * 300) for kind in range(UNKNOWN, UNKNOWN + 100)),
    "padding": ((PADDING, bytes(6000)),),
}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("pieces", PIECES)
def test_hello_in_pieces(httpd: Httpd, pieces: str, version: str) -> None:
    segment, record = PIECES[pieces]
    hello = Hello(NAME.encode(), version=version)
    publish_and_check(
        httpd, NAME, lambda: shake(httpd.address(), hello, record=record, wire=Wire(segment), send=request(NAME))
    )


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("extra", EXTRA)
def test_large_hello(httpd: Httpd, extra: str, version: str) -> None:
    hello = Hello(NAME.encode(), version=version, extra=EXTRA[extra])
    wire = Wire()
    publish_and_check(httpd, NAME, lambda: shake(httpd.address(), hello, wire=wire))
    assert wire.sent > 4096


# The schemes that the client takes in certificates, where it has others for those, and the key that fits.
CERTIFICATE_SCHEMES = {
    "as-in-handshakes": ((RSA_SHA256, ECDSA_SHA256), EllipticCurvePublicKey, 256),
    "rsa-alone": ((RSA_SHA256,), RSAPublicKey, 2048),
    "p384-alone": ((ECDSA_SHA384,), EllipticCurvePublicKey, 384),
}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("schemes", CERTIFICATE_SCHEMES)
def test_signature_algorithms_for_certificates(httpd: Httpd, schemes: str, version: str) -> None:
    taken, kind, size = CERTIFICATE_SCHEMES[schemes]
    content = prefixed(b"".join(struct.pack("!H", scheme) for scheme in taken))
    hello = Hello(NAME.encode(), version=version, extra=((SIGNATURE_ALGORITHMS_CERT, content),))
    answer = publish_and_check(httpd, NAME, lambda: shake(httpd.address(), hello))
    key = load_der_x509_certificate(answer.chain[0]).public_key()
    assert isinstance(key, kind) and key.key_size == size


# The size of an ML-KEM-768 key and an X25519 key share (draft-ietf-tls-ecdhe-mlkem).
POST_QUANTUM = (X25519MLKEM768, bytes(range(256)) * 4 + b"x" * 192)
SHARES = {
    "beside-x25519": ((X25519MLKEM768, X25519, P256), (X25519,), False),
    "beside-p256": ((X25519MLKEM768, P256), (P256,), False),
    "alone": ((X25519MLKEM768, X25519, P256), (), True),
}


@pytest.mark.parametrize("shares", SHARES)
def test_post_quantum_key_share(httpd: Httpd, shares: str) -> None:
    groups, others, retried = SHARES[shares]
    if retried and "X25519MLKEM768" in client.groups():
        pytest.skip("this OpenSSL has the group; test_limits.py has a client that has it, too")
    first = Hello(NAME.encode(), groups=groups, shares=others, foreign_shares=(POST_QUANTUM,))
    second = Hello(NAME.encode(), groups=groups)
    wire = Wire()
    answer = publish_and_check(httpd, NAME, lambda: shake(httpd.address(), first, second, wire=wire))
    assert isinstance(answer, HelloAnswer) and answer.retried is retried
    assert wire.sent > 1216


# HelloRetryRequest

# The client's groups and the ones with a key share; the server wants another. No server knows the first of the latter
# two (RFC 8701).
GREASE = (0x2A2A, b"x")
RETRIES = {
    "no-share": ((X25519, P256), ()),
    "unknown-first": ((GREASE[0], P256), (GREASE,)),
    "p384-wanted": ((GREASE[0], P384), (GREASE,)),
}


@pytest.mark.parametrize("name", [NAME, PRIVATE])
@pytest.mark.parametrize("retry", RETRIES)
def test_hello_retry_request(httpd: Httpd, retry: str, name: str) -> None:
    groups, shares = RETRIES[retry]
    first = Hello(name.encode(), groups=groups, shares=(), foreign_shares=shares)
    second = Hello(name.encode(), groups=groups)
    answer = publish_and_check(httpd, name, lambda: shake(httpd.address(), first, second, send=request(name)))
    assert isinstance(answer, HelloAnswer) and answer.retried and not answer.certificate_requested
    assert answer.data == b""


def test_hello_retry_request_in_pieces(httpd: Httpd) -> None:
    hello = Hello(NAME.encode(), shares=())
    publish_and_check(httpd, NAME, lambda: shake(httpd.address(), hello, hello, record=3, wire=Wire(2)))


@pytest.mark.parametrize("name", [NAME, PRIVATE])
def test_no_retry_without_a_challenge(httpd: Httpd, name: str) -> None:
    """TLS 1.3 negotiates the protocol first."""
    hello = Hello(name.encode(), shares=())
    assert_refused(httpd, name, "no-entry", lambda: shake(httpd.address(), hello, hello))


OTHERS = {
    "http/1.1": protocol_list(b"http/1.1"),
    "h2": protocol_list(b"h2"),
    "unknown": protocol_list(b"unknown"),
    "two": protocol_list(b"acme-tls/1", b"http/1.1"),
    "none": None,
}


def retry(httpd: Httpd, name: str, first: bytes | None, second: bytes | None) -> HelloAnswer:
    hellos = (Hello(name.encode(), alpn, shares=()) for alpn in (first, second))
    answer = shake(httpd.address(), *hellos, send=request(name))
    assert answer.retried
    return answer


@pytest.mark.parametrize("name", [NAME, PRIVATE])
@pytest.mark.parametrize("other", OTHERS)
def test_offer_changed_from_acme_ends_the_handshake(httpd: Httpd, other: str, name: str) -> None:
    """The first hello has disarmed client authentication; nothing may come of the second."""
    httpd.spool.publish(name)
    wait_for_rate_limit(httpd)
    answer = retry(httpd, name, ACME, OTHERS[other])
    httpd.spool.withdraw(name)
    assert (answer.alert, answer.chain, answer.data) == (client.INTERNAL_ERROR, (), b"")
    httpd.log.expect(INCOMPLETE, rf"identifier={name} ")


@pytest.mark.parametrize("name", [NAME, PRIVATE])
@pytest.mark.parametrize("other", OTHERS)
def test_offer_changed_to_acme_is_a_challenge_and_nothing_else(httpd: Httpd, other: str, name: str) -> None:
    key_authorization = httpd.spool.publish(name)
    answer = assert_answered(httpd, name, key_authorization, lambda: retry(httpd, name, OTHERS[other], ACME))
    assert isinstance(answer, HelloAnswer) and (answer.data, answer.certificate_requested) == (b"", False)
    httpd.spool.withdraw(name)
    assert_refused(httpd, name, "no-entry", lambda: retry(httpd, name, OTHERS[other], ACME))


@pytest.mark.parametrize("other", OTHERS)
def test_ordinary_retry_beside_a_live_challenge(httpd: Httpd, authority: Authority, other: str) -> None:
    """What the two above would come to if they were ordinary: a page, or the demand for a certificate."""
    for name in (NAME, PRIVATE):
        httpd.spool.publish(name)
    page, private = (retry(httpd, name, OTHERS[other], OTHERS[other]) for name in (NAME, PRIVATE))
    for name in (NAME, PRIVATE):
        httpd.spool.withdraw(name)
    assert page.leaf == authority.issue(NAME).der
    assert page.alpn == "h2" or page.data.endswith(PAGE.encode())
    assert private.leaf == authority.issue(PRIVATE, kind="rsa").der
    assert (private.certificate_requested, private.alert, private.data) == (True, client.CERTIFICATE_REQUIRED, b"")


def test_name_changed_between_the_hellos(httpd: Httpd) -> None:
    """The answer is for the name that was looked up, and never for a vhost that asks for more."""
    httpd.spool.publish(PRIVATE)
    key_authorization = httpd.spool.publish(NAME)
    hellos = (Hello(name.encode(), shares=()) for name in (NAME, PRIVATE))
    assert_answered(httpd, NAME, key_authorization, lambda: shake(httpd.address(), *hellos, send=request(PRIVATE)))
    for name in (NAME, PRIVATE):
        httpd.spool.withdraw(name)


# A client that goes away

KINDS = ["1.2", "1.3", "1.3-retry"]


def hellos(kind: str) -> tuple[Hello, ...]:
    if kind == "1.3-retry":
        return (Hello(NAME.encode(), shares=()),) * 2
    return (Hello(NAME.encode(), version=kind),)


@lru_cache(maxsize=None)
def record_ends(httpd: Httpd, kind: str) -> tuple[int, ...]:
    """Where the records of a whole handshake end. Its messages are of the same sizes each time."""
    wire = Wire()
    publish_and_check(httpd, NAME, lambda: shake(httpd.address(), *hellos(kind), wire=wire))
    return tuple(wire.ends)


def points(ends: tuple[int, ...]) -> list[int]:
    """In the header, at the start, in the middle and before the end of each record, and after it."""
    begins = (0, *ends)
    found = {
        at
        for begin, end in zip(begins, ends)
        for at in (begin, begin + 1, begin + 5, begin + 6, (begin + end) // 2, end - 1)
    }
    return sorted(found)


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("kind", KINDS)
def test_client_goes_away_at_each_point(httpd: Httpd, kind: str, reset: bool) -> None:
    ends = record_ends(httpd, kind)
    httpd.log.allow(INCOMPLETE, rf"identifier={NAME} |incomplete: peer=")
    key_authorization = httpd.spool.publish(NAME)
    answered = len(httpd.log.find(ANSWERED))
    for most in points(ends):
        left = shake(httpd.address(), *hellos(kind), wire=Wire(most=most, reset=reset))
        assert (left.error, left.alert) == ("went away", None), most
    assert len(httpd.log.find(ANSWERED)) == answered
    for version in ("1.2", "1.3"):
        after = lambda: client.handshake(httpd.address(), NAME, version=version)
        assert_answered(httpd, NAME, key_authorization, after)
    httpd.spool.withdraw(NAME)


@pytest.mark.parametrize("kind", KINDS)
def test_line_for_a_client_that_goes_away(httpd: Httpd, kind: str) -> None:
    """None before the module has seen the offer, one from there on."""
    ends = record_ends(httpd, kind)
    httpd.spool.publish(NAME)
    for most, lines in ((ends[0] - 1, 0), (ends[0], 1), (ends[-1] - 1, 1)):
        wait_for_rate_limit(httpd)
        before = len(httpd.log.find(INCOMPLETE))
        shake(httpd.address(), *hellos(kind), wire=Wire(most=most))
        if lines:
            httpd.log.expect(INCOMPLETE, rf"identifier={NAME} ", level="warn")
        assert len(httpd.log.find(INCOMPLETE)) == before + lines, most
    httpd.spool.withdraw(NAME)


def test_client_that_does_not_stay_for_the_close(httpd: Httpd) -> None:
    """Its handshake was complete, which is all that a challenge is about."""
    for kind in KINDS:
        end = record_ends(httpd, kind)[-1]
        key_authorization = httpd.spool.publish(NAME)
        answer = shake(httpd.address(), *hellos(kind), wire=Wire(most=end), send=request(NAME))
        assert answer.error == "went away" and answer.data == b""
        answer.error = ""
        check_answer(answer, NAME, key_authorization.digest)
        httpd.log.expect(ANSWERED, rf"identifier={NAME} ")
        httpd.spool.withdraw(NAME)


# No TLS at all

PLAIN = {
    "http": (request(NAME), b"HTTP/1.1 400 Bad Request\r\n"),
    "http/0.9": (b"GET /\r\n", b"HTTP/1.1 400 Bad Request\r\n"),
    "ssl-2-hello": (b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(37), b""),
    "text": (b"acme-tls/1\r\n\r\n", b""),
    "empty-records": (b"\x16\x03\x01\x00\x00" * 100, b""),
    "huge-record": (b"\x16\x03\x01\xff\xff" + b"x" * 70000, b""),
    "huge-hello": (b"\x16\x03\x01\x00\x04\x01\xff\xff\xff" + b"\x16\x03\x01\x40\x00" + b"x" * 16384, b""),
}


@pytest.mark.parametrize("plain", PLAIN)
def test_no_tls_on_the_tls_port(httpd: Httpd, plain: str) -> None:
    data, begin = PLAIN[plain]
    said = say(httpd, data)
    assert said.startswith(begin) and (begin or said[:1] in (b"", b"\x15")), said[:100]
    if begin:
        assert b"speaking plain HTTP" in said
    publish_and_check(httpd, NAME)


def say(httpd: Httpd, data: bytes) -> bytes:
    """What the server says to bytes of any kind; it may close before it has read all of them."""
    received = b""
    with socket.create_connection(httpd.address(), client.TIMEOUT * poll.FACTOR) as connection:
        with suppress(ConnectionError):
            connection.sendall(data)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while chunk := connection.recv(65536):
                received += chunk
    return received
