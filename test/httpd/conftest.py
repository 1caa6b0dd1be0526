"""Fixtures: a CA for the whole run, and private servers that are checked when a test is done."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness.acme import CERTBOT, Pebble, install_plugin, skip_where_missing
from harness.fault import ServerFault
from harness.issuance import ASTRAY, NAMES, NOBODY_THERE, OFF, OWNED, SITE, STRANGER
from harness.load import LONG
from harness.pki import Authority
from harness.redis import Redis
from harness.registries import locked
from harness.second_try import pytest_runtest_makereport  # noqa: F401, a hook
from harness.server import Httpd
from harness.spool import Spool

StartHttpd = Callable[..., Httpd]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked as long, unless the long forms are asked for."""
    left_out = [] if LONG else [item for item in items if item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certbot plugin, for PYTHONPATH: installed by the first of xdist's processes that needs it, for all."""
    skip_where_missing(CERTBOT)
    own = tmp_path_factory.getbasetemp()
    directory = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    with locked(directory / "plugin.lock"):
        installed = directory / "site"
        return installed if installed.exists() else install_plugin(directory)


def _servers() -> Iterator[StartHttpd]:
    made: list[Httpd] = []

    def make(**arguments: object) -> Httpd:
        httpd = Httpd(**arguments)  # type: ignore[arg-type]
        made.append(httpd)
        return httpd

    yield make
    failures = []
    for httpd in made:
        try:
            httpd.close()
        except AssertionError as failure:
            failures.append(str(failure))
    if failures:
        raise ServerFault("\n".join(failures))


@pytest.fixture
def make_httpd() -> Iterator[StartHttpd]:
    """Make servers (not started) with the arguments of Httpd; all are stopped and checked at the end."""
    yield from _servers()


@pytest.fixture(scope="module")
def make_shared_httpd() -> Iterator[StartHttpd]:
    """The same for servers that the tests of one file share; each test gives them to `checked`."""
    yield from _servers()


@contextmanager
def checked(httpd: Httpd) -> Iterator[Httpd]:
    """Use a shared server for one test: it lives on, and what the test left in the log fails this test."""
    yield httpd
    httpd.assert_alive()
    httpd.log.check()


def start_vhost(httpd: Httpd, name: str, authority: Authority) -> Httpd:
    httpd.vhost(name, credentials=[authority.issue(name)])
    return httpd.start()


# For files that have no fixture of the same name themselves.


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, make_shared_httpd: StartHttpd, authority: Authority) -> Httpd:
    """With a vhost of the file's NAME; or, where there is none, with those that a CA issues certificates for."""
    httpd = make_shared_httpd()
    if hasattr(request.module, "NAME"):
        return start_vhost(httpd, request.module.NAME, authority)
    httpd.listen("second")
    for listener in httpd.listeners:
        for name in (SITE, *NAMES):
            httpd.vhost(name, credentials=[authority.issue(name)], listener=listener)
    owned = Spool(httpd.root / "owned").create()
    os.chown(owned.path, STRANGER, STRANGER)
    httpd.vhost(OWNED, credentials=[authority.issue(OWNED)], lines=[f"AcmeAlpnSpool {owned.path}"])
    httpd.vhost(OFF, credentials=[authority.issue(OFF)], lines=["AcmeAlpnEngine Off"])
    return httpd.start()


@pytest.fixture(scope="module")
def pebble(server: Httpd, tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Pebble]:
    with Pebble(tmp_path_factory.mktemp("pebble"), authority, server.address()[1]) as running:
        running.set_address(ASTRAY, NOBODY_THERE)
        yield running


@pytest.fixture
def httpd(server: Httpd) -> Iterator[Httpd]:
    """Each test claims its own log."""
    server.log.begin()
    with checked(server):
        yield server


@pytest.fixture
def redis() -> Iterator[Redis]:
    with Redis() as running:
        yield running
