"""The checker finds each single thing that can be wrong with an answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from asn1crypto import x509 as asn1_x509  # type: ignore[import]
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from harness.checker import ACME_IDENTIFIER, SUBJECT_ALT_NAME, WrongAnswer, check_answer, check_certificate, san
from harness.client import Answer
from harness.recipe import ACME, DAY, DIGEST, HOUR, NAME, RIGHT, SAN, Recipe, resigned

WRONG = {
    "issuer": Recipe(issuer="somebody else"),
    "subject": Recipe(subject="", issuer=""),
    "serial": Recipe(serial=1),
    "extensions": Recipe(extensions=(SAN,)),
    "san": Recipe(extensions=((SUBJECT_ALT_NAME, san(NAME, "other.test"), False), ACME)),
    "critical": Recipe(extensions=(SAN, (*ACME[:2], False))),
    "digest": Recipe(extensions=(SAN, (ACME_IDENTIFIER, b"\x04\x20" + bytes(32), True))),
    "key": Recipe(kind="p521"),
    "hash": Recipe(algorithm=hashes.SHA512()),
    "signature": Recipe(signer=ec.generate_private_key(ec.SECP256R1())),
    "not-before": Recipe(begin=HOUR),
    "not-after": Recipe(end=90 * DAY),
}

MORE_WRONG = [
    ("extensions", Recipe(extensions=())),
    ("extensions", Recipe(extensions=(SAN, ACME, ("2.5.29.15", b"\x03\x02\x07\x80", True)))),
    ("san", Recipe(extensions=((SUBJECT_ALT_NAME, san(NAME.upper()), False), ACME))),
    ("san", Recipe(extensions=((SUBJECT_ALT_NAME, san("192.0.2.1"), False), ACME))),
    ("san", Recipe(extensions=((SUBJECT_ALT_NAME, san(NAME).replace(b"\x82", b"\x81"), False), ACME))),
    ("san", Recipe(extensions=((SUBJECT_ALT_NAME, san(NAME) + b"\x05\x00", False), ACME))),
    ("digest", Recipe(extensions=(SAN, (ACME_IDENTIFIER, DIGEST, True)))),
    ("digest", Recipe(extensions=(SAN, (ACME_IDENTIFIER, b"\x04\x20" + DIGEST + b"\x00", True)))),
    ("not-before", Recipe(begin=-3 * DAY)),
    ("not-after", Recipe(end=HOUR)),
]


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384"])
def test_right_certificate_of_each_key_type_passes(kind: str) -> None:
    check_certificate(Recipe(kind=kind).build(), NAME, DIGEST)


@pytest.mark.parametrize("identifier", ["192.0.2.7", "2001:db8::7", "xn--bcher-kva.test", "a" * 63 + ".test"])
def test_right_certificate_of_each_identifier_passes(identifier: str) -> None:
    recipe = replace(RIGHT, extensions=((SUBJECT_ALT_NAME, san(identifier), False), ACME))
    check_certificate(recipe.build(), identifier, DIGEST)


@pytest.mark.parametrize("check, recipe", [*WRONG.items(), *MORE_WRONG])
def test_wrong_certificate_is_found(check: str, recipe: Recipe) -> None:
    with pytest.raises(WrongAnswer) as raised:
        check_certificate(recipe.build(), NAME, DIGEST)
    assert raised.value.check == check


@pytest.mark.parametrize(
    "check, change", [("repeated-extension", "repeated"), ("version", "version"), ("serial", "serial")]
)
def test_certificate_that_no_library_builds_is_found(check: str, change: str) -> None:
    check_certificate(resigned(RIGHT.build(), "nothing"), NAME, DIGEST)
    with pytest.raises(WrongAnswer) as raised:
        check_certificate(resigned(RIGHT.build(), change), NAME, DIGEST)
    assert raised.value.check == check


def test_different_signature_algorithms_are_found() -> None:
    certificate = asn1_x509.Certificate.load(RIGHT.build())
    certificate["signature_algorithm"]["algorithm"] = "sha384_ecdsa"
    with pytest.raises(WrongAnswer) as raised:
        check_certificate(certificate.dump(force=True), NAME, DIGEST)
    assert raised.value.check == "signature-algorithm"


@pytest.mark.parametrize(
    "der",
    [b"", b"\x30\x00", RIGHT.build() + b"\x00", RIGHT.build()[:-1]],
    ids=["nothing", "empty-sequence", "trailing-byte", "cut-short"],
)
def test_what_is_no_certificate_is_found(der: bytes) -> None:
    with pytest.raises(WrongAnswer) as raised:
        check_certificate(der, NAME, DIGEST)
    assert raised.value.check == "der"


def test_answer_around_the_certificate() -> None:
    right = Answer(alpn="acme-tls/1", chain=(RIGHT.build(),))
    check_answer(right, NAME, DIGEST)
    wrong = {
        "alpn": replace(right, alpn="http/1.1"),
        "chain": replace(right, chain=right.chain * 2),
        "resumed": replace(right, resumed=True),
        "handshake": replace(right, alert=40),
    }
    for check, answer in wrong.items():
        with pytest.raises(WrongAnswer) as raised:
            check_answer(answer, NAME, DIGEST)
        assert raised.value.check == check
