"""Three nodes behind one name, and certbot on the first: by a store, by the relay, by a shared directory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import StartHttpd
from harness import poll
from harness.acme import Certbot, Pebble
from harness.challenge import ANSWERED, INCOMPLETE, REFUSED
from harness.issuance import issued, names_of
from harness.pki import Authority
from harness.redis import PREFIX, Redis
from harness.server import Httpd, Listener

pytestmark = pytest.mark.flaky(reruns=2)

NAME = "fleet.test"
ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
FAILS, WORKS = "AALPN0401", "AALPN0402"
NOT_ASKED = "The CA was not asked"
RENEW = ("renew", "--force-renewal", "--no-random-sleep-on-renew")

Fleet = list[Httpd]
MakeFleet = Callable[..., Fleet]
Run = Callable[..., bool]
Certify = Callable[..., Run]


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
def certify(plugin: Path, tmp_path: Path, authority: Authority) -> Iterator[Certify]:
    """For a fleet and a spool: what runs certbot once, with a check of each node, and tells whether it got there."""
    pebbles: list[Pebble] = []

    def prepare(fleet: Fleet, spool: str) -> Run:
        pebble = Pebble(tmp_path, authority, fleet[0].address()[1])
        pebbles.append(pebble)
        pebble.start().set_address(NAME, *ADDRESSES)
        certbot = Certbot(tmp_path / "certbot", plugin, pebble)
        checks = [f"--acme-alpn-check={node.listeners['main']}" for node in fleet]

        def run(*, asks: bool = True, says: str = "", renews: bool = False) -> bool:
            """A renewal has its options from the first order."""
            before = pebble.validations()
            done = certbot.run(*RENEW) if renews else certbot.certonly([NAME], f"--acme-alpn-spool={spool}", *checks)
            if renews and done.returncode == 0 and pebble.validations() == before:
                # Pebble used the valid authorization again (see Pebble.validated).
                done = certbot.run(*RENEW)
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


def test_by_the_store_with_restarts(make_fleet: MakeFleet, redis: Redis, certify: Certify) -> None:
    fleet = make_fleet(f"AcmeAlpnStore {redis.url} timeout=5s")
    for node in fleet:
        node.start()
    run = certify(fleet, redis.url)
    assert run()
    assert_each_answered(fleet, "store")
    assert redis.run("KEYS", "*") == ""
    redis.restart()
    fleet[1].reload()
    assert run(renews=True)
    assert_each_answered(fleet, "store")
    assert not [node for node in fleet if node.log.find(FAILS)]


def test_by_the_relay_alone(make_fleet: MakeFleet, certify: Certify) -> None:
    fleet = make_fleet()
    for node in fleet[1:]:
        node.server_lines.append(f"AcmeAlpnUpstream {fleet[0].listeners['main']}")
    for node in fleet:
        node.start()
    assert certify(fleet, str(fleet[0].spool.path))()
    assert_each_answered(fleet[:1], "spool")
    assert_each_answered(fleet[1:], "upstream")


def test_by_a_shared_directory(make_fleet: MakeFleet, certify: Certify) -> None:
    fleet = make_fleet()
    for node in fleet:
        node.server_lines.append(f"AcmeAlpnSpool {fleet[0].spool.path}")
        node.start()
    assert certify(fleet, str(fleet[0].spool.path))()
    assert_each_answered(fleet, "spool")
    assert fleet[0].spool.entries() == []


# Faults while an order is under way


def order_with_a_fault(
    fleet: Fleet, run: Run, is_published: Callable[[], bool], fault: Callable[[], None], *, succeeds: bool
) -> None:
    """The fault comes when the challenge is there; the order cannot go on before the last node answers."""
    for node in fleet[:-1]:
        node.start()
    with ThreadPoolExecutor() as executor:
        order = executor.submit(run, asks=succeeds, says="" if succeeds else NOT_ASKED)
        poll.until(is_published, poll.DEADLINE, "the challenge is there")
        fault()
        fleet[-1].start()
        assert order.result() == succeeds


def in_store(redis: Redis) -> Callable[[], bool]:
    return lambda: bool(re.fullmatch(r"[\w-]+\.[\w-]{43}", redis.run("GET", PREFIX + NAME)))


@pytest.mark.parametrize("kind", ["store-restarted", "node-reloaded"])
def test_order_goes_on_after(kind: str, make_fleet: MakeFleet, redis: Redis, certify: Certify) -> None:
    fleet = make_fleet(f"AcmeAlpnStore {redis.url} timeout=5s")
    fault = redis.restart if kind == "store-restarted" else fleet[0].reload
    order_with_a_fault(fleet, certify(fleet, redis.url), in_store(redis), fault, succeeds=True)
    assert_each_answered(fleet, "store")
    for node in fleet:  # of the handshakes that came while there was no store
        node.log.allow(FAILS, r"store-(unreachable|closed|failed: .*LOADING)")
    assert redis.run("KEYS", "*") == ""


def test_node_that_the_relay_asks_stops(make_fleet: MakeFleet, certify: Certify) -> None:
    fleet = make_fleet()
    for node in fleet[1:]:
        node.server_lines.append(f"AcmeAlpnUpstream {fleet[0].listeners['main']}")
    run, spool = certify(fleet, str(fleet[0].spool.path)), fleet[0].spool
    order_with_a_fault(fleet, run, lambda: spool.entries() == [NAME], fleet[0].stop, succeeds=False)
    fleet[-1].log.expect(REFUSED, f"identifier={NAME} .*source=upstream reason=connection-refused ")
    for node in fleet:
        node.log.allow(REFUSED, f"identifier={NAME} ")
    # It stops in the midst of handshakes, and asks nobody about that.
    fleet[0].log.allow(INCOMPLETE, f"identifier={NAME} ")
    assert spool.entries() == []


@pytest.mark.parametrize("comes_back", [True, False], ids=["stopped", "killed"])
def test_store_fails_in_the_middle_of_an_order(
    make_fleet: MakeFleet, redis: Redis, certify: Certify, comes_back: bool
) -> None:
    """One that goes on costs a second; one that does not ends the order before the CA is asked."""
    fleet = make_fleet(f"AcmeAlpnStore {redis.url}")
    for node in fleet[:-1]:
        node.start()
    run = certify(fleet, redis.url)
    with ThreadPoolExecutor() as executor:
        # It cannot go on before the last node answers.
        order = executor.submit(run, asks=comes_back, says="" if comes_back else NOT_ASKED)
        poll.until(lambda: redis.run("EXISTS", PREFIX + NAME) == "1", poll.DEADLINE, "the challenge is in the store")
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
