"""Every check that a CA makes of the certificate: the right one passes, each fault is named."""
import re
from typing import Optional, Sequence

import pytest
from certbot import errors
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.name import _ASN1Type

from certbot_acme_alpn import certificate, identifier
from certbot_acme_alpn.spool import Entry
from challenge_certificates import (
    KEY_AUTHORIZATION, OTHER_KEY_AUTHORIZATION, common_name, issue, value_for)


def verify(der: bytes, name: str = "a.example") -> None:
    certificate.verify(der, Entry(identifier.parse(name), KEY_AUTHORIZATION))


@pytest.mark.parametrize("name", ["a.example", "192.0.2.1", "2001:db8::1"])
def test_right(name: str) -> None:
    verify(issue([name]).der, name)


@pytest.mark.parametrize("key", [
    ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)])
def test_right_with_other_keys(key) -> None:
    verify(issue(["a.example"], key=key).der)


@pytest.mark.parametrize("names, server", [
    (["b.example"], "a.example"),
    (["a.example", "b.example"], "a.example"),
    (["a.example", "a.example"], "a.example"),
    (["A.example"], "a.example"),
    ([], "a.example"),
    (["1.2.0.192.in-addr.arpa"], "192.0.2.1"),
    (["192.0.2.2"], "192.0.2.1"),
    (["::ffff:192.0.2.1"], "192.0.2.1"),
])
def test_wrong_names(names: Sequence[str], server: str) -> None:
    with pytest.raises(errors.PluginError, match="^the subjectAltName of the certificate served"):
        verify(issue(names).der, server)


@pytest.mark.parametrize("value, reason", [
    (None, "an ordinary certificate was served over acme-tls/1 \\(subject 'CN=challenge'\\)"),
    (value_for(OTHER_KEY_AUTHORIZATION), "is for another key authorization"),
    (value_for(KEY_AUTHORIZATION)[2:], "is for another key authorization"),
    (value_for(KEY_AUTHORIZATION) + b"\0", "is for another key authorization"),
    (b"", "is for another key authorization"),
])
def test_wrong_digests(value: Optional[bytes], reason: str) -> None:
    with pytest.raises(errors.PluginError, match=reason):
        verify(issue(["a.example"], value).der)


def test_both_digests_are_shown() -> None:
    shown, wanted = value_for(OTHER_KEY_AUTHORIZATION), value_for(KEY_AUTHORIZATION)
    with pytest.raises(errors.PluginError, match=f"is {shown.hex()}, and not {wanted.hex()}"):
        verify(issue(["a.example"], shown).der)


def test_not_critical() -> None:
    with pytest.raises(errors.PluginError, match="acmeIdentifier .* is not critical"):
        verify(issue(["a.example"], critical=False).der)


def test_signed_by_another_key() -> None:
    with pytest.raises(errors.PluginError, match="not signed with its own key"):
        verify(issue(["a.example"], signer=ec.generate_private_key(ec.SECP256R1())).der)


@pytest.mark.parametrize("issuer", [
    common_name("another"), common_name("Challenge"), common_name("challenge "),
    common_name("challenge", _ASN1Type.PrintableString)])
def test_another_issuer(issuer: x509.Name) -> None:
    """A CA compares the names byte by byte."""
    with pytest.raises(errors.PluginError, match="not signed with its own key"):
        verify(issue(["a.example"], issuer=issuer).der)


def test_a_key_that_cannot_be_verified() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    issued = issue(["a.example"], signer=ec.generate_private_key(ec.SECP256R1()), key=key)
    with pytest.raises(errors.PluginError, match="cannot be verified .*: it is neither ECDSA nor"):
        verify(issued.der)


def test_a_repeated_extension() -> None:
    # The builder refuses to repeat one, so another of the same length becomes the same by its OID.
    last, repeated = b"\x2b\x06\x01\x05\x05\x07\x01\x1e", b"\x2b\x06\x01\x05\x05\x07\x01\x1f"
    other = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.30"), b"\x04\x00")
    der = issue(["a.example"], more=[other]).der
    verify(der)
    assert der.count(last) == 1
    with pytest.raises(errors.PluginError, match="cannot be read as a CA would .*[Dd]uplicate"):
        verify(der.replace(last, repeated))


@pytest.mark.parametrize("der", [b"", b"\x30\x00", b"no certificate"])
def test_garbage(der: bytes) -> None:
    with pytest.raises(errors.PluginError, match=re.escape("cannot be read as a CA would read")):
        verify(der)
