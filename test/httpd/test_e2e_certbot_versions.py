"""The certbots that are not Debian's, from 2.11 to the newest, each with the plugin of this repository."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import registries
from harness.acme import Certbot, Pebble
from harness.issuance import NAMES, assert_validated, issued, names_of, options, undisturbed
from harness.pki import Authority
from harness.server import Httpd

pytestmark = pytest.mark.flaky(reruns=2)

ADDRESS = "127.0.0.1"
RENEWALS = 2


def renew_and_compare(certbot: Certbot, name: str) -> None:
    serials = {issued(certbot, name).serial_number}
    for _ in range(RENEWALS):
        done = certbot.run("renew", "--force-renewal", "--no-random-sleep-on-renew")
        assert done.returncode == 0, done.stdout
        serials.add(issued(certbot, name).serial_number)
    assert len(serials) == 1 + RENEWALS


@pytest.mark.parametrize("version", ["2.11", pytest.param("4", marks=pytest.mark.long), "5"])
def test_two_names_and_two_renewals(
    version: str, httpd: Httpd, pebble: Pebble, plugin: Path, authority: Authority, tmp_path: Path
) -> None:
    certbot = Certbot(tmp_path / "certbot", plugin, pebble, [str(registries.certbot(version))])
    assert f"certbot {version}." in certbot.run("--version").stdout
    names, before = NAMES[:2], pebble.validated()
    with undisturbed(httpd, authority):
        done = certbot.certonly(names, *options(httpd, "main", "second"))
        assert done.returncode == 0, done.stdout
        renew_and_compare(certbot, names[0])
    assert names_of(issued(certbot, names[0])) == set(names)
    assert_validated(httpd, names, checks=2, validated=pebble.validated() - before)


def test_ip_address(httpd: Httpd, plugin: Path, authority: Authority, tmp_path: Path) -> None:
    program = registries.certbot("5")
    with Pebble(tmp_path, authority, httpd.address()[1], registries.newest_pebble()) as pebble:
        certbot = Certbot(tmp_path / "certbot", plugin, pebble, [str(program)])
        with undisturbed(httpd, authority):
            done = certbot.certonly([], f"--ip-address={ADDRESS}", *options(httpd, "main"))
            assert done.returncode == 0, done.stdout
            renew_and_compare(certbot, ADDRESS)
        validated = pebble.validated()
    assert names_of(issued(certbot, ADDRESS)) == {ADDRESS}
    assert_validated(httpd, [ADDRESS], checks=1, validated=validated)
