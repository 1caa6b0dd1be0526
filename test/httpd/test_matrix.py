"""Each kind of first vhost, which mod_ssl starts every handshake with, whatever vhost the SNI then selects."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import StartHttpd, checked
from harness.challenge import publish_and_check
from harness.pki import Authority
from harness.server import Httpd
from test_handshake import CLIENTS, openssl_client, served_key

# The certificates of the first vhost of an address, and of the other one there. A first vhost with RSA
# before each kind of other is test_handshake's.
KINDS = {
    "p256": (("p256",), ("rsa",)),
    "p384": (("p384",), ("rsa", "p384")),
    "both": (("rsa", "p384"), ("p256",)),
}
NAMES = ("first.test", "nobody.test", "other.test", "any.wild.test")


@pytest.fixture(scope="module")
def server(make_shared_httpd: StartHttpd, authority: Authority) -> Httpd:
    httpd = make_shared_httpd()
    for listener, (first, other) in KINDS.items():
        httpd.listen(listener)
        for names, kinds in ((("first.test",), first), (("other.test", "*.wild.test"), other)):
            credentials = [authority.issue(*names, kind=kind) for kind in kinds]
            httpd.vhost(*names, credentials=credentials, listener=listener)
    return httpd.start()


@pytest.fixture
def httpd(server: Httpd) -> Iterator[Httpd]:
    with checked(server):
        yield server


@pytest.mark.parametrize("kind", ["go", "pss-first", "ecdsa-only", "rsa-only"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("listener", KINDS)
def test_challenge(httpd: Httpd, listener: str, name: str, version: str, kind: str) -> None:
    options, fitting = CLIENTS[kind]
    answer = publish_and_check(httpd, name, openssl_client(httpd, name, version, *options, listener=listener))
    assert answer.version == f"TLSv{version}"
    assert isinstance(served_key(answer), fitting)
