"""The packages on a server that is there already, with systemd: install, upgrade, remove and purge, in this order."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import HTTPS, PACKAGES
from machine import Machine

from harness import client, poll
from harness.checker import check_answer
from harness.spool import KeyAuthorization

SPOOL = "/var/spool/acme-alpn"
PENDING = "pending.example.com"
PID_FILE = "/run/apache2/apache2.pid"
ADDRESS = ("127.0.0.1", HTTPS)
# What a2query says then.
DISABLED_BY_ADMINISTRATOR = 32
OWNER = "games"
CONFIGURATION = "/etc/apache2/mods-available/acme_alpn.conf"
SETTING = "AcmeAlpnMaxAge 2d"
MODULE = "/usr/lib/apache2/modules/mod_acme_alpn.so"
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


def versions(server: Machine) -> set[str]:
    """NAME STATUS SUFFIX of each of our packages, the suffix being what follows + in its version."""
    shown = server.run("dpkg-query -W -f '${Package} ${db:Status-Abbrev} ${Version}\n' " + " ".join(PACKAGES))
    return {f"{line.rpartition(' ')[0]} {line.rpartition('+')[2]}" for line in shown.splitlines()}


def pid(server: Machine) -> str:
    return server.run(f"cat {PID_FILE}")


def answers_https() -> bool:
    try:
        return client.handshake(ADDRESS, PENDING, alpn=("http/1.1",)).alpn == "http/1.1"
    except OSError:
        return False


def assert_answers_pending(pending: KeyAuthorization) -> None:
    check_answer(client.handshake(ADDRESS, PENDING), PENDING, pending.digest)


def install(server: Machine, suffix: str = "") -> None:
    """By dpkg alone, which takes nothing from anywhere else."""
    pattern = " ".join(f"{name}_*{suffix}_*.deb" for name in PACKAGES)
    server.run(f"cd /root{'/newer' if suffix else ''} && dpkg -i {pattern}")
    poll.until(answers_https, poll.DEADLINE, "httpd answers")


@dataclass(frozen=True)
class Before:
    """A server with a TLS site and certbot, as it was without our packages."""

    files: set[str]
    packages: set[str]
    pid: str


@pytest.fixture(scope="module")
def before(server: Machine) -> Before:
    server.run("apt-get install apache2 certbot libhiredis0.14 systemd && a2enmod ssl")
    server.run("a2ensite default-ssl && apachectl restart")
    # certbot makes directories of its own.
    server.run("certbot plugins")
    poll.until(answers_https, poll.DEADLINE, "httpd answers")
    return Before(files(server), packages(server), pid(server))


@pytest.fixture(scope="module")
def installed(server: Machine, before: Before) -> Machine:
    install(server)
    return server


@pytest.fixture(scope="module")
def pending(installed: Machine) -> KeyAuthorization:
    """A challenge that a client has published, and that no CA has asked for yet."""
    key_authorization = KeyAuthorization.new()
    installed.run(f"acme-alpn add {PENDING} {key_authorization.text}")
    return key_authorization


@pytest.fixture(scope="module")
def settled(installed: Machine, pending: KeyAuthorization) -> Machine:
    """The administrator has changed the configuration, and given the spool to a client's user."""
    installed.run(f"echo {SETTING} >>{CONFIGURATION} && chown {OWNER}: {SPOOL} && apachectl graceful")
    return installed


@pytest.fixture(scope="module")
def upgraded(settled: Machine, newer: Path) -> Machine:
    for package in newer.glob("*.deb"):
        shutil.copy(package, settled.directory)
    settled.run("mkdir newer && cp /results/*newer*.deb newer")
    install(settled, "newer")
    return settled


@dataclass(frozen=True)
class Disabled:
    """What a server says whose administrator has disabled the module, after an upgrade."""

    a2query: int
    alpn: str | None


@pytest.fixture(scope="module")
def disabled(upgraded: Machine) -> Disabled:
    """It is enabled again then."""
    upgraded.run("a2dismod acme_alpn && apachectl restart")
    install(upgraded, "newer")
    told = Disabled(upgraded.attempt("a2query -m acme_alpn").returncode, client.handshake(ADDRESS, PENDING).alpn)
    upgraded.run("a2enmod acme_alpn && apachectl restart")
    poll.until(answers_https, poll.DEADLINE, "httpd answers")
    return told


