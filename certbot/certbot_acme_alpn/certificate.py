# SPDX-License-Identifier: Apache-2.0
"""What a CA checks in the certificate served (RFC 8737 §3, and Boulder where it is stricter)."""
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from certbot_acme_alpn.identifier import Identifier
from certbot_acme_alpn.problem import OrdinaryCertificate, Problem
from certbot_acme_alpn.spool import Entry

ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
OCTET_STRING_OF_32 = b"\x04\x20"

ANOTHER_RESPONDER = ("a server in front of httpd, or another module, answered instead of "
                     "mod_acme_alpn")


def verify(der: bytes, entry: Entry) -> None:
    """Raise PluginError with the first thing for which a CA would refuse the certificate."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        extensions = certificate.extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise Problem(f"the certificate served cannot be read as a CA would read it ({error})",
                      ANOTHER_RESPONDER) from error
    _verify_digest(certificate, extensions, entry.digest)
    _verify_name(extensions, entry.identifier)
    _verify_signature(certificate)


def _verify_digest(certificate: x509.Certificate, extensions: x509.Extensions,
                   digest: bytes) -> None:
    try:
        extension = extensions.get_extension_for_oid(ACME_IDENTIFIER)
    except x509.ExtensionNotFound as error:
        raise OrdinaryCertificate(
            "the server sent an ordinary certificate over acme-tls/1 (subject "
            f"{certificate.subject.rfc4514_string()!r})", ANOTHER_RESPONDER) from error
    if not extension.critical:
        raise Problem("acmeIdentifier in the certificate served is not critical", ANOTHER_RESPONDER)
    served, expected = extension.value.public_bytes(), OCTET_STRING_OF_32 + digest
    if served != expected:
        raise Problem(
            "the certificate served is for another key authorization",
            "another ACME client has an entry for this name, httpd reads another spool, or another "
            "server answers in front of httpd. acmeIdentifier is "
            f"{served.hex()}, and not {expected.hex()}")


def _verify_name(extensions: x509.Extensions, identifier: Identifier) -> None:
    expected: x509.GeneralName = (
        x509.DNSName(identifier.text) if identifier.address is None
        else x509.IPAddress(identifier.address))
    try:
        names = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        names = []
    if names != [expected]:
        raise Problem(
            f"the subjectAltName of the certificate served is {names} instead of {expected} alone",
            ANOTHER_RESPONDER)


def _verify_signature(certificate: x509.Certificate) -> None:
    signed, signature = certificate.tbs_certificate_bytes, certificate.signature
    try:
        key = certificate.public_key()
        # Compare the encodings, as a CA does: == ignores the types of strings.
        if certificate.issuer.public_bytes() != certificate.subject.public_bytes():
            raise InvalidSignature
        algorithm = certificate.signature_hash_algorithm
        if isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
            key.verify(signature, signed, ec.ECDSA(algorithm))
        elif isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
        else:
            raise UnsupportedAlgorithm(certificate.signature_algorithm_oid.dotted_string)
    except InvalidSignature as error:
        raise Problem("the certificate served is not signed with its own key, which a CA requires",
                      ANOTHER_RESPONDER) from error
    except UnsupportedAlgorithm as error:
        raise Problem(f"the signature of the certificate served cannot be verified ({error})",
                      "mod_acme_alpn signs with ECDSA or RSA (PKCS #1 v1.5)") from error
