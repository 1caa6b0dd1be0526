"""debian/tests on a Debian of their own, as autopkgtest runs them: it installs the packages and what the tests name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Built, prepare, required
from machine import REPOSITORY, Machine

TESTS = {
    name
    for line in re.findall(r"(?m)^Tests: (.*)$", (REPOSITORY / "debian" / "tests" / "control").read_text())
    for name in line.split()
}
# The machine is the container.
AUTOPKGTEST = "autopkgtest --ignore-restrictions=isolation-container"


@pytest.fixture(scope="module")
def testbed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    sources = Path(required("ACME_ALPN_SOURCES"))
    with Machine(required("ACME_ALPN_SERVER_ROOT"), tmp_path_factory.mktemp("testbed"), sources) as machine:
        prepare(machine, built)
        # A build leaves debian/files; without it autopkgtest takes the means to build.
        machine.run("apt-get install autopkgtest && touch /src/debian/files")
        yield machine


def test_each_test_passes(testbed: Machine) -> None:
    done = testbed.attempt(f"{AUTOPKGTEST} /root/*.deb /src -- null")
    told = done.stdout[-6000:]
    assert done.returncode == 0, told
    assert set(re.findall(r"(?m)^(\S+) +PASS$", done.stdout)) == TESTS, told


@pytest.mark.parametrize("test", sorted(TESTS))
def test_each_test_fails_without_the_module(testbed: Machine, test: str) -> None:
    """And says why."""
    testbed.run("a2dismod acme_alpn && apachectl restart")
    done = testbed.attempt(f"cd /src && AUTOPKGTEST_TMP=$(mktemp -d) debian/tests/{test}")
    assert done.returncode != 0 and re.search("is not loaded|with alert 120", done.stdout), done.stdout[-8000:]
