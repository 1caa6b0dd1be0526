"""debian/tests on a Debian of their own, as autopkgtest runs them: it installs the packages and what the tests name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Built, prepare, required
from machine import REPOSITORY, Machine

CONTROL = (REPOSITORY / "debian" / "tests" / "control").read_text()


def named(field: str) -> set[str]:
    lines = re.findall(rf"(?m)^{field}: (.*)$", CONTROL)
    return {name for line in lines for name in re.findall(r"[^\s,]+", line)}


TESTS = named("Tests")
# The machine is the container.
AUTOPKGTEST = "autopkgtest --ignore-restrictions=isolation-container"
# What PrivateTmp=true in Debian's apache2.service means where there is no systemd: httpd has a /tmp of its own.
# /etc/init.d/apache2, which the packages start it by, takes this from /usr/local/sbin.
APACHE2CTL = """#!/bin/sh
[ "$1" = start ] || exec /usr/sbin/apache2ctl "$@"
exec unshare --mount sh -ec '
    for directory in /tmp /var/tmp; do mount -t tmpfs -o mode=1777 tmpfs "$directory"; done
    exec /usr/sbin/apache2ctl start'
"""


@pytest.fixture(scope="module")
def testbed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    sources = Path(required("ACME_ALPN_SOURCES"))
    with Machine(required("ACME_ALPN_SERVER_ROOT"), tmp_path_factory.mktemp("testbed"), sources) as machine:
        prepare(machine, built)
        machine.write("/usr/local/sbin/apache2ctl", APACHE2CTL)
        machine.run("chmod 755 /usr/local/sbin/apache2ctl")
        # In the end autopkgtest has apt fetch its lists again. There is no network, so one attempt is enough.
        machine.write("/etc/apt/apt.conf.d/99no-retries", 'Acquire::Retries "0";\n')
        # A build leaves debian/files; without it autopkgtest takes the means to build.
        machine.run("apt-get install --no-install-recommends autopkgtest && touch /src/debian/files")
        yield machine


def test_each_test_passes(testbed: Machine) -> None:
    done = testbed.attempt(f"{AUTOPKGTEST} /root/*.deb /src -- null")
    told = done.stdout[-6000:]
    assert done.returncode == 0, told
    assert set(re.findall(r"(?m)^(\S+) +PASS$", done.stdout)) == TESTS, told
    # httpd still runs, and has mounts of its own.
    mounts = "/proc/$(cat /run/apache2/apache2.pid)/ns/mnt"
    testbed.run(f"test -e {mounts} && ! test {mounts} -ef /proc/self/ns/mnt")


@pytest.fixture(scope="module")
def without_module(testbed: Machine) -> Machine:
    """With what the tests need, if autopkgtest has not installed it, and without what certbot's has left."""
    packages = " ".join(named("Depends") - {"@"})
    testbed.run(f"apt-get install --no-install-recommends /root/*.deb {packages}")
    testbed.run("cd /etc/letsencrypt && rm -rf accounts archive live renewal")
    testbed.run("a2dismod acme_alpn && apachectl restart")
    return testbed


@pytest.mark.parametrize("test", sorted(TESTS))
def test_each_test_fails_without_the_module(without_module: Machine, test: str) -> None:
    """And says why."""
    done = without_module.attempt(f"cd /src && AUTOPKGTEST_TMP=$(mktemp -d) debian/tests/{test}")
    assert done.returncode != 0 and re.search("is not loaded|with alert 120", done.stdout), done.stdout[-8000:]
