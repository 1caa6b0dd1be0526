"""certbot gets real certificates from a real CA, while httpd goes on serving, and says why where it gets none."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from conftest import StartHttpd
from cryptography.hazmat.primitives.serialization import Encoding
from harness import client, poll
from harness.acme import Certbot, Pebble, skip_where_missing
from harness.challenge import ANSWERED
from harness.issuance import ASTRAY, NAMES, OFF, PAUSE, SITE, assert_validated, issued, names_of, options, undisturbed
from harness.pki import Authority
from harness.server import BINARY, Httpd
from harness.traffic import Traffic

pytestmark = pytest.mark.flaky(reruns=2)

RENEW = ["renew", "--force-renewal", "--no-random-sleep-on-renew"]
NO_VHOST = "nowhere.test"
NOT_ASKED = "The CA was not asked to validate"


@pytest.fixture
def certbot(pebble: Pebble, plugin: Path, tmp_path: Path) -> Certbot:
    return Certbot(tmp_path / "certbot", plugin, pebble)


def assert_succeeded(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout


def fails(done: subprocess.CompletedProcess[str]) -> str:
    """What certbot said, without its line breaks."""
    assert done.returncode == 1, done.stdout
    return " ".join(done.stdout.split())


# What works


@pytest.mark.parametrize("names", [NAMES, (NO_VHOST,)])
def test_all_names_in_one_order(
    names: Sequence[str], httpd: Httpd, certbot: Certbot, pebble: Pebble, authority: Authority
) -> None:
    before = pebble.validations()
    with undisturbed(httpd, authority):
        assert_succeeded(certbot.certonly(names, *options(httpd, "main")))
    assert pebble.validations() == before + len(names)
    assert names_of(issued(certbot, names[0])) == set(names)
    assert_validated(httpd, names, checks=1)


# Forms of --acme-alpn-check with several addresses: on the command line, and as a line of cli.ini.
FORMS = {
    "repeated": lambda addresses: ([f"--acme-alpn-check={address}" for address in addresses], ""),
    "commas": lambda addresses: ([f"--acme-alpn-check={','.join(addresses)}"], ""),
    "cli.ini": lambda addresses: ([], f"acme-alpn-check = {', '.join(addresses)}\n"),
    "list": lambda addresses: ([], f"acme-alpn-check = [{', '.join(addresses)}]\n"),
    "list of one": lambda addresses: ([], f"acme-alpn-check = [{addresses[0]}]\n"),
}


def in_form(form: str, httpd: Httpd, directory: Path) -> tuple[list[str], list[str]]:
    """The options of certonly for both listeners, and those that a renewal gets too."""
    given, line = FORMS[form]([str(httpd.listeners[listener]) for listener in ("main", "second")])
    (directory / "cli.ini").write_text(f"{line}acme-alpn-spool = {httpd.spool.path}\n")
    return given, ["--config", str(directory / "cli.ini")]


@pytest.mark.parametrize("form", ["repeated", "commas", "cli.ini"])
def test_two_renewals_keep_all_addresses(
    form: str, httpd: Httpd, certbot: Certbot, pebble: Pebble, authority: Authority, tmp_path: Path
) -> None:
    names, before, serials = NAMES[:2], pebble.validated(), set()
    given, configured = in_form(form, httpd, tmp_path)
    with undisturbed(httpd, authority):
        assert_succeeded(certbot.certonly(names, *given, *configured))
        for _ in range(2):
            serials.add(issued(certbot, names[0]).serial_number)
            assert_succeeded(certbot.run(*RENEW, *configured))
    assert len({*serials, issued(certbot, names[0]).serial_number}) == 3
    assert names_of(issued(certbot, names[0])) == set(names)
    assert_validated(httpd, names, checks=2, validated=pebble.validated() - before)


@pytest.mark.parametrize("form", ["list", "list of one"])
def test_list_in_cli_ini_is_refused(form: str, httpd: Httpd, certbot: Certbot, pebble: Pebble, tmp_path: Path) -> None:
    before, (given, configured) = pebble.validations(), in_form(form, httpd, tmp_path)
    done = certbot.certonly(NAMES[:1], *given, *configured)
    assert done.returncode == 2 and "acme-alpn-check can't be set to a list" in done.stdout, done.stdout
    assert pebble.validations() == before and not (certbot.directory / "config").exists()


def test_dry_run(httpd: Httpd, certbot: Certbot, authority: Authority) -> None:
    with undisturbed(httpd, authority):
        done = certbot.certonly(NAMES[:2], *options(httpd, "main"), "--dry-run")
    assert done.returncode == 0 and "The dry run was successful" in done.stdout, done.stdout
    assert_validated(httpd, NAMES[:2], checks=1)
    assert not certbot.live(NAMES[0]).exists()


# With certbot's apache plugin as the installer


def control_script(httpd: Httpd) -> Path:
    """An apachectl for this server, as Debian's is for the system's."""
    script = httpd.root / "apachectl"
    command = f"{BINARY} -d {httpd.root} -f {httpd.config}"
    cases = 'case "$1" in graceful) set -- -k graceful ;; configtest) set -- -t ;; esac'
    script.write_text(f'#!/bin/sh\n{cases}\nexec {command} "$@"\n')
    script.chmod(0o755)
    return script


# The plugin adds what it does not find. It heeds no IfFile; httpd does, and leaves the port to whoever has it.
LISTENS_FOR_CERTBOT = ["<IfFile /nowhere>", "    Listen 443", "</IfFile>"]


def served(httpd: Httpd, name: str) -> bytes:
    return client.handshake(httpd.address(), name, alpn=["http/1.1"]).leaf


def test_installer_apache(make_httpd: StartHttpd, plugin: Path, authority: Authority, tmp_path: Path) -> None:
    skip_where_missing("certbot-apache")
    httpd, name = make_httpd(), NAMES[0]
    httpd.server_lines += LISTENS_FOR_CERTBOT
    for vhost in (SITE, name):
        httpd.vhost(vhost, credentials=[authority.issue(vhost)])
    httpd.start()
    pid, seen = httpd.pid, {served(httpd, name)}
    with Pebble(tmp_path, authority, httpd.address()[1]) as pebble:
        certbot = Certbot(tmp_path / "certbot", plugin, pebble)
        run = ["run", "-a", "acme-alpn", "-i", "apache", "-d", name, "--agree-tos", "--register-unsafely-without-email"]
        run += [f"--apache-server-root={httpd.root}", f"--apache-ctl={control_script(httpd)}"]
        run += [f"--https-port={httpd.address()[1]}", "--no-redirect", *options(httpd, "main")]
        with Traffic(httpd.address(), SITE, authority.root, PAUSE) as traffic:
            for command in (run, RENEW):
                assert_succeeded(certbot.run(*command))
                new = issued(certbot, name).public_bytes(Encoding.DER)
                assert new not in seen
                seen.add(new)
                poll.until(lambda: served(httpd, name) == new, poll.DEADLINE, "the new certificate is served")
        traffic.assert_unharmed()
    assert httpd.pid == pid
    configuration = httpd.config.read_text()
    assert f"SSLCertificateFile {certbot.live(name)}/fullchain.pem" in configuration
    assert len(re.findall(r"^ *Listen .*\b443\b", configuration, re.MULTILINE)) == 1, configuration
    assert_validated(httpd, [name], checks=1, validated=pebble.validated())
    assert httpd.spool.entries() == []


# What fails, and what is said about it. certbot/tests has what the plugin finds wrong by itself.


def test_ca_that_fails_one_of_three_names(httpd: Httpd, certbot: Certbot, pebble: Pebble, authority: Authority) -> None:
    before = pebble.validations()
    with undisturbed(httpd, authority):
        text = fails(certbot.certonly([*NAMES[:2], ASTRAY], *options(httpd, "main")))
    assert pebble.validations() == before + 3
    assert f"Domain: {ASTRAY}" in text and not any(f"Domain: {good}" in text for good in NAMES[:2])
    hint = text[text.index("Hint: ") :]
    assert f"httpd answered them correctly at {httpd.listeners['main']}. " in hint
    assert "AALPN0102" in hint and f"- {ASTRAY} at {httpd.listeners['main']}: answered correctly" in hint
    assert f"- {ASTRAY}: the name cannot be resolved from here" in hint
    assert not certbot.live(NAMES[0]).exists()


def test_httpd_is_down(httpd: Httpd, certbot: Certbot, pebble: Pebble) -> None:
    before = pebble.validations()
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{unused.getsockname()[1]}"
        text = fails(certbot.certonly(NAMES, f"--acme-alpn-spool={httpd.spool.path}", f"--acme-alpn-check={nobody}"))
    assert NOT_ASKED in text and f" at {nobody}: nothing listens there (connection refused): " in text
    assert pebble.validations() == before
    assert httpd.spool.entries() == []


def test_module_is_off_for_one_vhost(httpd: Httpd, certbot: Certbot, pebble: Pebble) -> None:
    before = pebble.validations()
    text = fails(certbot.certonly([NAMES[0], OFF], *options(httpd, "main")))
    assert f"- {OFF} at {httpd.listeners['main']}: the server did not choose acme-tls/1" in text
    assert NAMES[0] not in text[text.index(NOT_ASKED) :]
    assert pebble.validations() == before
    assert httpd.spool.entries() == []
    httpd.log.expect(ANSWERED, f"identifier={NAMES[0]} ")
