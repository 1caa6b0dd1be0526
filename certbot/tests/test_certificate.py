"""Every check that a CA makes of the certificate: the right one passes, each fault is named."""
import pytest
from certbot import errors
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.name import _ASN1Type

from certbot_acme_alpn import certificate, identifier
from certbot_acme_alpn.spool import Entry
from challenge_certificates import (
    KEY_AUTHORIZATION, OTHER_KEY_AUTHORIZATION, common_name, issue, value_for)

RIGHT, OTHER = value_for(KEY_AUTHORIZATION), value_for(OTHER_KEY_AUTHORIZATION)
STRANGER = ec.generate_private_key(ec.SECP256R1())

WRONG_NAME = "^the subjectAltName of the certificate served"
WRONG_DIGEST = "is for another key authorization"
NOT_SIGNED = "not signed with its own key"


def verify(der: bytes, name: str = "a.example") -> None:
    certificate.verify(der, Entry(identifier.parse(name), KEY_AUTHORIZATION))


@pytest.mark.parametrize("name, key", [
    ("a.example", None), ("192.0.2.1", None), ("2001:db8::1", None),
    ("a.example", ec.generate_private_key(ec.SECP384R1())),
    ("a.example", rsa.generate_private_key(65537, 2048)),
])
def test_right(name: str, key) -> None:
    verify(issue([name], key=key).der, name)


@pytest.mark.parametrize("name, names, more, problem", [
    ("a.example", ["b.example"], {}, WRONG_NAME),
    ("a.example", ["a.example", "b.example"], {}, WRONG_NAME),
    ("a.example", ["a.example", "a.example"], {}, WRONG_NAME),
    ("a.example", ["A.example"], {}, WRONG_NAME),
    ("a.example", [], {}, WRONG_NAME),
    ("192.0.2.1", ["1.2.0.192.in-addr.arpa"], {}, WRONG_NAME),
    ("192.0.2.1", ["192.0.2.2"], {}, WRONG_NAME),
    ("192.0.2.1", ["::ffff:192.0.2.1"], {}, WRONG_NAME),
    ("a.example", ["a.example"], {"acme_identifier": None},
     r"ordinary certificate over acme-tls/1 \(subject 'CN=challenge'\)"),
    ("a.example", ["a.example"], {"acme_identifier": OTHER},
     f"{WRONG_DIGEST}: .* acmeIdentifier is {OTHER.hex()}, and not {RIGHT.hex()}"),
    ("a.example", ["a.example"], {"acme_identifier": RIGHT[2:]}, WRONG_DIGEST),
    ("a.example", ["a.example"], {"acme_identifier": RIGHT + b"\0"}, WRONG_DIGEST),
    ("a.example", ["a.example"], {"acme_identifier": b""}, WRONG_DIGEST),
    ("a.example", ["a.example"], {"critical": False}, "acmeIdentifier .* is not critical"),
    ("a.example", ["a.example"], {"signer": STRANGER}, NOT_SIGNED),
    # A CA compares the names byte by byte.
    ("a.example", ["a.example"], {"issuer": common_name("another")}, NOT_SIGNED),
    ("a.example", ["a.example"], {"issuer": common_name("Challenge")}, NOT_SIGNED),
    ("a.example", ["a.example"],
     {"issuer": common_name("challenge", _ASN1Type.PrintableString)}, NOT_SIGNED),
    ("a.example", ["a.example"],
     {"signer": STRANGER, "key": ed25519.Ed25519PrivateKey.generate()},
     "cannot be verified .*: .*ECDSA"),
])
def test_faults(name: str, names: list, more: dict, problem: str) -> None:
    with pytest.raises(errors.PluginError, match=problem):
        verify(issue(names, **more).der, name)


def test_a_repeated_extension() -> None:
    # The builder refuses to repeat one, so another of the same length becomes the same by its OID.
    last, repeated = b"\x2b\x06\x01\x05\x05\x07\x01\x1e", b"\x2b\x06\x01\x05\x05\x07\x01\x1f"
    other = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.30"), b"\x04\x00")
    der = issue(["a.example"], more=[other]).der
    verify(der)
    with pytest.raises(errors.PluginError, match="cannot be read as a CA would .*[Dd]uplicate"):
        verify(der.replace(last, repeated))


@pytest.mark.parametrize("der", [b"", b"\x30\x00", b"no certificate"])
def test_garbage(der: bytes) -> None:
    with pytest.raises(errors.PluginError, match="cannot be read as a CA would read"):
        verify(der)
