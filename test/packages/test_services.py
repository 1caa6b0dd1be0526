"""What build/packages.sh installs for the tests does not start with the machine, and what did before still does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import required
from machine import REPOSITORY, Machine

SERVICE = "apache2"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A Debian without any server, and without systemd."""
    with Machine(required("ACME_ALPN_SERVER_ROOT"), tmp_path_factory.mktemp("services")) as running:
        running.write("/root/packages.sh", (REPOSITORY / "build" / "packages.sh").read_text())
        yield running


def install(machine: Machine, *packages: str) -> str:
    """As install_packages does, but from apt's cache."""
    command = f"apt-get install -y --no-install-recommends {' '.join(packages)}"
    return machine.run(f"bash -euo pipefail -c '. /root/packages.sh; without_services {command}'")


SYSTEMD = "/etc/systemd/system/multi-user.target.wants"
ENABLED = {f"/etc/rc{level}.d/S01{SERVICE}" for level in "2345"} | {f"{SYSTEMD}/{SERVICE}.service"}
DISABLED = {f"/etc/rc{level}.d/K01{SERVICE}" for level in "2345"}


def services(machine: Machine) -> set[str]:
    """Without those that nobody enables: apache-htcacheclean is Debian's example."""
    links = machine.run(f"find /etc/rc[2-5].d /etc/systemd/system -name '*{SERVICE}*'").split()
    return {link for link in links if "htcacheclean" not in link}


def test_what_is_installed_is_not_enabled_then_or_anew(machine: Machine) -> None:
    install(machine, SERVICE)
    assert services(machine) == DISABLED
    machine.run(f"test ! -e /usr/sbin/policy-rc.d && apt-get install -y --reinstall {SERVICE}")
    assert services(machine) == DISABLED


def test_what_was_enabled_stays_enabled(machine: Machine) -> None:
    """With systemctl, which comes with systemd, Debian's scripts enable in another way."""
    machine.run(f"update-rc.d {SERVICE} enable")
    assert services(machine) == ENABLED
    install(machine, "systemd")
    machine.run(f"apt-get install -y --reinstall {SERVICE}")
    assert services(machine) == ENABLED
