"""certbot beyond the ordinary: as an installer's partner, as another user, twice at once, and when it must fail."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import permutations
from pathlib import Path

import pytest
from conftest import StartHttpd
from cryptography.hazmat.primitives.serialization import Encoding
from harness import client, poll
from harness.acme import Certbot, Pebble, skip_where_missing
from harness.challenge import ANSWERED
from harness.issuance import (
    ASTRAY,
    NAMES,
    OFF,
    OWNED,
    PAUSE,
    SITE,
    STRANGER,
    assert_validated,
    issued,
    names_of,
    options,
    undisturbed,
)
from harness.pki import Authority
from harness.server import BINARY, Httpd
from harness.spool import Spool
from harness.strangers import StrangersCertbot
from harness.traffic import Traffic

pytestmark = pytest.mark.flaky(reruns=2)

RENEW = ["renew", "--force-renewal", "--no-random-sleep-on-renew"]
NOT_ASKED = "The CA was not asked to validate"


@pytest.fixture
def certbot(pebble: Pebble, plugin: Path, tmp_path: Path) -> Certbot:
    return Certbot(tmp_path / "certbot", plugin, pebble)


def words(done: subprocess.CompletedProcess[str]) -> str:
    """What certbot said, without its line breaks."""
    return " ".join(done.stdout.split())


def fails(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done.stdout
    return words(done)


# What works


def test_dry_run(httpd: Httpd, certbot: Certbot, authority: Authority) -> None:
    with undisturbed(httpd, authority):
        done = certbot.certonly(NAMES[:2], *options(httpd, "main"), "--dry-run")
    assert done.returncode == 0 and "The dry run was successful" in done.stdout, done.stdout
    assert_validated(httpd, NAMES[:2], checks=1)
    assert not certbot.live(NAMES[0]).exists()


def test_two_at_once(httpd: Httpd, plugin: Path, pebble: Pebble, authority: Authority, tmp_path: Path) -> None:
    certbots = [Certbot(tmp_path / name, plugin, pebble) for name in NAMES[:2]]
    with undisturbed(httpd, authority), ThreadPoolExecutor(2) as pool:
        runs = pool.map(lambda certbot, name: certbot.certonly([name], *options(httpd, "main")), certbots, NAMES)
        for done in runs:
            assert done.returncode == 0, done.stdout
    for certbot, name in zip(certbots, NAMES):
        assert names_of(issued(certbot, name)) == {name}
    assert_validated(httpd, NAMES[:2], checks=1)


@pytest.fixture
def stranger(httpd: Httpd, plugin: Path, pebble: Pebble, tmp_path: Path) -> StrangersCertbot:
    return StrangersCertbot(httpd.root / tmp_path.name, plugin, pebble, STRANGER)


def test_user_who_owns_the_spool(httpd: Httpd, stranger: Certbot, authority: Authority) -> None:
    owned = Spool(httpd.root / "owned")
    check = f"--acme-alpn-check={httpd.listeners['main']}"
    with undisturbed(httpd, authority):
        done = stranger.certonly([OWNED], f"--acme-alpn-spool={owned.path}", check)
    assert done.returncode == 0, done.stdout
    certificate = stranger.live(OWNED) / "cert.pem"
    assert certificate.stat().st_uid == STRANGER
    assert_validated(httpd, [OWNED], checks=1)
    assert owned.entries() == []


# With certbot's apache plugin as the installer


def control_script(httpd: Httpd) -> Path:
    """An apachectl for this server, as Debian's is for the system's."""
    script = httpd.root / "apachectl"
    command = f"{BINARY} -d {httpd.root} -f {httpd.config}"
    script.write_text(
        "#!/bin/sh\n"
        'case "$1" in\n'
        "graceful) set -- -k graceful ;;\n"
        "configtest) set -- -t ;;\n"
        "esac\n"
        f'exec {command} "$@"\n'
    )
    script.chmod(0o755)
    return script


# The plugin adds what it does not find. It heeds no IfFile; httpd does, and leaves the port to whoever has it.
LISTENS_FOR_CERTBOT = ["<IfFile /nowhere>", "    Listen 443", "</IfFile>"]


def apache_options(httpd: Httpd) -> list[str]:
    return [
        f"--apache-server-root={httpd.root}",
        f"--apache-ctl={control_script(httpd)}",
        f"--https-port={httpd.address()[1]}",
        "--no-redirect",
    ]


def served(httpd: Httpd, name: str) -> bytes:
    return client.handshake(httpd.address(), name, alpn=["http/1.1"]).leaf


def test_installer_apache(
    make_httpd: StartHttpd, plugin: Path, authority: Authority, tmp_path: Path
) -> None:
    skip_where_missing("certbot-apache")
    httpd, name = make_httpd(), NAMES[0]
    httpd.server_lines += LISTENS_FOR_CERTBOT
    for vhost in (SITE, name):
        httpd.vhost(vhost, credentials=[authority.issue(vhost)])
    httpd.start()
    pid, seen = httpd.pid, {served(httpd, name)}
    with Pebble(tmp_path, authority, httpd.address()[1]) as pebble:
        certbot = Certbot(tmp_path / "certbot", plugin, pebble)
        account = ["--agree-tos", "--register-unsafely-without-email"]
        run = ["run", "-a", "acme-alpn", "-i", "apache", "-d", name, *account]
        with Traffic(httpd.address(), SITE, authority.root, PAUSE) as traffic:
            for command in ([*run, *options(httpd, "main"), *apache_options(httpd)], RENEW):
                done = certbot.run(*command)
                assert done.returncode == 0, done.stdout
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


# What fails, and what is said about it


def test_ca_that_fails_one_of_three_names(
    httpd: Httpd, certbot: Certbot, pebble: Pebble, authority: Authority
) -> None:
    before = pebble.validations()
    with undisturbed(httpd, authority):
        text = fails(certbot.certonly([*NAMES[:2], ASTRAY], *options(httpd, "main")))
    assert pebble.validations() == before + 3
    assert f"Domain: {ASTRAY}" in text
    for good in NAMES[:2]:
        assert f"Domain: {good}" not in text
    hint = text[text.index("Hint: ") :]
    assert f"httpd answered them rightly at {httpd.listeners['main']} before the CA was asked" in hint
    assert "A and AAAA records" in hint and "port 443" in hint and "terminates TLS" in hint
    assert "AALPN0102" in hint and "AALPN0101" in hint and "grep" in hint
    assert not certbot.live(NAMES[0]).exists()


def missing(directory: Path) -> None:
    pass


def writable_by_all(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o777)


def a_file(directory: Path) -> None:
    directory.write_text("")


@pytest.mark.parametrize(
    "make, problem",
    [
        (missing, "the spool {spool} does not exist: install mod_acme_alpn, which makes it, or name the directory"),
        (writable_by_all, "the spool {spool} has mode 0777: who can write to it can get certificates for every name"),
        (writable_by_all, "Mend it with: chmod go-w {spool}"),
        (a_file, "the spool {spool} is not a directory: --acme-alpn-spool takes the directory of mod_acme_alpn's"),
    ],
)
def test_spool_that_cannot_be_used(
    certbot: Certbot, pebble: Pebble, tmp_path: Path, make: Callable[[Path], None], problem: str
) -> None:
    spool, before = tmp_path / "a-spool", pebble.validations()
    make(spool)
    text = fails(certbot.certonly([SITE], f"--acme-alpn-spool={spool}"))
    assert problem.format(spool=spool) in text, text
    assert pebble.validations() == before


def test_spool_that_belongs_to_another_user(httpd: Httpd, stranger: Certbot, pebble: Pebble) -> None:
    before = pebble.validations()
    text = fails(stranger.certonly([SITE], *options(httpd, "main")))
    assert f"the spool {httpd.spool.path} is not writable by the user that certbot runs as (uid {STRANGER})" in text
    assert "run certbot as its owner (uid 0), or make the directory over to this user with chown" in text
    assert pebble.validations() == before


def test_wildcard(httpd: Httpd, certbot: Certbot, pebble: Pebble) -> None:
    before = pebble.validations()
    text = fails(certbot.certonly([SITE, f"*.{SITE}"], *options(httpd, "main")))
    assert f"cannot get a certificate for *.{SITE}: tls-alpn-01" in text and "cannot validate wildcards" in text
    assert "Use a plugin for dns-01" in text
    assert pebble.validations() == before


def test_httpd_is_down(httpd: Httpd, certbot: Certbot, pebble: Pebble) -> None:
    before = pebble.validations()
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{unused.getsockname()[1]}"
        text = fails(
            certbot.certonly(NAMES, f"--acme-alpn-spool={httpd.spool.path}", f"--acme-alpn-check={nobody}")
        )
    assert NOT_ASKED in text
    problem = f" at {nobody}: nothing listens there (connection refused): start httpd"
    assert any(", ".join(order) + problem in text for order in permutations(NAMES))
    assert pebble.validations() == before
    assert httpd.spool.entries() == []


def test_module_is_off_for_one_vhost(httpd: Httpd, certbot: Certbot, pebble: Pebble) -> None:
    before = pebble.validations()
    text = fails(certbot.certonly([NAMES[0], OFF], *options(httpd, "main")))
    assert NOT_ASKED in text
    assert f"- {OFF} at {httpd.listeners['main']}: the server did not choose acme-tls/1" in text
    assert "mod_acme_alpn is not loaded or is off for this vhost (apachectl -M lists the modules)" in text
    assert NAMES[0] not in text[text.index(NOT_ASKED) :]
    assert pebble.validations() == before
    assert httpd.spool.entries() == []
    httpd.log.expect(ANSWERED, f"identifier={NAMES[0]} ")


def test_module_is_not_loaded(make_httpd: StartHttpd, certbot: Certbot, pebble: Pebble, authority: Authority) -> None:
    httpd = make_httpd(with_module=False)
    httpd.vhost(SITE, credentials=[authority.issue(SITE)])
    httpd.start()
    before = pebble.validations()
    text = fails(certbot.certonly([SITE], *options(httpd, "main")))
    assert NOT_ASKED in text and "the server did not choose acme-tls/1" in text
    assert "mod_acme_alpn is not loaded" in text
    assert pebble.validations() == before
    assert httpd.spool.entries() == []
