"""A real client gets real certificates from a real CA, while httpd goes on serving."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import StartHttpd
from cryptography import x509
from harness import client
from harness.acme import Certbot, Pebble
from harness.challenge import REFUSED
from harness.issuance import NAMES, SITE, assert_validated, issued, names_of, options, undisturbed
from harness.pki import Authority
from harness.server import Httpd

pytestmark = pytest.mark.flaky(reruns=2)

NO_VHOST = "nowhere.test"


@pytest.fixture
def httpd(make_httpd: StartHttpd, authority: Authority) -> Httpd:
    httpd = make_httpd()
    httpd.listen("second")
    for listener in httpd.listeners:
        for name in (SITE, *NAMES):
            httpd.vhost(name, credentials=[authority.issue(name)], listener=listener)
    return httpd.start()


@pytest.fixture
def pebble(httpd: Httpd, tmp_path: Path, authority: Authority) -> Iterator[Pebble]:
    with Pebble(tmp_path, authority, httpd.address()[1]) as running:
        yield running


@pytest.fixture
def certbot(pebble: Pebble, plugin: Path, tmp_path: Path) -> Certbot:
    return Certbot(tmp_path / "certbot", plugin, pebble)


def assert_succeeded(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout


def test_three_names_in_one_order(httpd: Httpd, certbot: Certbot, pebble: Pebble, authority: Authority) -> None:
    with undisturbed(httpd, authority):
        assert_succeeded(certbot.certonly(NAMES, *options(httpd, "main")))
    assert pebble.validations() == len(NAMES)
    assert names_of(issued(certbot, NAMES[0])) == set(NAMES)
    assert_validated(httpd, NAMES, checks=1)


def test_name_that_has_no_vhost(httpd: Httpd, certbot: Certbot, authority: Authority) -> None:
    with undisturbed(httpd, authority):
        assert_succeeded(certbot.certonly([NO_VHOST], *options(httpd, "main")))
    assert names_of(issued(certbot, NO_VHOST)) == {NO_VHOST}
    assert_validated(httpd, (NO_VHOST,), checks=1)


def test_two_renewals_keep_the_repeated_option(
    httpd: Httpd, certbot: Certbot, pebble: Pebble, authority: Authority
) -> None:
    with undisturbed(httpd, authority):
        assert_succeeded(certbot.certonly(NAMES[:2], *options(httpd, "main", "second")))
        serials = {issued(certbot, NAMES[0]).serial_number}
        for _ in range(2):
            assert_succeeded(certbot.run("renew", "--force-renewal", "--no-random-sleep-on-renew"))
            serials.add(issued(certbot, NAMES[0]).serial_number)
    assert len(serials) == 3
    assert_validated(httpd, NAMES[:2], checks=2, validated=pebble.validated())


def test_issued_certificate_is_served_after_a_reload(
    httpd: Httpd, certbot: Certbot, pebble: Pebble, authority: Authority, tmp_path: Path
) -> None:
    name = NAMES[0]
    with undisturbed(httpd, authority):
        assert_succeeded(certbot.certonly([name], *options(httpd, "main")))
    live = certbot.live(name)
    vhost = next(vhost for vhost in httpd.vhosts if name in vhost.names)
    vhost.credentials = ()
    vhost.lines = [f"SSLCertificateFile {live}/fullchain.pem", f"SSLCertificateKeyFile {live}/privkey.pem"]
    httpd.reload()
    trust = tmp_path / "pebble-root.pem"
    trust.write_bytes(pebble.root())
    response = client.https_get(httpd.address(), name, trust)
    assert x509.load_der_x509_certificate(response.certificate) == issued(certbot, name)
    assert_validated(httpd, (name,), checks=1)


def test_wrong_check_address_fails_before_the_ca_is_asked(
    httpd: Httpd, certbot: Certbot, pebble: Pebble, authority: Authority
) -> None:
    other = httpd.root / "other"
    other.mkdir(mode=0o755)
    with undisturbed(httpd, authority):
        done = certbot.certonly(
            [SITE], f"--acme-alpn-spool={other}", f"--acme-alpn-check={httpd.listeners['main']}"
        )
    assert done.returncode == 1 and "The CA was not asked" in done.stdout
    assert pebble.validations() == 0
    assert list(other.iterdir()) == []
    httpd.log.expect(REFUSED, f"identifier={SITE} .* reason=no-entry ")
    httpd.log.allow(REFUSED, f"identifier={SITE} .* reason=no-entry ")
