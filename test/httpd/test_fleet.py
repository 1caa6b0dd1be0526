"""Three nodes behind one name, and certbot on the first: by a store, by the relay, by a shared directory."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import StartHttpd
from harness import poll
from harness.acme import CERTBOT, Certbot, Pebble, install_plugin, skip_where_missing
from harness.challenge import ANSWERED, REFUSED
from harness.issuance import issued, names_of
from harness.pki import Authority
from harness.redis import PREFIX, Redis
from harness.server import Httpd, Listener

pytestmark = pytest.mark.flaky(reruns=2)

NAME = "fleet.test"
ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
FAILS, WORKS = "AALPN0401", "AALPN0402"

Fleet = list[Httpd]
MakeFleet = Callable[..., Fleet]


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    skip_where_missing(CERTBOT)
    return install_plugin(tmp_path_factory.mktemp("plugin"))


@pytest.fixture
def redis() -> Iterator[Redis]:
    with Redis() as running:
        yield running


@pytest.fixture
def make_fleet(make_httpd: StartHttpd, authority: Authority) -> MakeFleet:
    """Not started, on the same port of each address."""

    def make(*lines: str) -> Fleet:
        nodes = [make_httpd() for _ in ADDRESSES]
        first = nodes[0].listeners["main"]
        first.choose_port()
        for node, address in zip(nodes, ADDRESSES):
            node.listeners["main"] = Listener(address, first.port)
            node.server_lines += lines
            node.vhost(NAME, credentials=[authority.issue(NAME)])
        return nodes

    return make


@pytest.fixture
def certify(plugin: Path, tmp_path: Path, authority: Authority) -> Iterator[Callable[..., Callable[..., bool]]]:
    """For a fleet and a spool: what runs certbot once, with a check of each node, and tells whether it got there."""
    pebbles: list[Pebble] = []

    def prepare(fleet: Fleet, spool: str) -> Callable[..., bool]:
        pebble = Pebble(tmp_path, authority, fleet[0].address()[1])
        pebbles.append(pebble)
        pebble.start().set_address(NAME, *ADDRESSES)
        certbot = Certbot(tmp_path / "certbot", plugin, pebble)
        checks = [f"--acme-alpn-check={node.listeners['main']}" for node in fleet]

        def run(*, asks: bool = True, says: str = "") -> bool:
            before = pebble.validations()
            done: subprocess.CompletedProcess[str] = certbot.certonly(
                [NAME], f"--acme-alpn-spool={spool}", "--force-renewal", *checks
            )
            assert (pebble.validations() > before) == asks, done.stdout
            assert says in done.stdout, done.stdout
            if done.returncode == 0:
                assert names_of(issued(certbot, NAME)) == {NAME}
            return done.returncode == 0

        return run

    yield prepare
    for pebble in pebbles:
        pebble.stop()


def assert_each_answered(fleet: Fleet, source: str) -> None:
    for node in fleet:
        node.log.expect(ANSWERED, f"identifier={NAME} .*source={source}")
        # certbot asks a node again until all of them answer.
        node.log.allow(REFUSED, f"identifier={NAME} ")


def test_by_the_store_with_restarts(make_fleet: MakeFleet, redis: Redis, certify: Callable[..., Callable[..., bool]]) -> None:
    fleet = make_fleet(f"AcmeAlpnStore {redis.url}")
    for node in fleet:
        node.start()
    run = certify(fleet, redis.url)
    assert run()
    assert_each_answered(fleet, "store")
    assert redis.run("KEYS", "*") == ""
    redis.restart()
    fleet[1].reload()
    assert run()
    assert_each_answered(fleet, "store")
    assert not [node for node in fleet if node.log.find(FAILS)]


def test_by_the_relay_alone(make_fleet: MakeFleet, certify: Callable[..., Callable[..., bool]]) -> None:
    fleet = make_fleet()
    for node in fleet[1:]:
        node.server_lines.append(f"AcmeAlpnUpstream {fleet[0].listeners['main']}")
    for node in fleet:
        node.start()
    assert certify(fleet, str(fleet[0].spool.path))()
    assert_each_answered(fleet[:1], "spool")
    assert_each_answered(fleet[1:], "upstream")


def test_by_a_shared_directory(make_fleet: MakeFleet, certify: Callable[..., Callable[..., bool]]) -> None:
    fleet = make_fleet()
    for node in fleet:
        node.server_lines.append(f"AcmeAlpnSpool {fleet[0].spool.path}")
        node.start()
    assert certify(fleet, str(fleet[0].spool.path))()
    assert_each_answered(fleet, "spool")
    assert fleet[0].spool.entries() == []


@pytest.mark.parametrize("comes_back", [True, False], ids=["stopped", "killed"])
def test_store_fails_in_the_middle_of_an_order(
    make_fleet: MakeFleet, redis: Redis, certify: Callable[..., Callable[..., bool]], comes_back: bool
) -> None:
    """One that goes on costs a few seconds; one that does not ends the order before the CA is asked."""
    fleet = make_fleet(f"AcmeAlpnStore {redis.url}")
    for node in fleet[:-1]:
        node.start()
    run = certify(fleet, redis.url)
    with ThreadPoolExecutor() as executor:
        # It cannot go on before the last node answers.
        order = executor.submit(run, asks=comes_back, says="" if comes_back else "The CA was not asked")
        poll.until(lambda: redis.run("EXISTS", PREFIX + NAME) == "1", 30, "the challenge is in the store")
        if comes_back:
            redis.pause()
        else:
            redis.kill()
        fleet[-1].start()
        for node in fleet:
            node.log.allow(REFUSED, f"identifier={NAME} .*reason=store-")
        try:
            fleet[-1].log.expect(FAILS, "reason=store-(timeout|unreachable)", level="error")
        finally:
            if comes_back:
                redis.resume()
        assert order.result() == comes_back
    for node in fleet:
        node.log.allow(FAILS)
    if comes_back:
        assert_each_answered(fleet, "store")
        fleet[-1].log.expect(WORKS)