@pytest.fixture(scope="module")
def placeholder(upgraded: Machine, disabled: Disabled) -> Machine:
    """A site without a certificate has left its placeholder behind."""
    # Not by a2ensite, which keeps in mind for ever what was once enabled.
    site = "/etc/apache2/sites-enabled/acme-alpn-site.conf"
    upgraded.run(f"cp {EXAMPLE} {site} && apachectl restart")
    made = lambda: upgraded.attempt(f"test -f {PLACEHOLDER}").returncode == 0  # noqa: E731
    poll.until(made, poll.DEADLINE, "httpd makes a placeholder")
    upgraded.run(f"rm {site} && apachectl restart")
    poll.until(answers_https, poll.DEADLINE, "httpd answers")
    return upgraded


@pytest.fixture(scope="module")
def removed(placeholder: Machine) -> Machine:
    placeholder.run(f"dpkg --remove {' '.join(PACKAGES)}")
    poll.until(answers_https, poll.DEADLINE, "httpd answers")
    return placeholder


@pytest.fixture(scope="module")
def purged(removed: Machine) -> Machine:
    removed.run(f"dpkg --purge {' '.join(PACKAGES)}")
    return removed


def test_install_enables_the_module_and_restarts_httpd(
    installed: Machine, before: Before, pending: KeyAuthorization
) -> None:
    assert pid(installed) != before.pid
    assert_answers_pending(pending)
    assert "acme-alpn" in installed.run("certbot plugins")


def test_upgrade_goes_on_with_the_pending_challenge(upgraded: Machine, pending: KeyAuthorization) -> None:
    assert {f"{name} ii  newer" for name in PACKAGES} <= versions(upgraded)
    assert_answers_pending(pending)


def test_upgrade_loads_the_new_module(upgraded: Machine) -> None:
    maps = upgraded.run(f"grep {MODULE} /proc/$(cat {PID_FILE})/maps")
    assert "deleted" not in maps


def test_upgrade_keeps_what_the_administrator_settled(upgraded: Machine) -> None:
    assert SETTING in upgraded.run(f"tail -n 1 {CONFIGURATION}")
    assert upgraded.run(f"stat -c '%U %a' {SPOOL}").strip() == f"{OWNER} 755"


def test_boot_keeps_the_owner_of_the_spool_and_makes_one_that_is_missing(upgraded: Machine) -> None:
    apply = "systemd-tmpfiles --create --clean acme-alpn.conf"
    shown = f"stat -c '%U %a' {SPOOL}"
    assert upgraded.run(f"{apply} && {shown}").strip() == f"{OWNER} 755"
    upgraded.run(f"mv {SPOOL} {SPOOL}.kept")
    assert upgraded.run(f"umask 077 && {apply} && {shown}").strip() == "root 755"
    upgraded.run(f"rmdir {SPOOL} && mv {SPOOL}.kept {SPOOL}")


def test_upgrade_leaves_a_disabled_module_disabled(disabled: Disabled, pending: KeyAuthorization) -> None:
    assert disabled == Disabled(DISABLED_BY_ADMINISTRATOR, None)
    assert_answers_pending(pending)


def test_remove_takes_the_module_from_httpd_and_keeps_what_is_the_administrators(
    removed: Machine, pending: KeyAuthorization
) -> None:
    assert client.handshake(ADDRESS, PENDING).alpn is None
    removed.run("apachectl configtest")
    removed.run(f"test ! -e {MODULE} && test ! -e /usr/bin/acme-alpn")
    assert "acme-alpn" not in removed.run("certbot plugins")
    assert removed.run(f"cat {SPOOL}/{PENDING}").strip() == pending.text
    assert SETTING in removed.run(f"cat {CONFIGURATION}")


def test_purge_leaves_nothing(purged: Machine, before: Before) -> None:
    assert files(purged) ^ before.files == APACHE_KEEPS
    purged.run(f"test ! -e {PLACEHOLDER}")
    assert packages(purged) == before.packages
    assert answers_https()
