"""Every kind of vhost gives every kind of client the challenge certificate, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from conftest import StartHttpd, checked
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from harness import client
from harness.challenge import ANSWERED, Handshake, assert_answered, assert_refused, publish_and_check
from harness.checker import check_answer
from harness.pki import Authority
from harness.server import Httpd

# The types of each vhost's certificates. A name that is not here is nobody's: the default's.
VHOSTS = {
    "default.test": ["rsa"],
    "p256.test": ["p256"],
    "p384.test": ["p384"],
    "both.test": ["rsa", "p384"],
}
NAMES = [*VHOSTS, "nobody.test"]

EC = (ec.EllipticCurvePublicKey,)
RSA = (rsa.RSAPublicKey,)
ECDSA_ALGORITHMS = "ECDSA+SHA256:ECDSA+SHA384"
RSA_ALGORITHMS = "RSA-PSS+SHA256:RSA+SHA256"

# What Go's crypto/tls offers, and with it most of what validates for CAs.
GO_ALGORITHMS = (
    "RSA-PSS+SHA256:ECDSA+SHA256:ed25519:RSA-PSS+SHA384:RSA-PSS+SHA512:"
    "RSA+SHA256:RSA+SHA384:RSA+SHA512:ECDSA+SHA384:ECDSA+SHA512"
)

# The client's signature algorithms, and the key types that a right answer can have.
CLIENTS: dict[str, tuple[list[str], tuple[type, ...]]] = {
    "openssl": ([], EC + RSA),
    "go": (["-sigalgs", GO_ALGORITHMS], EC + RSA),
    "pss-first": (["-sigalgs", f"RSA-PSS+SHA256:RSA-PSS+SHA384:RSA-PSS+SHA512:{ECDSA_ALGORITHMS}"], EC + RSA),
    "ecdsa-only": (["-sigalgs", ECDSA_ALGORITHMS], EC),
    "p384-only": (["-sigalgs", "ECDSA+SHA384", "-groups", "P-384"], EC),
    "rsa-only": (["-sigalgs", RSA_ALGORITHMS], RSA),
}


# The first vhost is where each handshake begins, whatever vhost the SNI then selects.
FIRST = {"main": "default.test", "first-p256": "p256.test", "first-both": "both.test"}


@pytest.fixture(scope="module")
def server(make_shared_httpd: StartHttpd, authority: Authority) -> Httpd:
    httpd = make_shared_httpd()
    for listener, first in FIRST.items():
        if listener != "main":
            httpd.listen(listener)
        for name in sorted(VHOSTS, key=lambda name: name != first):
            credentials = [authority.issue(name, kind=kind) for kind in VHOSTS[name]]
            httpd.vhost(name, credentials=credentials, listener=listener)
    httpd.listen("curve")
    curve = ["SSLOpenSSLConfCmd Curves P-521"]
    httpd.vhost("p521-group.test", credentials=[authority.issue("p521-group.test")], lines=curve, listener="curve")
    return httpd.start()


@pytest.fixture
def httpd(server: Httpd) -> Iterator[Httpd]:
    with checked(server):
        yield server


def openssl_client(httpd: Httpd, name: str, version: str, *options: str, listener: str = "main") -> Handshake:
    option = "-tls" + version.replace(".", "_")
    return lambda: client.s_client(httpd.address(listener), name, option, *options)


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("listener", FIRST)
def test_each_client_gets_the_challenge_from_each_vhost(
    httpd: Httpd, listener: str, name: str, version: str, kind: str
) -> None:
    options, keys = CLIENTS[kind]
    answer = publish_and_check(httpd, name, openssl_client(httpd, name, version, *options, listener=listener))
    assert answer.version == f"TLSv{version}"
    assert isinstance(served_key(answer), keys)


@pytest.mark.parametrize("ours, keys", [("ECDHE-RSA-AES128-GCM-SHA256", RSA), ("ECDHE-ECDSA-AES128-GCM-SHA256", EC)])
@pytest.mark.parametrize("theirs", ["ECDHE-ECDSA-NULL-SHA", "ECDHE-RSA-NULL-SHA"])
def test_key_goes_with_the_ciphers_that_we_have(
    httpd: Httpd, ours: str, keys: tuple[type, ...], theirs: str
) -> None:
    """The client's first cipher would want another type of key, but is none of ours."""
    shake = openssl_client(httpd, NAMES[0], "1.2", "-cipher", f"{theirs}:{ours}:@SECLEVEL=0")
    assert isinstance(served_key(publish_and_check(httpd, NAMES[0], shake)), keys)


def served_key(answer: client.Answer) -> object:
    return x509.load_der_x509_certificate(answer.leaf).public_key()


# The client's only group, and what must come of it.
GROUPS = {
    "X25519": "X25519, 253 bits",
    "P-256": "ECDH, prime256v1, 256 bits",
    "P-384": "ECDH, secp384r1, 384 bits",
    "P-521": "ECDH, secp521r1, 521 bits",
    "X448": "X448, 448 bits",
}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("groups", GROUPS)
def test_each_group_whatever_the_vhost_is_restricted_to(httpd: Httpd, groups: str, version: str) -> None:
    shake = openssl_client(httpd, "p521-group.test", version, "-groups", groups, listener="curve")
    assert publish_and_check(httpd, "p521-group.test", shake).group == GROUPS[groups]


def test_each_digest_has_a_certificate_of_its_own(httpd: Httpd) -> None:
    serials = set()
    for _ in range(5):
        key_authorization = httpd.spool.publish("default.test")
        answer = assert_answered(httpd, "default.test", key_authorization)
        serials.add(check_answer(answer, "default.test", key_authorization.digest).serial_number)
        httpd.spool.withdraw("default.test")
    assert len(serials) == 5


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_each_mpm(mpm: str, make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make_httpd(mpm=mpm)
    httpd.vhost("default.test", credentials=[authority.issue("default.test", kind="rsa")])
    httpd.start()
    for version in ("1.2", "1.3"):
        publish_and_check(httpd, "default.test", lambda: client.handshake(httpd.address(), "default.test", version=version))
        assert_refused(httpd, "default.test", "no-entry")
    httpd.reload()
    publish_and_check(httpd, "default.test")


@pytest.mark.parametrize(
    "client_name, key", [("ecdsa-only", "EC-P256"), ("rsa-only", "RSA-2048"), ("p384-only", "EC-P384")]
)
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_answer_is_logged_with_its_key_and_all_else(httpd: Httpd, version: str, client_name: str, key: str) -> None:
    before = len(httpd.log.find(ANSWERED))
    publish_and_check(httpd, "default.test", openssl_client(httpd, "default.test", version, *CLIENTS[client_name][0]))
    (record,) = httpd.log.find(ANSWERED)[before:]
    assert record.level == "info"
    assert re.fullmatch(
        r"\[client [\d.:]+\] AALPN0101: answered: identifier=default\.test peer=127\.0\.0\.1:\d+ vhost=default\.test "
        rf"tls=TLSv{re.escape(version)} duration=\d+\.\d{{3}}ms source=spool key={key}",
        record.text,
    )
