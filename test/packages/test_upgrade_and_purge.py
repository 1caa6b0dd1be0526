"""The packages on a server that is there already, with systemd: install, upgrade, remove and purge, in this order."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import HTTPS, PACKAGES, Built, required
from machine import Machine

from harness import client, poll
from harness.checker import check_answer
from harness.spool import KeyAuthorization

SPOOL = "/var/spool/acme-alpn"
PENDING = "pending.example.com"
PENDING_VALUE = KeyAuthorization.new()
PID_FILE = "/run/apache2/apache2.pid"
ADDRESS = ("127.0.0.1", HTTPS)
# What a2query says then.
DISABLED_BY_ADMINISTRATOR = 32
OWNER = "games"
CONFIGURATION = "/etc/apache2/mods-available/acme_alpn.conf"
SETTING = "AcmeAlpnMaxAge 2d"
MODULE = "/usr/lib/apache2/modules/mod_acme_alpn.so"
LINKS = "/etc/apache2/mods-enabled"
PLACEHOLDER = "/run/apache2/acme-alpn-placeholder.pem"
# A site without a certificate.
EXAMPLE = "/usr/share/doc/libapache2-mod-acme-alpn/acme-alpn-site.conf"

# Where a2dismod keeps who disabled a module; nothing is in there any more.
APACHE_KEEPS = {
    f"drwxr-xr-x root:root /var/lib/apache2/module/disabled_by_{who} " for who in ("admin", "maint")
}
# What other programs write as they go: logs, caches, the lists and backups of apt and dpkg, certbot's own.
ELSEWHERE = (
    "/dev /proc /sys /results /run /src /tmp /root /var/log /var/cache /var/backups /var/lib/apt /var/lib/dpkg"
)


def files(server: Machine) -> set[str]:
    """Every file, directory and link of the server, with its owner and mode; in /etc also its content."""
    pruned = " -o ".join(f"-path {path}" for path in ELSEWHERE.split())
    found = server.run(rf"find / \( {pruned} \) -prune -o -printf '%M %u:%g %p %l\n'")
    content = server.run("find /etc -type f ! -name ld.so.cache -exec sha256sum {} +")
    return set(found.splitlines() + content.splitlines())


def packages(server: Machine) -> set[str]:
    return set(server.run("dpkg-query -W -f '${Package} ${db:Status-Abbrev}\n'").splitlines())


def chosen() -> str | None:
    return client.handshake(ADDRESS, PENDING, alpn=("http/1.1",)).alpn


def wait_for_httpd() -> None:
    def answers() -> bool:
        try:
            return chosen() == "http/1.1"
        except OSError:
            return False

    poll.until(answers, poll.DEADLINE, "httpd answers")


def assert_answers_pending() -> None:
    check_answer(client.handshake(ADDRESS, PENDING), PENDING, PENDING_VALUE.digest)


def install(server: Machine, suffix: str = "") -> None:
    """By dpkg alone, which takes nothing from anywhere else."""
    pattern = " ".join(f"{name}_*{suffix}_*.deb" for name in PACKAGES)
    server.run(f"cd /root{'/newer' if suffix else ''} && dpkg -i {pattern}")
    wait_for_httpd()


def restart(server: Machine, command: str) -> None:
    server.run(f"{command} && apachectl restart")
    wait_for_httpd()


@dataclass(frozen=True)
class Before:
    """A server with a TLS site and certbot, as it was without our packages."""

    files: set[str]
    packages: set[str]


@pytest.fixture(scope="module")
def before(server: Machine, built: Built) -> Before:
    (hiredis,) = re.findall(r"\blibhiredis[\d.]+", built.field("acme-alpn", "Depends"))
    server.run(f"apt-get install apache2 certbot {hiredis} systemd && a2enmod ssl")
    restart(server, "a2ensite default-ssl")
    # certbot makes directories of its own.
    server.run("certbot plugins")
    return Before(files(server), packages(server))


def test_install_enables_the_module_and_restarts_httpd(server: Machine, before: Before) -> None:
    install(server)
    # A challenge that a client has published, and that no CA has asked for yet.
    server.run(f"acme-alpn add {PENDING} {PENDING_VALUE.text}")
    assert_answers_pending()
    assert "acme-alpn" in server.run("certbot plugins")


def test_upgrade_loads_the_new_module_and_keeps_what_there_was(server: Machine, newer: Path) -> None:
    """The administrator has changed the configuration, and given the spool to a client's user."""
    server.run(f"echo {SETTING} >>{CONFIGURATION} && chown {OWNER}: {SPOOL} && apachectl graceful")
    for package in newer.glob("*.deb"):
        shutil.copy(package, server.directory)
    server.run("mkdir newer && cp /results/*newer*.deb newer")
    install(server, "newer")
    versions = server.run(f"dpkg-query -W -f '${{Version}}\n' {' '.join(PACKAGES)}").split()
    assert all(version.endswith("+newer") for version in versions)
    assert "deleted" not in server.run(f"grep {MODULE} /proc/$(cat {PID_FILE})/maps")
    assert_answers_pending()
    assert SETTING in server.run(f"tail -n 1 {CONFIGURATION}")
    assert server.run(f"stat -c '%U %a' {SPOOL}").strip() == f"{OWNER} 755"


