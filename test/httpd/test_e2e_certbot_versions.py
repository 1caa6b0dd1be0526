"""The certbots that are not Debian's, from 2.11 to the newest, each with the plugin of this repository."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import registries
from harness.acme import Certbot, Pebble
from harness.issuance import assert_validated, issued, names_of, options, undisturbed
from harness.pki import Authority
from harness.server import Httpd
from test_e2e_certbot import (  # noqa: F401
    assert_succeeded,
    test_list_in_cli_ini_is_refused,
    test_two_renewals_keep_all_addresses,
)

pytestmark = pytest.mark.flaky(reruns=2)

ADDRESS = "127.0.0.1"


@pytest.fixture(params=["2.11", pytest.param("4", marks=pytest.mark.long), "5"])
def certbot(request: pytest.FixtureRequest, pebble: Pebble, plugin: Path, tmp_path: Path) -> Certbot:
    certbot = Certbot(tmp_path / "certbot", plugin, pebble, [str(registries.certbot(request.param))])
    assert f"certbot {request.param}." in certbot.run("--version").stdout
    return certbot


def test_ip_address(httpd: Httpd, plugin: Path, authority: Authority, tmp_path: Path) -> None:
    program = registries.certbot("5")
    with Pebble(tmp_path, authority, httpd.address()[1], registries.newest_pebble()) as pebble:
        certbot = Certbot(tmp_path / "certbot", plugin, pebble, [str(program)])
        with undisturbed(httpd, authority):
            assert_succeeded(certbot.certonly([], f"--ip-address={ADDRESS}", *options(httpd, "main")))
        validated = pebble.validated()
    assert names_of(issued(certbot, ADDRESS)) == {ADDRESS}
    assert_validated(httpd, [ADDRESS], checks=1, validated=validated)
