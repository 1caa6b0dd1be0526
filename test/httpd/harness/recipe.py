"""Challenge certificates made to order, right ones and those that a CA must refuse."""

from __future__ import annotations

import datetime
import secrets
from dataclasses import dataclass, field

from asn1crypto import x509 as asn1_x509  # type: ignore[import]
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from .checker import ACME_IDENTIFIER, SUBJECT_ALT_NAME, san
from .pki import PrivateKey, common_name, make_key

NAME = "example.test"
DIGEST = bytes(range(32))
DAY = datetime.timedelta(days=1)
HOUR = datetime.timedelta(hours=1)


def extension(oid: str, value: bytes, critical: bool) -> x509.Extension[x509.UnrecognizedExtension]:
    identifier = x509.ObjectIdentifier(oid)
    return x509.Extension(identifier, critical, x509.UnrecognizedExtension(identifier, value))


@dataclass
class Recipe:
    """A right challenge certificate, unless something is replaced."""

    subject: str = "challenge"
    issuer: str = "challenge"
    serial: int = field(default_factory=lambda: secrets.randbits(128) | 1 << 127)
    begin: datetime.timedelta = -HOUR
    end: datetime.timedelta = 7 * DAY
    extensions: tuple[tuple[str, bytes, bool], ...] = (
        (SUBJECT_ALT_NAME, san(NAME), False),
        (ACME_IDENTIFIER, b"\x04\x20" + DIGEST, True),
    )
    kind: str = "p256"
    signer: PrivateKey | None = None
    algorithm: hashes.HashAlgorithm = field(default_factory=hashes.SHA256)

    def build(self) -> bytes:
        key = make_key(self.kind)
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(common_name(self.subject) if self.subject else x509.Name([]))
            .issuer_name(common_name(self.issuer) if self.issuer else x509.Name([]))
            .public_key(key.public_key())
            .serial_number(self.serial)
            .not_valid_before(now + self.begin)
            .not_valid_after(now + self.end)
        )
        for oid, value, critical in self.extensions:
            made = extension(oid, value, critical)
            builder = builder.add_extension(made.value, made.critical)
        return builder.sign(self.signer or key, self.algorithm).public_bytes(Encoding.DER)

    def private_key_pem(self) -> bytes:
        return make_key(self.kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def resigned(der: bytes, change: str) -> bytes:
    """Change what cryptography refuses to build, and sign it again."""
    certificate = asn1_x509.Certificate.load(der)
    body = certificate["tbs_certificate"]
    if change == "repeated":
        body["extensions"].append(body["extensions"][0].copy())
    elif change == "version":
        body["version"] = "v1"
        del body["extensions"]
    elif change == "serial":
        body["serial_number"] = -(1 << 100)
    key = make_key("p256")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signature = key.sign(body.dump(force=True), ec.ECDSA(hashes.SHA256()))
    return bytes(
        asn1_x509.Certificate(
            {
                "tbs_certificate": body,
                "signature_algorithm": certificate["signature_algorithm"],
                "signature_value": signature,
            }
        ).dump(force=True)
    )


RIGHT = Recipe()
SAN, ACME = RIGHT.extensions
