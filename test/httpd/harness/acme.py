"""A real ACME CA (Pebble, with its DNS server) and a real client (certbot) on loopback."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import unittest
import urllib.request
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from . import commands, poll, ports
from .pki import Authority
from .server import LEASH, REPOSITORY

PEBBLE = "/usr/bin/pebble"
CHALLTESTSRV = "/usr/bin/pebble-challtestsrv"
CERTBOT = "/usr/bin/certbot"
CERTBOT_TIMEOUT = 240.0

# certbot takes the system's settings in any case, and runs the hooks that an admin has put into them. Before a
# command of root's: what it runs finds none.
UNCONFIGURED = (
    *("unshare", "--mount", "sh", "-c", '[ ! -e "$0" ] || mount --bind /dev/null "$0"; exec "$@"'),
    "/etc/letsencrypt/cli.ini",
)

# Each identifier is validated as often, at once.
VALIDATIONS = 3


class Pebble:
    """Pebble, which validates tls-alpn-01 at `tls_port` of what its DNS server answers: 127.0.0.1, unless told."""

    def __init__(self, directory: Path, authority: Authority, tls_port: int, program: str | Path = PEBBLE) -> None:
        self._program = program
        self.log = directory / "pebble.log"
        self.trust = authority.root
        self.port = ports.choose()
        self._management = ports.choose()
        self._dns = ports.choose(kind=socket.SOCK_DGRAM)
        self._challtestsrv = ports.choose()
        self._config = directory / "pebble.json"
        self._config.write_text(json.dumps({"pebble": self._settings(authority, tls_port)}))
        self._processes: list[subprocess.Popen[bytes]] = []

    def _settings(self, authority: Authority, tls_port: int) -> dict[str, object]:
        credential = authority.issue("localhost", "127.0.0.1")
        return {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": str(credential.certificate),
            "privateKey": str(credential.key),
            "httpPort": 1,
            "tlsPort": tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
        }

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/dir"

    def root(self) -> bytes:
        """The root certificate (PEM) of what this Pebble issues; each run makes a new one."""
        return self._get(f"https://127.0.0.1:{self._management}/roots/0")

    def start(self) -> Pebble:
        environment = {
            **os.environ,
            "PEBBLE_VA_NOSLEEP": "1",
            "PEBBLE_WFE_NONCEREJECT": "0",
            # Nearly every order is validated anew, also the renewal of names that were valid a second ago.
            "PEBBLE_AUTHZREUSE": "0",
        }
        dns = f"127.0.0.1:{self._dns}"
        self._spawn(
            [CHALLTESTSRV, "-dns01", dns, "-http01", "", "-https01", "", "-tlsalpn01", ""]
            + ["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-management", f"127.0.0.1:{self._challtestsrv}"],
            environment,
        )
        self._spawn([self._program, "-config", str(self._config), "-dnsserver", dns, "-strict"], environment)
        try:
            poll.until(self._ready, poll.DEADLINE, "Pebble answers")
        except BaseException:
            self.stop()
            raise
        return self

    def set_address(self, name: str, *addresses: str) -> None:
        """Make this name alone resolve to other IPv4 addresses."""
        record = json.dumps({"host": f"{name}.", "addresses": list(addresses)}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self._challtestsrv}/add-a", record, timeout=poll.DEADLINE):
            pass

    def validations(self) -> int:
        """How often it was asked to validate an identifier, so far."""
        return self.log.read_text().count(f"Starting {VALIDATIONS} validations")

    def validated(self) -> Counter[str]:
        """How often it was asked to validate each identifier, so far. That is not once for each order: it uses one
        valid authorization in a hundred again, also with PEBBLE_AUTHZREUSE=0."""
        return Counter(re.findall(r'Pulled a task .*?Identifier\{[^}]*Value:"([^"]*)"', self.log.read_text()))

    def _spawn(self, command: Sequence[str | Path], environment: dict[str, str]) -> None:
        with self.log.open("ab") as output:
            self._processes.append(
                subprocess.Popen(
                    [*LEASH, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
                )
            )

    def _ready(self) -> bool:
        for process in self._processes:
            if process.poll() is not None:
                raise ChildProcessError(f"{process.args!r} ended:\n{self.log.read_text()}")
        try:
            return bool(self._get(self.url))
        except OSError:
            return False

    def _get(self, url: str) -> bytes:
        verifying = ssl.create_default_context(cafile=str(self.trust))
        with urllib.request.urlopen(url, timeout=5, context=verifying) as response:
            return bytes(response.read())

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(poll.DEADLINE)
        self._processes.clear()

    def __enter__(self) -> Pebble:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def skip_where_missing(program: str) -> None:
    """Skip where ACME_ALPN_WITHOUT says that the system has no such program; elsewhere it has to be there."""
    if Path(program).name in os.environ.get("ACME_ALPN_WITHOUT", "").split():
        raise unittest.SkipTest(f"this system has no {program}, or none that is new enough")


def install_plugin(directory: Path) -> Path:
    """Install the certbot plugin, from a copy of its sources, into a directory for PYTHONPATH."""
    target = directory / "site"
    with tempfile.TemporaryDirectory() as build:
        source = shutil.copytree(REPOSITORY / "certbot", Path(build) / "certbot")
        subprocess.run(
            ["/usr/bin/python3", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
            + ["--no-build-isolation", "--root-user-action=ignore", "--target", str(target), str(source)],
            check=True,
            timeout=poll.DEADLINE * poll.FACTOR,
        )
    return target


class Certbot:
    """Debian's certbot, or another, with its own directories and the plugin of this repository."""

    def __init__(self, directory: Path, plugin: Path, pebble: Pebble, command: Sequence[str] = (CERTBOT,)) -> None:
        self.directory = directory
        self.trust = pebble.trust
        self._plugin = plugin
        self._pebble = pebble
        self._command = command

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `certbot ARGUMENTS`; stdout and stderr come back as one text."""
        directories = [
            option
            for name in ("config", "work", "logs")
            for option in (f"--{name}-dir", str(self.directory / name))
        ]
        return commands.run(
            [*UNCONFIGURED, *self._command, *arguments, "-n", "--server", self._pebble.url, *directories],
            CERTBOT_TIMEOUT * poll.FACTOR,
            env={
                **os.environ,
                "PATH": f"{REPOSITORY}:/usr/sbin:/usr/bin:/sbin:/bin",  # with acme-alpn, for a store
                "PYTHONPATH": str(self._plugin),
                "REQUESTS_CA_BUNDLE": str(self.trust),
                "XDG_CONFIG_HOME": str(self.directory),
            },
        )

    def certonly(self, names: Sequence[str], *options: str) -> subprocess.CompletedProcess[str]:
        domains = [option for name in names for option in ("-d", name)]
        account = ["--agree-tos", "--register-unsafely-without-email"]
        return self.run("certonly", "-a", "acme-alpn", *account, *domains, *options)

    def live(self, name: str) -> Path:
        """Where certbot keeps the current certificate of this certificate name."""
        return self.directory / "config" / "live" / name
