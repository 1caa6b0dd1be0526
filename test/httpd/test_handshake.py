"""Which certificate an answer is, and what is logged of it; test_limits.py has all kinds of clients and vhosts."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import StartHttpd, start_vhost
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from harness import client
from harness.challenge import ANSWERED, Handshake, assert_answered, assert_refused, publish_and_check
from harness.checker import check_answer
from harness.pki import Authority
from harness.server import Httpd

EC = (ec.EllipticCurvePublicKey,)
RSA = (rsa.RSAPublicKey,)
NAME = "default.test"

# s_client's options, and the key that the answer has to have.
CLIENTS = {
    "ecdsa-only": (["-sigalgs", "ECDSA+SHA256:ECDSA+SHA384"], "EC-P256"),
    "rsa-only": (["-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"], "RSA-2048"),
    "p384-only": (["-sigalgs", "ECDSA+SHA384", "-groups", "P-384"], "EC-P384"),
    # What Go's crypto/tls offers, and with it most of what validates for CAs.
    "go": (
        ["-sigalgs", "RSA-PSS+SHA256:ECDSA+SHA256:ed25519:RSA-PSS+SHA384:RSA+SHA256:RSA+SHA384:ECDSA+SHA384"],
        "EC-P256",
    ),
}


@pytest.fixture(scope="module")
def server(make_shared_httpd: StartHttpd, authority: Authority) -> Httpd:
    httpd = make_shared_httpd(modules=["http2"])
    httpd.vhost(NAME, credentials=[authority.issue(NAME, kind="rsa")])
    return httpd.start()


def openssl_client(httpd: Httpd, name: str, version: str, *options: str) -> Handshake:
    option = "-tls" + version.replace(".", "_")
    return lambda: client.s_client(httpd.address(), name, option, *options)


@pytest.mark.parametrize("ours, keys", [("ECDHE-RSA-AES128-GCM-SHA256", RSA), ("ECDHE-ECDSA-AES128-GCM-SHA256", EC)])
@pytest.mark.parametrize("theirs", ["ECDHE-ECDSA-NULL-SHA", "ECDHE-RSA-NULL-SHA"])
def test_key_goes_with_the_ciphers_that_we_have(httpd: Httpd, ours: str, keys: tuple[type, ...], theirs: str) -> None:
    """The client's first cipher would want another type of key, but is none of ours."""
    shake = openssl_client(httpd, NAME, "1.2", "-cipher", f"{theirs}:{ours}:@SECLEVEL=0")
    assert isinstance(served_key(publish_and_check(httpd, NAME, shake)), keys)


def served_key(answer: client.Answer) -> object:
    return x509.load_der_x509_certificate(answer.leaf).public_key()


def test_first_clients_of_a_child_wait_for_its_key(make_httpd: StartHttpd, authority: Authority) -> None:
    """A child generates RSA at its first use, which takes longer than all these need to begin."""
    httpd = make_httpd()
    httpd.server_lines += ["StartServers 1", "MinSpareThreads 1", "MaxSpareThreads 8"]
    start_vhost(httpd, NAME, authority)
    value = httpd.spool.publish(NAME)
    shake = openssl_client(httpd, NAME, "1.3", *CLIENTS["rsa-only"][0])
    with ThreadPoolExecutor(8) as clients:
        answers = [clients.submit(shake) for _ in range(8)]
    for answer in answers:
        check_answer(answer.result(), NAME, value.digest)
        httpd.log.expect(ANSWERED, f"identifier={NAME} ")


def test_each_digest_has_a_certificate_of_its_own(httpd: Httpd) -> None:
    serials = set()
    for _ in range(5):
        key_authorization = httpd.spool.publish(NAME)
        answer = assert_answered(httpd, NAME, key_authorization)
        serials.add(check_answer(answer, NAME, key_authorization.digest).serial_number)
        httpd.spool.withdraw(NAME)
    assert len(serials) == 5


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_each_mpm(mpm: str, make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make_httpd(mpm=mpm)
    httpd.vhost(NAME, credentials=[authority.issue(NAME, kind="rsa")])
    httpd.start()
    for version in ("1.2", "1.3"):
        publish_and_check(httpd, NAME, lambda: client.handshake(httpd.address(), NAME, version=version))
        assert_refused(httpd, NAME, "no-entry")
    httpd.reload()
    publish_and_check(httpd, NAME)


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_answer_is_logged_with_its_key_and_all_else(httpd: Httpd, version: str, kind: str) -> None:
    before = len(httpd.log.find(ANSWERED))
    options, key = CLIENTS[kind]
    answer = publish_and_check(httpd, NAME, openssl_client(httpd, NAME, version, *options))
    assert isinstance(served_key(answer), RSA if key.startswith("RSA") else EC)
    (record,) = httpd.log.find(ANSWERED)[before:]
    assert record.level == "info"
    assert re.fullmatch(
        r"\[client [\d.:]+\] AALPN0101: answered: identifier=default\.test peer=127\.0\.0\.1:\d+ vhost=default\.test "
        rf"tls=TLSv{re.escape(version)} duration=\d+\.\d{{3}}ms source=spool key={key}",
        record.text,
    )
