"""ClientHellos in pieces, large, repeated with changes, or broken off: the right answer or none."""

from __future__ import annotations

import struct

import pytest
from conftest import StartHttpd
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import load_der_x509_certificate
from harness import client
from harness.challenge import (
    ANSWERED, INCOMPLETE, assert_answered, assert_refused, publish_and_check, wait_for_rate_limit,
)
from harness.clienthello import (
    ECDSA_SHA256, ECDSA_SHA384, P256, P384, RSA_SHA256, SIGNATURE_ALGORITHMS_CERT, X25519, X25519MLKEM768, Hello,
    HelloAnswer, Wire, prefixed, protocol_list, shake,
)
from harness.pki import Authority
from harness.server import Httpd
from harness.wire import get

NAME = "hello.test"
PRIVATE = "private.test"
PADDING, UNKNOWN = 21, 0xFF77

ACME = protocol_list(b"acme-tls/1")


@pytest.fixture(scope="module")
def server(make_shared_httpd: StartHttpd, authority: Authority) -> Httpd:
    httpd = make_shared_httpd(modules=["http2"])
    h2 = ["Protocols h2 http/1.1"]
    httpd.vhost(NAME, credentials=[authority.issue(NAME)], lines=h2)
    verify = ["SSLVerifyClient require", f"SSLCACertificateFile {authority.root}"]
    httpd.vhost(PRIVATE, credentials=[authority.issue(PRIVATE, kind="rsa")], lines=[*h2, *verify])
    return httpd.start()


# In pieces, and large

PIECES = {
    "one-byte-segments": (1, 16384),
    "one-byte-records": (16384, 1),
    "one-byte-records-in-one-byte-segments": (1, 1),
}
EXTRA = {
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
        httpd, NAME, lambda: shake(httpd.address(), hello, record=record, wire=Wire(segment), send=get(NAME))
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
    answer = publish_and_check(httpd, name, lambda: shake(httpd.address(), first, second, send=get(name)))
    assert isinstance(answer, HelloAnswer) and answer.retried and not answer.certificate_requested
    assert answer.data == b""


@pytest.mark.parametrize("name", [NAME, PRIVATE])
def test_no_retry_without_a_challenge(httpd: Httpd, name: str) -> None:
    """TLS 1.3 negotiates the protocol first."""
    hello = Hello(name.encode(), shares=())
    assert_refused(httpd, name, "no-entry", lambda: shake(httpd.address(), hello, hello))


OTHERS = {
    "http/1.1": protocol_list(b"http/1.1"),
    "two": protocol_list(b"acme-tls/1", b"http/1.1"),
    "none": None,
}


def retry(httpd: Httpd, name: str, first: bytes | None, second: bytes | None) -> HelloAnswer:
    hellos = (Hello(name.encode(), alpn, shares=()) for alpn in (first, second))
    answer = shake(httpd.address(), *hellos, send=get(name))
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


def test_name_changed_between_the_hellos(httpd: Httpd) -> None:
    """The answer is for the name that was looked up, and never for a vhost that asks for more."""
    httpd.spool.publish(PRIVATE)
    key_authorization = httpd.spool.publish(NAME)
    hellos = (Hello(name.encode(), shares=()) for name in (NAME, PRIVATE))
    assert_answered(httpd, NAME, key_authorization, lambda: shake(httpd.address(), *hellos, send=get(PRIVATE)))
    for name in (NAME, PRIVATE):
        httpd.spool.withdraw(name)


# A client that goes away

KINDS = {
    "1.2": (Hello(NAME.encode(), version="1.2"),),
    "1.3": (Hello(NAME.encode()),),
    "1.3-retry": (Hello(NAME.encode(), shares=()),) * 2,
}


def points(ends: list[int]) -> list[int]:
    """In the header, at the start, in the middle and before the end of each record, and after it."""
    records = zip([0, *ends], ends)
    found = [(begin, begin + 1, begin + 5, begin + 6, (begin + end) // 2, end - 1) for begin, end in records]
    return sorted({at for record in found for at in record})


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("kind", KINDS)
def test_client_goes_away_at_each_point(httpd: Httpd, kind: str, reset: bool) -> None:
    whole = Wire()
    publish_and_check(httpd, NAME, lambda: shake(httpd.address(), *KINDS[kind], wire=whole))
    httpd.log.allow(INCOMPLETE, rf"identifier={NAME} |incomplete: peer=")
    key_authorization = httpd.spool.publish(NAME)
    answered = len(httpd.log.find(ANSWERED))
    for most in points(whole.ends):
        left = shake(httpd.address(), *KINDS[kind], wire=Wire(most=most, reset=reset))
        assert (left.error, left.alert) == ("went away", None), most
    assert len(httpd.log.find(ANSWERED)) == answered
    for version in ("1.2", "1.3"):
        after = lambda: client.handshake(httpd.address(), NAME, version=version)
        assert_answered(httpd, NAME, key_authorization, after)
    httpd.spool.withdraw(NAME)
