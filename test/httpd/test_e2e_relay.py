"""Clients that have only a responder of their own get certificates behind httpd, which keeps the port and goes on serving."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import StartHttpd
from harness import client, commands, poll, ports, registries
from harness.acme import VALIDATIONS, Pebble, skip_where_missing
from harness.challenge import ANSWERED, assert_answered
from harness.commands import running
from harness.hooks import Uacme
from harness.issuance import SITE, load, names_of, undisturbed
from harness.order import Order
from harness.pages import block
from harness.pki import Authority
from harness.server import Httpd, accepts
from harness.upstream import certificate

pytestmark = pytest.mark.flaky(reruns=2)

NAMES = ("one.test", "two.test")
CLIENT_TIMEOUT = 120.0
UACME_SCRIPT = "/usr/share/uacme/ualpn.sh"


@pytest.fixture(scope="module")
def port() -> int:
    """Where the clients' responders listen."""
    return ports.choose()


@pytest.fixture(scope="module")
def server(make_shared_httpd: StartHttpd, authority: Authority, port: int) -> Httpd:
    httpd = make_shared_httpd()
    httpd.server_lines.append(f"AcmeAlpnUpstream 127.0.0.1:{port}")
    for name in (SITE, *NAMES):
        httpd.vhost(name, credentials=[authority.issue(name)])
    return httpd.start()


def assert_relayed(httpd: Httpd, port: int, *names: str) -> None:
    """The CA's validations, and nobody else's, were answered out of the upstream."""
    for name in names:
        httpd.log.expect(ANSWERED, f"identifier={name} .*source=upstream .*upstream=127.0.0.1:{port}", count=VALIDATIONS)


def s_server(pem: Path, port: int) -> list[str]:
    """The command that acme.sh runs."""
    files = ["-cert", str(pem), "-key", str(pem)]
    return ["openssl", "s_server", "-www", *files, "-alpn", "acme-tls/1", "-accept", f"127.0.0.1:{port}"]


def test_openssl_s_server_as_acme_sh_runs_it(
    httpd: Httpd, pebble: Pebble, authority: Authority, port: int, tmp_path: Path
) -> None:
    order = Order(pebble, NAMES[0])
    pem = tmp_path / "challenge.pem"
    pem.write_bytes(certificate([NAMES[0]], order.key_authorization.digest))
    with undisturbed(httpd, authority), running(s_server(pem, port), tmp_path / "log"):
        poll.until(lambda: accepts(("127.0.0.1", port)), poll.DEADLINE, "s_server listens")
        # A CA like Pebble does not look at all that others look at.
        assert_answered(httpd, NAMES[0], order.key_authorization)
        issued = order.finish()
    assert names_of(issued) == {NAMES[0]}
    assert_relayed(httpd, port, NAMES[0])


def debians_lego() -> Path:
    skip_where_missing("lego")
    return Path("/usr/bin/lego")


@pytest.mark.parametrize("program, begin", [(debians_lego, "lego -a"), (registries.newest_lego, "lego run")])
def test_lego(
    program: Callable[[], Path], begin: str, httpd: Httpd, pebble: Pebble, authority: Authority, port: int, tmp_path: Path
) -> None:
    """By the command of the manual; lego 5 has another than lego 4."""
    command = block("clients.md", begin).replace("127.0.0.1:5001", f"127.0.0.1:{port}")
    command = command.replace("-d www.example.com", " ".join(f"-d {name}" for name in NAMES))
    command = command.replace("--tls ", f"--server {pebble.url} --path {tmp_path} --tls ", 1)
    command = command.replace("/usr/sbin/apachectl", f"touch {tmp_path}/reload").replace("\\\n", "")
    with undisturbed(httpd, authority):
        environment = {**os.environ, "LEGO_CA_CERTIFICATES": str(pebble.trust)}
        arguments = shlex.split(command)[1:]
        done = commands.run([program(), *arguments], CLIENT_TIMEOUT * poll.FACTOR, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert names_of(load(tmp_path / "certificates" / f"{NAMES[0]}.crt")) == set(NAMES)
    assert (tmp_path / "reload").exists()
    assert_relayed(httpd, port, *NAMES)


@dataclass
class UacmeWithUalpn(Uacme):
    """uacme as it comes, with the responder of its own; the hook asks the ualpn that runs for it."""

    @property
    def name(self) -> str:
        return "uacme"

    @property
    def hook(self) -> Path:
        return Path(UACME_SCRIPT)


def test_uacme_with_ualpn(httpd: Httpd, pebble: Pebble, authority: Authority, port: int, tmp_path: Path) -> None:
    skip_where_missing("/usr/bin/uacme")
    home = httpd.root / "uacme"
    uacme = UacmeWithUalpn(home, pebble, httpd.spool.path, "none")
    uacme.register()
    # The script finds its responder by the default socket: this one's, for the client alone.
    socket_path = home / "ualpn.sock"
    (home / "bin" / "ualpn").write_text(f'#!/bin/sh\nexec /usr/bin/ualpn -s {socket_path} "$@"\n')
    (home / "bin" / "ualpn").chmod(0o755)
    nobody = ports.choose()
    command = ["/usr/bin/ualpn", "-v", "-s", str(socket_path), "-b", f"127.0.0.1@{port}", "-c", f"127.0.0.1@{nobody}"]
    with undisturbed(httpd, authority):
        with running([*command, "-p", str(home / "ualpn.pid")], tmp_path / "log"):
            poll.until(lambda: socket_path.exists() and accepts(("127.0.0.1", port)), poll.DEADLINE, "ualpn listens")
            done = uacme.issue(NAMES)
    assert done.returncode == 0, done.stdout + (tmp_path / "log").read_text()
    assert names_of(load(uacme.certificate(NAMES[0]))) == set(NAMES)
    assert_relayed(httpd, port, *NAMES)


def test_caddy_as_a_backend(httpd: Httpd, pebble: Pebble, authority: Authority, port: int, tmp_path: Path) -> None:
    """With the Caddyfile of the manual, and this CA."""
    caddy = shutil.which("caddy")
    skip_where_missing("caddy")
    assert caddy, "caddy is missing (Debian: apt-get install caddy)"
    name = NAMES[1]
    text = block("clients.md", "{").replace("5001", str(port)).replace("www.example.com", name)
    text = text.replace("https_port", "admin off\nskip_install_trust\nhttps_port")
    text = text.replace("disable_http", f"dir {pebble.url}\ntrusted_roots {pebble.trust}\ndisable_http")
    (tmp_path / "Caddyfile").write_text(text)
    issued_root = tmp_path / "root.pem"
    issued_root.write_bytes(pebble.root())

    def serves() -> bool:
        try:
            verifying = ssl.create_default_context(cafile=str(issued_root))
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                with verifying.wrap_socket(connection, server_hostname=name):
                    return True
        except OSError:
            return False

    command = [caddy, "run", "--config", str(tmp_path / "Caddyfile"), "--adapter", "caddyfile"]
    directories = {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    with undisturbed(httpd, authority), running(command, tmp_path / "log", HOME=str(tmp_path), **directories):
        try:
            poll.until(serves, poll.DEADLINE, "caddy has its certificate")
        except TimeoutError as error:
            raise AssertionError(f"{error}:\n{(tmp_path / 'log').read_text()[-3000:]}") from None
    assert_relayed(httpd, port, name)
    assert client.https_get(httpd.address(), name, authority.root).status == 200
