"""Challenge certificates, right ones and ones with a single fault, and TLS contexts with them."""
import contextlib
import datetime
import hashlib
import ipaddress
import ssl
import tempfile
from typing import Iterator, NamedTuple, Optional, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
KEY_AUTHORIZATION = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA." + "A" * 43
OTHER_KEY_AUTHORIZATION = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA." + "B" * 43


class Issued(NamedTuple):
    """A certificate, and itself with its private key."""

    der: bytes
    pem: bytes


def value_for(key_authorization: str) -> bytes:
    return b"\x04\x20" + hashlib.sha256(key_authorization.encode()).digest()


def general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def common_name(text: str, kind: _ASN1Type = _ASN1Type.UTF8String) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text, kind)])


def issue(names: Sequence[str], acme_identifier: Optional[bytes] = value_for(KEY_AUTHORIZATION),
          critical: bool = True, issuer: x509.Name = common_name("challenge"), key=None, signer=None,
          more: Sequence[x509.ExtensionType] = ()) -> Issued:
    """By default the right challenge certificate for the only name; None leaves a part out."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    today = datetime.datetime(2020, 1, 1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(common_name("challenge"))
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(today).not_valid_after(today + datetime.timedelta(days=36500))
        .public_key(key.public_key()))
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([general_name(name) for name in names]), critical=False)
    if acme_identifier is not None:
        builder = builder.add_extension(
            x509.UnrecognizedExtension(ACME_IDENTIFIER, acme_identifier), critical=critical)
    for extension in more:
        builder = builder.add_extension(extension, critical=False)
    certificate = builder.sign(signer or key, hashes.SHA256())
    return Issued(
        certificate.public_bytes(serialization.Encoding.DER),
        certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()))


@contextlib.contextmanager
def pem_file(issued: Issued) -> Iterator[str]:
    """The path of a file with the key and the certificate."""
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(issued.pem)
        file.flush()
        yield file.name


def context(issued: Issued, protocols: Sequence[str] = ("acme-tls/1",)) -> ssl.SSLContext:
    """What a server needs to serve the certificate."""
    result = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pem_file(issued) as file:
        result.load_cert_chain(file)
    if protocols:
        result.set_alpn_protocols(list(protocols))
    return result
