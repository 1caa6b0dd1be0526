"""Every kind of vhost gives every kind of client the challenge certificate, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from conftest import StartHttpd, checked
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from harness import client
from harness.challenge import ANSWERED, Handshake, assert_answered, assert_incomplete, assert_refused, publish_and_check
from harness.checker import check_answer
from harness.pki import Authority
from harness.server import Httpd

LEGACY = ["SSLProtocol TLSv1.2", "SSLCipherSuite ECDHE-RSA-AES128-GCM-SHA256"]
NEWEST = ["SSLProtocol TLSv1.3"]

# vhost: the types of its certificates, and its other lines. One that is not here is nobody's: the default's.
VHOSTS: dict[str, tuple[list[str], list[str]]] = {
    "default.test": (["rsa"], []),
    "rsa.test": (["rsa"], []),
    "p256.test": (["p256"], []),
    "p384.test": (["p384"], []),
    "both.test": (["rsa", "p384"], []),
    "legacy.test": (["rsa"], LEGACY),
    "newest.test": (["p256"], NEWEST),
    "chain.test": (["rsa"], ["SSLCertificateChainFile {root}"]),
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


@pytest.fixture(scope="module")
def server(make_shared_httpd: StartHttpd, authority: Authority) -> Httpd:
    httpd = make_shared_httpd(modules=["http2"])
    httpd.listen("legacy")
    httpd.listen("newest")
    httpd.listen("curve")
    for name, (kinds, lines) in VHOSTS.items():
        credentials = [authority.issue(name, kind=kind) for kind in kinds]
        lines = [line.format(root=authority.root) for line in lines]
        for listener in ("main", name.split(".")[0]):
            if listener in httpd.listeners:
                httpd.vhost(name, credentials=credentials, lines=lines, listener=listener)
    curve = ["SSLOpenSSLConfCmd Curves P-521"]
    credentials = [authority.issue("p521-group.test")]
    httpd.vhost("p521-group.test", credentials=credentials, lines=curve, listener="curve")
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
def test_each_client_gets_the_challenge_from_each_vhost(httpd: Httpd, name: str, version: str, kind: str) -> None:
    if (name, version) in (("legacy.test", "1.3"), ("newest.test", "1.2")):
        assert_protocol_version_alert(httpd, name, version)
        return
    options, keys = CLIENTS[kind]
    answer = publish_and_check(httpd, name, openssl_client(httpd, name, version, *options))
    assert answer.version == f"TLSv{version}"
    assert isinstance(served_key(answer), keys)


def assert_protocol_version_alert(httpd: Httpd, name: str, version: str) -> None:
    """The vhost does not speak this version, with or without a challenge."""
    protocol_version = 70
    httpd.spool.publish(name)
    assert assert_incomplete(httpd, openssl_client(httpd, name, version), name).alert == protocol_version
    httpd.spool.withdraw(name)


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


@pytest.mark.parametrize("listener, version", [("legacy", "1.2"), ("newest", "1.3")])
@pytest.mark.parametrize("kind", CLIENTS)
def test_default_vhost_of_one_tls_version(httpd: Httpd, listener: str, version: str, kind: str) -> None:
    options, keys = CLIENTS[kind]
    name = f"{listener}.test"
    shake = openssl_client(httpd, name, version, *options, listener=listener)
    assert isinstance(served_key(publish_and_check(httpd, name, shake)), keys)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("name", NAMES)
def test_name_without_challenge_is_refused_by_each_vhost(httpd: Httpd, name: str, version: str) -> None:
    if (name, version) in (("legacy.test", "1.3"), ("newest.test", "1.2")):
        assert_protocol_version_alert(httpd, name, version)
        return
    record = assert_refused(httpd, name, "no-entry", openssl_client(httpd, name, version))
    assert f"identifier={name} " in record.text
    assert str(httpd.spool.path / name) in record.text


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
        key_authorization = httpd.spool.publish("rsa.test")
        answer = assert_answered(httpd, "rsa.test", key_authorization)
        serials.add(check_answer(answer, "rsa.test", key_authorization.digest).serial_number)
        httpd.spool.withdraw("rsa.test")
    assert len(serials) == 5


@pytest.mark.parametrize(
    "reverse, identifier",
    [
        ("7.2.0.192.in-addr.arpa", "192.0.2.7"),
        ("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "2001:db8::1"),
    ],
)
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_address_gets_an_address_certificate(httpd: Httpd, reverse: str, identifier: str, version: str) -> None:
    publish_and_check(httpd, identifier, lambda: client.handshake(httpd.address(), reverse, version=version))


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_upper_case_and_longest_names(httpd: Httpd, version: str) -> None:
    longest = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    assert len(longest) == 253
    for identifier in ("rsa.test", "xn--bcher-kva.test", longest):
        shake = lambda: client.handshake(httpd.address(), identifier.upper(), version=version)
        publish_and_check(httpd, identifier, shake)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize(
    "name",
    ["under_score.test", "a/b.test", "../rsa.test", "rsa.test.", "a..test", "a" * 64 + ".test", ".rsa.test", "rsa.test/"],
)
def test_name_that_is_none_never_reaches_the_spool(httpd: Httpd, name: str, version: str) -> None:
    httpd.spool.publish("rsa.test")
    record = assert_refused(httpd, name, "name-invalid", openssl_client(httpd, name, version))
    httpd.spool.withdraw("rsa.test")
    assert str(httpd.spool.path) not in record.text


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_no_name_is_refused(httpd: Httpd, version: str) -> None:
    httpd.spool.publish("default.test")
    assert_refused(httpd, None, "no-sni", lambda: client.handshake(httpd.address(), None, version=version))
    httpd.spool.withdraw("default.test")


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_each_mpm(mpm: str, make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make_httpd(mpm=mpm)
    httpd.vhost("rsa.test", credentials=[authority.issue("rsa.test", kind="rsa")])
    httpd.start()
    for version in ("1.2", "1.3"):
        publish_and_check(httpd, "rsa.test", lambda: client.handshake(httpd.address(), "rsa.test", version=version))
        assert_refused(httpd, "rsa.test", "no-entry")
    httpd.reload()
    publish_and_check(httpd, "rsa.test")


@pytest.mark.parametrize(
    "client_name, key", [("ecdsa-only", "EC-P256"), ("rsa-only", "RSA-2048"), ("p384-only", "EC-P384")]
)
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_answer_is_logged_with_its_key_and_all_else(httpd: Httpd, version: str, client_name: str, key: str) -> None:
    before = len(httpd.log.find(ANSWERED))
    publish_and_check(httpd, "rsa.test", openssl_client(httpd, "rsa.test", version, *CLIENTS[client_name][0]))
    (record,) = httpd.log.find(ANSWERED)[before:]
    assert record.level == "info"
    assert re.fullmatch(
        r"\[client [\d.:]+\] AALPN0101: answered: identifier=rsa\.test peer=127\.0\.0\.1:\d+ vhost=rsa\.test "
        rf"tls=TLSv{re.escape(version)} duration=\d+\.\d{{3}}ms source=spool key={key}",
        record.text,
    )
