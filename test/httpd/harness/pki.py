"""A throw-away CA and the certificates that it issues for vhosts, clients and other servers."""

from __future__ import annotations

import datetime
import ipaddress
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Union

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# cryptography's own name for it was not there yet in Debian 11, and has changed since.
PrivateKey = Union[ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey]

KEY_TYPES: dict[str, Callable[[], PrivateKey]] = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
}

SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class Credential:
    """A certificate and its key as files that httpd can load."""

    certificate: Path
    key: Path

    @property
    def x509(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate.read_bytes())

    @property
    def pem(self) -> bytes:
        return self.certificate.read_bytes() + self.key.read_bytes()

    @property
    def der(self) -> bytes:
        return self.x509.public_bytes(serialization.Encoding.DER)


@lru_cache(maxsize=None)
def make_key(kind: str) -> PrivateKey:
    """One key of each type for the whole process: nothing here depends on keys being different."""
    return KEY_TYPES[kind]()


def general_name(identifier: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(identifier))
    except ValueError:
        return x509.DNSName(identifier)


def common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


MONTH = datetime.timedelta(days=30)


def unsigned(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, rest: datetime.timedelta = MONTH
) -> x509.CertificateBuilder:
    """A certificate that lacks its extensions and its signature."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + rest)
    )


def _digest(key: PrivateKey) -> hashes.HashAlgorithm:
    """The hash to sign a certificate with: as strong as the certificate's key."""
    strong = isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size > 256
    return hashes.SHA384() if strong else hashes.SHA256()


class Authority:
    """A CA whose files lie in one directory; each certificate is made once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._subject = common_name("harness root")
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._issued: dict[tuple[str, ...], Credential] = {}
        self._lock = threading.Lock()
        builder = (
            unsigned(self._subject, self._subject, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(SIGNS_CERTIFICATES, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        )
        self.root = self._store("root", builder, self._key).certificate

    def issue(self, *names: str, kind: str = "p256", rest: datetime.timedelta = MONTH) -> Credential:
        """A certificate for these DNS names and IP addresses, for servers and clients; `rest` is how long it lasts."""
        # Two threads that want the same would write two files, the second of which the next certificate overwrites.
        with self._lock:
            return self._issue_once(names, kind, rest)

    def _issue_once(self, names: tuple[str, ...], kind: str, rest: datetime.timedelta) -> Credential:
        wanted = (kind, str(rest), *names)
        if wanted not in self._issued:
            key = make_key(kind)
            builder = (
                unsigned(common_name(names[0][:64]), self._subject, key, rest)
                .add_extension(x509.SubjectAlternativeName(map(general_name, names)), critical=False)
                .add_extension(
                    x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
                )
                .add_extension(
                    x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                    critical=False,
                )
            )
            self._issued[wanted] = self._store(f"{kind}-{len(self._issued)}", builder, key)
        return self._issued[wanted]

    def _store(self, stem: str, builder: x509.CertificateBuilder, key: PrivateKey) -> Credential:
        pem = serialization.Encoding.PEM
        credential = Credential(self.directory / f"{stem}.pem", self.directory / f"{stem}.key")
        credential.certificate.write_bytes(builder.sign(self._key, _digest(key)).public_bytes(pem))
        credential.key.write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        credential.key.chmod(0o600)
        return credential
