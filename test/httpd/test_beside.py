"""Other modules beside this one: what they see of a challenge, and what they would do to it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import StartHttpd, checked
from harness import client, poll
from harness.challenge import assert_refused, publish_and_check
from harness.pki import Authority
from harness.server import MODULES, Httpd

NAME = "beside.test"
SOURCE = Path(__file__).parent / "observer" / "mod_observer.c"
VHOSTS: dict[str, list[str]] = {
    NAME: [],
    "listed.test": ["Protocols http/1.1 acme-tls/1"],
    "preferred.test": ["Protocols acme-tls/1 http/1.1"],
    "client-order.test": ["Protocols http/1.1 acme-tls/1", "ProtocolsHonorOrder Off"],
}
GET = f"GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode()


@pytest.fixture(scope="module")
def observer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module of the test's own, built with httpd's tool for that."""
    directory = tmp_path_factory.mktemp("observer")
    shutil.copy(SOURCE, directory)
    subprocess.run(["apxs", "-c", SOURCE.name], cwd=directory, check=True, stdout=subprocess.DEVNULL, timeout=poll.DEADLINE)
    return directory / ".libs" / "mod_observer.so"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_other_modules_see_the_protocol(
    observer: Path, version: str, make_httpd: StartHttpd, authority: Authority
) -> None:
    httpd = make_httpd(modules=["http2"])
    httpd.server_lines.append(f"LoadModule observer_module {observer}")
    httpd.vhost(NAME, credentials=[authority.issue(NAME)], lines=["Protocols h2 http/1.1"])
    httpd.start()
    publish_and_check(httpd, NAME, lambda: client.handshake(httpd.address(), NAME, version=version))
    httpd.log.expect(pattern="observed: protocol=acme-tls/1$")
    client.https_get(httpd.address(), NAME, authority.root)
    httpd.log.expect(pattern="observed: protocol=http/1.1$")


@pytest.fixture(scope="module", params=["mod_md-first", "mod_md-last"])
def server(request: pytest.FixtureRequest, make_shared_httpd: StartHttpd, authority: Authority) -> Httpd:
    """With mod_md, which takes acme-tls/1 for any name, and no domain that it manages."""
    httpd = make_shared_httpd()
    if request.param == "mod_md-first":
        httpd.modules.append("md")
        httpd.module_last = True
    else:
        httpd.server_lines.append(f"LoadModule md_module {MODULES}/mod_md.so")
    httpd.server_lines.append(f"MDStoreDir {httpd.root}/md")
    for name, lines in VHOSTS.items():
        httpd.vhost(name, credentials=[authority.issue(name)], lines=lines)
    return httpd.start()


@pytest.fixture
def httpd(server: Httpd) -> Iterator[Httpd]:
    with checked(server):
        yield server


NAMES = (*VHOSTS, "nobody.test")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("name", NAMES)
def test_beside_mod_md_the_spool_is_answered_from(httpd: Httpd, name: str, version: str) -> None:
    publish_and_check(httpd, name, lambda: client.handshake(httpd.address(), name, version=version))


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("name", NAMES)
def test_beside_mod_md_what_nobody_has_is_refused(httpd: Httpd, name: str, version: str) -> None:
    shake = lambda: client.handshake(httpd.address(), name, version=version, send=GET)
    assert_refused(httpd, name, "no-entry", shake)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("offer", [("acme-tls/1", "http/1.1"), ("http/1.1", "acme-tls/1")])
@pytest.mark.parametrize("name", VHOSTS)
def test_beside_mod_md_two_protocols_are_no_challenge(
    httpd: Httpd, authority: Authority, name: str, offer: tuple[str, ...], version: str, live: bool
) -> None:
    if live:
        httpd.spool.publish(name)
    answer = client.handshake(httpd.address(), name, alpn=offer, version=version)
    assert (answer.alpn, answer.leaf) == ("http/1.1", authority.issue(name).der)
    assert httpd.spool.entries() == ([name] if live else [])
    for entry in httpd.spool.entries():
        httpd.spool.withdraw(entry)