def test_boot_keeps_the_owner_of_the_spool_and_makes_one_that_is_missing(server: Machine) -> None:
    apply = "systemd-tmpfiles --create --clean acme-alpn.conf"
    shown = f"stat -c '%U %a' {SPOOL}"
    assert server.run(f"{apply} && {shown}").strip() == f"{OWNER} 755"
    server.run(f"mv {SPOOL} {SPOOL}.kept")
    assert server.run(f"umask 077 && {apply} && {shown}").strip() == "root 755"
    server.run(f"rmdir {SPOOL} && mv {SPOOL}.kept {SPOOL}")


def test_upgrade_leaves_a_disabled_module_disabled(server: Machine) -> None:
    restart(server, "a2dismod acme_alpn")
    install(server, "newer")
    assert server.attempt("a2query -m acme_alpn").returncode == DISABLED_BY_ADMINISTRATOR
    assert client.handshake(ADDRESS, PENDING).alpn is None
    restart(server, "a2enmod acme_alpn")
    assert_answers_pending()


def test_remove_takes_the_module_from_httpd_and_keeps_what_is_the_administrators(server: Machine) -> None:
    """A site without a certificate has left its placeholder behind."""
    # Not by a2ensite, which keeps in mind for ever what was once enabled.
    site = "/etc/apache2/sites-enabled/acme-alpn-site.conf"
    server.run(f"cp {EXAMPLE} {site} && apachectl restart")
    made = lambda: server.attempt(f"test -f {PLACEHOLDER}").returncode == 0  # noqa: E731
    poll.until(made, poll.DEADLINE, "httpd makes a placeholder")
    restart(server, f"rm {site}")
    server.run(f"dpkg --remove {' '.join(PACKAGES)}")
    wait_for_httpd()
    assert client.handshake(ADDRESS, PENDING).alpn is None
    server.run(f"apachectl configtest && test ! -e {MODULE} && test ! -e /usr/bin/acme-alpn")
    assert "acme-alpn" not in server.run("certbot plugins")
    assert server.run(f"cat {SPOOL}/{PENDING}").strip() == PENDING_VALUE.text
    assert SETTING in server.run(f"cat {CONFIGURATION}")


def test_purge_leaves_nothing(server: Machine, before: Before) -> None:
    server.run(f"dpkg --purge {' '.join(PACKAGES)}")
    assert files(server) ^ before.files == APACHE_KEEPS
    server.run(f"test ! -e {PLACEHOLDER}")
    assert packages(server) == before.packages
    wait_for_httpd()


@pytest.fixture(scope="module")
def bare(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A Debian whose apache2 was removed before our package, and whose configuration is still there."""
    with Machine(required("ACME_ALPN_SERVER_ROOT"), tmp_path_factory.mktemp("bare")) as machine:
        shutil.copy(built.package("libapache2-mod-acme-alpn"), machine.directory)
        machine.run(f"mkdir -p {LINKS} /srv/tmpfs && mount -t tmpfs tmpfs /srv/tmpfs")
        yield machine


@pytest.mark.parametrize("shared", ("/srv/tmpfs", "/srv/same-file-system"))
@pytest.mark.parametrize("place, setup", (
    (SPOOL, f"mount --bind $0 {SPOOL}"),
    (f"{SPOOL}/below", f"mount --bind $0 {SPOOL}/below"),
    ("", f"rm -r {SPOOL} && ln -s $0 {SPOOL}"),
    ("", "true"),
))
def test_postrm_keeps_what_is_shared_and_no_link(bare: Machine, shared: str, place: str, setup: str) -> None:
    bare.run(f"rm -rf {SPOOL} && mkdir -p {shared} && touch {shared}/entry && dpkg -i --force-depends /results/*.deb")
    bare.run(f"mkdir {SPOOL}/below && touch {SPOOL}/local.test && ln -sf ../mods-available/acme_alpn.load {LINKS}")
    script = f"{setup} && dpkg --remove {PACKAGES[1]} && ! ls {LINKS}/* && dpkg --purge {PACKAGES[1]}"
    bare.run(f"unshare --mount sh -ec '{script} && find $0 {place} ! -type d >/results/left' {shared}")
    left = (bare.directory / "left").read_text().split()
    assert left == [f"{at}/entry" for at in (shared, place) if at]
    assert bare.run(f"ls {LINKS}") == "" and bare.attempt(f"test -L {SPOOL}").returncode == 1
