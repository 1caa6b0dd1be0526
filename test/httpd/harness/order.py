"""An order that is made step by step, with the ACME library that certbot brings: for responders that know no ACME."""

from __future__ import annotations

import datetime

import josepy
from acme import client, messages
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from . import poll
from .acme import Pebble
from .pki import common_name, general_name, make_key
from .spool import KeyAuthorization

TYPE = "tls-alpn-01"
ISSUED_WITHIN = datetime.timedelta(seconds=60)
_KEY_BITS = 2048


def _request(name: str) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(common_name(name))
    names = x509.SubjectAlternativeName([general_name(name)])
    request = builder.add_extension(names, critical=False).sign(make_key("p256"), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


class Order:
    """For one name: the CA has been told of it, and waits for its challenge."""

    def __init__(self, pebble: Pebble, name: str) -> None:
        account = josepy.JWKRSA(key=rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS))
        network = client.ClientNetwork(account, verify_ssl=str(pebble.trust))
        directory = messages.Directory.from_json(network.get(pebble.url).json())
        self._client = client.ClientV2(directory, network)
        self._client.new_account(messages.NewRegistration.from_data(terms_of_service_agreed=True))
        self._order = self._client.new_order(_request(name))
        offered = self._order.authorizations[0].body.challenges
        self._challenge = next(body for body in offered if body.chall.typ == TYPE)
        self._response = self._challenge.response(account)
        self.key_authorization = KeyAuthorization(self._response.key_authorization)

    def finish(self) -> x509.Certificate:
        """Let the CA validate, and get the certificate; acme.errors.Error where it does not."""
        self._client.answer_challenge(self._challenge, self._response)
        deadline = datetime.datetime.now() + ISSUED_WITHIN * poll.FACTOR
        issued = self._client.poll_and_finalize(self._order, deadline)
        return x509.load_pem_x509_certificate(issued.fullchain_pem.encode())
