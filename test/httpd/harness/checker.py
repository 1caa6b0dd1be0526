"""Judge a challenge certificate as a strict CA does, with no code that the module shares.

The structure is read with asn1crypto, signatures are verified with cryptography. The checks are
those of RFC 8737 section 3 and RFC 8738 section 6, those that Boulder adds (self-signature,
subject and issuer, the SAN's DER byte for byte, no repeated extension), and what this project
promises beyond them (exactly one certificate, exactly two extensions, the validity).
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator

from asn1crypto import x509 as asn1_x509  # type: ignore[import]
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from .client import Answer

PROTOCOL = "acme-tls/1"
SUBJECT_ALT_NAME = "2.5.29.17"
ACME_IDENTIFIER = "1.3.6.1.5.5.7.1.31"

BACKDATED = datetime.timedelta(hours=1)
LIFETIME = datetime.timedelta(days=7)
CACHED = datetime.timedelta(days=1)
TOLERANCE = datetime.timedelta(minutes=5)

CURVES = (ec.SECP256R1, ec.SECP384R1)
HASHES = (hashes.SHA256, hashes.SHA384)


class WrongAnswer(AssertionError):
    """The answer is wrong; `check` names the check that failed."""

    def __init__(self, check: str, text: str) -> None:
        super().__init__(f"{check}: {text}")
        self.check = check


def check_answer(answer: Answer, identifier: str, digest: bytes) -> x509.Certificate:
    """Check a whole handshake, as a CA that validates `identifier` sees it."""
    if answer.alert is not None or answer.error:
        raise WrongAnswer("handshake", f"alert {answer.alert}, {answer.error}")
    if answer.alpn != PROTOCOL:
        raise WrongAnswer("alpn", f"{answer.alpn} was negotiated")
    if answer.resumed:
        raise WrongAnswer("resumed", "the session was resumed, which shows no certificate")
    if len(answer.chain) != 1:
        raise WrongAnswer("chain", f"{len(answer.chain)} certificates were served")
    return check_certificate(answer.chain[0], identifier, digest)


def check_certificate(der: bytes, identifier: str, digest: bytes) -> x509.Certificate:
    """Check one certificate against the identifier and the digest of its key authorization."""
    try:
        parsed = asn1_x509.Certificate.load(der, strict=True)
        version = parsed["tbs_certificate"]["version"].native
    except ValueError as error:
        raise WrongAnswer("der", str(error)) from None
    if version != "v3":
        raise WrongAnswer("version", str(version))
    _check_names(parsed)
    _check_serial(parsed)
    _check_extensions(parsed, identifier, digest)
    certificate = x509.load_der_x509_certificate(der)
    _check_signature(certificate, parsed)
    _check_validity(parsed)
    return certificate


def _check_names(parsed: asn1_x509.Certificate) -> None:
    subject, issuer = (parsed["tbs_certificate"][part] for part in ("subject", "issuer"))
    if subject.dump() != issuer.dump():
        raise WrongAnswer("issuer", f"{issuer.human_friendly!r} is not the subject {subject.human_friendly!r}")
    if not subject.native:
        raise WrongAnswer("subject", "it is empty")


def _check_serial(parsed: asn1_x509.Certificate) -> None:
    # RFC 5280 section 4.1.2.2: positive, 20 octets at most. A random one is practically never short.
    field = parsed["tbs_certificate"]["serial_number"]
    if field.native <= 0 or len(field.contents) > 20 or field.native.bit_length() < 32:
        raise WrongAnswer("serial", str(field.native))


def _check_extensions(parsed: asn1_x509.Certificate, identifier: str, digest: bytes) -> None:
    found = list(_extensions(parsed))
    names = [name for name, _, _ in found]
    if len(set(names)) != len(names):
        raise WrongAnswer("repeated-extension", ", ".join(names))
    if set(names) != {SUBJECT_ALT_NAME, ACME_IDENTIFIER}:
        raise WrongAnswer("extensions", ", ".join(names) or "none")
    values = {name: (critical, value) for name, critical, value in found}

    expected_san = san(identifier)
    if values[SUBJECT_ALT_NAME][1] != expected_san:
        raise WrongAnswer("san", f"{values[SUBJECT_ALT_NAME][1].hex()} instead of {expected_san.hex()}")
    critical, value = values[ACME_IDENTIFIER]
    if not critical:
        raise WrongAnswer("critical", "acmeIdentifier is not critical")
    # RFC 8737 section 3: Authorization ::= OCTET STRING (SIZE (32))
    if value != b"\x04\x20" + digest:
        raise WrongAnswer("digest", f"{value.hex()} instead of 0420{digest.hex()}")


def san(*identifiers: str) -> bytes:
    """The value of the extension with these names, which is a dNSName or iPAddress each."""
    return bytes(asn1_x509.GeneralNames([_general_name(identifier) for identifier in identifiers]).dump())


def _general_name(identifier: str) -> asn1_x509.GeneralName:
    try:
        return asn1_x509.GeneralName("ip_address", str(ipaddress.ip_address(identifier)))
    except ValueError:
        return asn1_x509.GeneralName("dns_name", identifier)


def _extensions(parsed: asn1_x509.Certificate) -> Iterator[tuple[str, bool, bytes]]:
    for extension in parsed["tbs_certificate"]["extensions"]:
        yield extension["extn_id"].dotted, extension["critical"].native, extension["extn_value"].contents


def _check_signature(certificate: x509.Certificate, parsed: asn1_x509.Certificate) -> None:
    if parsed["signature_algorithm"].dump() != parsed["tbs_certificate"]["signature"].dump():
        raise WrongAnswer("signature-algorithm", "inside and outside of the signed part differ")
    algorithm = certificate.signature_hash_algorithm
    if not isinstance(algorithm, HASHES):
        raise WrongAnswer("hash", algorithm.name if algorithm else "none")
    key = certificate.public_key()
    signed = certificate.signature, certificate.tbs_certificate_bytes
    try:
        if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
            key.verify(*signed, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, CURVES):
            key.verify(*signed, ec.ECDSA(algorithm))
        else:
            raise WrongAnswer("key", f"{type(key).__name__} of {getattr(key, 'key_size', '?')} bits")
    except InvalidSignature:
        raise WrongAnswer("signature", "its own key does not verify it") from None


def _check_validity(parsed: asn1_x509.Certificate) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    validity = parsed["tbs_certificate"]["validity"].native
    begin, end = validity["not_before"], validity["not_after"]
    minted = begin + BACKDATED
    if not now - CACHED - TOLERANCE <= minted <= now + TOLERANCE:
        raise WrongAnswer("not-before", f"{begin}, and it is {now}")
    if not minted + LIFETIME - TOLERANCE <= end <= minted + LIFETIME + TOLERANCE:
        raise WrongAnswer("not-after", f"{end}, with a begin of {begin}")
