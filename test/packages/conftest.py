"""The packages are built once, as the README says, and from the sources as they are."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from issuer import HTTPS, authority, pebble  # noqa: F401
from machine import REPOSITORY, Machine

from harness.acme import Pebble
from harness.pages import block
from harness.pki import Authority

PACKAGES = ("acme-alpn", "libapache2-mod-acme-alpn", "python3-certbot-acme-alpn")


@dataclass(frozen=True)
class Built:
    """What dpkg-buildpackage made, and what it printed."""

    directory: Path
    log: str

    def package(self, name: str) -> Path:
        (found,) = self.directory.glob(f"{name}_*.deb")
        return found

    def field(self, package: str, name: str) -> str:
        command = ["dpkg-deb", "--field", self.package(package), name]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def required(name: str) -> str:
    assert name in os.environ, f"{name} is not set; run test/packages/run"
    return os.environ[name]


@pytest.fixture(scope="session")
def readme() -> list[str]:
    """The lines that build, install and enable on Debian. The machines have no network, and apt's lists already."""
    update, *commands = block("README", "apt-get update\n").splitlines()
    assert update == "apt-get update" and len(commands) == 2
    return [*commands, block("README", "a2ensite default-ssl")]


@pytest.fixture(scope="session")
def built(readme: list[str], tmp_path_factory: pytest.TempPathFactory) -> Built:
    directory = tmp_path_factory.mktemp("build")
    sources = Path(required("ACME_ALPN_SOURCES"))
    with Machine(required("ACME_ALPN_BUILD_ROOT"), directory, sources) as machine:
        options = shlex.quote(os.environ.get("DEB_BUILD_OPTIONS", ""))
        log = machine.run(f"export DEB_BUILD_OPTIONS={options} && {readme[0]}", "/src")
        machine.run("mkdir /results/packages && mv /*.deb /*.changes /*.buildinfo /results/packages")
    return Built(directory / "packages", log)


@pytest.fixture(scope="session")
def newer(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same packages with a higher version."""
    target = tmp_path_factory.mktemp("newer")
    for name in PACKAGES:
        content = target / name
        subprocess.run(["dpkg-deb", "-R", built.package(name), content], check=True)
        control = content / "DEBIAN" / "control"
        text, replaced = re.subn(r"(?m)^(Version: .*)$", r"\1+newer", control.read_text())
        assert replaced == 1
        control.write_text(text)
        subprocess.run(["dpkg-deb", "--build", content, target], check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(content)
    return target


def prepare(machine: Machine, built: Built) -> None:
    """Let packages start their services, which they do not without an init, and apt ask nothing; ours are in /root."""
    machine.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 0\n")
    machine.run("chmod 755 /usr/sbin/policy-rc.d")
    machine.write("/etc/apt/apt.conf.d/99assume-yes", 'APT::Get::Assume-Yes "true";\n')
    for package in built.directory.glob("*.deb"):
        shutil.copy(package, machine.directory)
    machine.run("cp /results/*.deb /root && mkdir /root/source")


@pytest.fixture(scope="module")
def server(
    built: Built, authority: Authority, pebble: Pebble, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """An empty Debian, with the packages in /root, where apt asks nothing and certbot knows its CA."""
    with Machine(required("ACME_ALPN_SERVER_ROOT"), tmp_path_factory.mktemp("server")) as machine:
        prepare(machine, built)
        machine.write("/usr/local/share/test-ca.pem", authority.root.read_text())
        machine.environment["REQUESTS_CA_BUNDLE"] = "/usr/local/share/test-ca.pem"
        settings = ("agree-tos", "non-interactive", "register-unsafely-without-email")
        machine.write(
            "/root/.config/letsencrypt/cli.ini",
            f"server = {pebble.url}\n" + "".join(f"{name} = true\n" for name in settings),
        )
        yield machine
