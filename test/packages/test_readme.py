"""From an empty Debian to a certificate by README's commands, word for word, and the removal."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import HTTPS, PACKAGES
from cryptography import x509
from machine import Machine

from harness import client, poll
from harness.acme import Pebble
from harness.pages import block

NAME = "www.example.com"
LIVE = f"/etc/letsencrypt/live/{NAME}"


def served() -> bytes:
    return client.handshake(("127.0.0.1", HTTPS), NAME, alpn=()).leaf


def is_serving() -> bool:
    try:
        return bool(served())
    except OSError:
        return False


def issued(server: Machine) -> bytes:
    pem = server.run(f"cat {LIVE}/cert.pem").encode()
    return x509.load_pem_x509_certificate(pem).public_bytes(client.Encoding.DER)


@pytest.fixture(scope="module")
def installed(server: Machine, readme: list[str]) -> Machine:
    server.run(readme[1], "/root/source")
    return server


@pytest.fixture(scope="module")
def certified(installed: Machine, readme: list[str]) -> Machine:
    installed.run(readme[2])
    installed.run(block("README", "certbot certonly"))
    return installed


def test_httpd_runs_right_after_the_install(installed: Machine) -> None:
    installed.run('kill -0 "$(cat /run/apache2/apache2.pid)"')
    assert "acme_alpn_module (shared)" in installed.run("apachectl -M")
    assert installed.run("a2query -m acme_alpn").startswith("acme_alpn (enabled by maintainer script)")
    assert "Syntax OK" in installed.run("apachectl configtest")


def test_what_comes_with_the_packages(installed: Machine) -> None:
    """The spool, without systemd, and with it what keeps the spool and removes what clients left."""
    assert installed.run("stat -c '%U:%G %a' /var/spool/acme-alpn").strip() == "root:root 755"
    installed.run("! command -v systemd-tmpfiles")
    lines = installed.run("grep -v '^#' /usr/lib/tmpfiles.d/acme-alpn.conf").splitlines()
    assert lines == ["d /var/spool/acme-alpn :0755 :root :root 7d"]
    for manual in ("man1/acme-alpn.1.gz", "man8/mod_acme_alpn.8.gz"):
        installed.run(f"test -f /usr/share/man/{manual}")
    for hook in ("dehydrated", "uacme"):
        installed.run(f"test -x /usr/share/acme-alpn/hooks/{hook}")


def test_certificate_is_issued(certified: Machine, pebble: Pebble, tmp_path: Path) -> None:
    names = x509.load_der_x509_certificate(issued(certified)).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == [NAME]
    assert pebble.validations() == 1
    assert certified.run("acme-alpn list").strip() == ""


def test_tool_checks_httpd_as_a_ca(certified: Machine) -> None:
    certified.run(f"acme-alpn add {NAME} $(openssl rand -hex 32)")
    assert "PASS" in certified.run(f"acme-alpn check {NAME}")
    certified.run(f"acme-alpn remove {NAME}")
    assert certified.attempt(f"acme-alpn check --wait 0 {NAME}").returncode != 0


def test_renewal_reloads_httpd_with_the_new_certificate(certified: Machine) -> None:
    """By the README's vhost."""
    pid = certified.run("cat /run/apache2/apache2.pid")
    certified.write(f"/etc/apache2/sites-available/{NAME}.conf", block("README", "<VirtualHost"))
    certified.run(block("README", "a2ensite www"))
    first = issued(certified)
    poll.until(lambda: served() == first, poll.DEADLINE, "httpd serves the certificate")
    certified.run("certbot renew --force-renewal --no-random-sleep-on-renew")
    second = issued(certified)
    assert second != first
    poll.until(lambda: served() == second, poll.DEADLINE, "httpd serves the renewed certificate")
    assert certified.run("cat /run/apache2/apache2.pid") == pid


def test_purge_leaves_mod_ssl_and_what_certbot_has_made(certified: Machine) -> None:
    """The last one: mod_ssl is what the module's package enabled, on a server that had none."""
    settings = "<IfModule acme_alpn_module>\nAcmeAlpnMaxAge 2d\nLogLevel acme_alpn:info\n</IfModule>\n"
    certified.write("/etc/apache2/conf-enabled/settings.conf", settings)
    certified.run(block("install.md", "a2dismod acme_alpn"))
    purge = block("install.md", "apt-get purge")
    assert purge.split() == ["apt-get", "purge", *PACKAGES]
    certified.run(purge)
    left = certified.run(r"find / \( -path /proc -o -path /sys -o -path /results -o -path /root \) -prune"
                         " -o -iname '*acme*alpn*' -print")
    assert left == ""
    assert certified.run("a2query -m ssl").startswith("ssl (enabled by ")
    certified.run(f"apachectl configtest && test -f {LIVE}/fullchain.pem")
    poll.until(is_serving, poll.DEADLINE, "httpd serves")
