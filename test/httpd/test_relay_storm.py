"""Strangers who make the module ask a store or an upstream that hangs: ordinary requests and the spool do not notice."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import pytest
from conftest import StartHttpd
from harness import client, poll
from harness.challenge import ANSWERED
from harness.checker import check_answer
from harness.load import LONG
from harness.pki import Authority
from harness.redis import FakeStore, Hesitant
from harness.server import Httpd
from harness.storm import ordinary, server, storm
from harness.upstream import Upstream

RATE, ORDINARY_RATE = 500, 50
ROUNDS, SECONDS = 10 if LONG else 2, 2
# Far from the time-out of a worker that waits for an upstream all the time; and so many times as long as while as
# many handshakes ask nobody, which on a busy machine is more.
IN_TIME, AS_LONG = 3.0, 3
# What is left in the storm, of what there is while as many handshakes ask nobody: there may be noise, but
# if all workers waited, for a second each, next to nothing would be left.
LEFT = 0.25

# At once in the whole server, by default.
PLACES = 8


@dataclass(frozen=True)
class Source:
    """What is asked: its directive, how often it was, how many ask it now, and how many may at most. (A store also
    has those who wait for a moment; test_waiting.py counts the others.)"""

    directive: str
    asked: Callable[[], int]
    asked_now: Callable[[], int]
    busy: str
    most: float


@dataclass
class Seen:
    """Ordinary requests, challenges of the spool and how long one took at most, handshakes of the storm that were
    refused, and how many at most were seen to ask the source at once."""

    ordinary: int = 0
    shown: int = 0
    longest: float = 0.0
    refused: int = 0
    asked: int = 0


@contextmanager
def upstream_that_hangs() -> Iterator[Source]:
    with Upstream() as upstream:
        directive = f"AcmeAlpnUpstream {upstream} timeout=1s any-name"
        yield Source(directive, lambda: upstream.connections, upstream.asked_now, "relay-busy", PLACES)


@contextmanager
def store_in_time() -> Iterator[Source]:
    """One that answers only just in time, and so is never left alone."""
    serve = Hesitant(1.0)
    with FakeStore(serve) as store:
        directive = f"AcmeAlpnStore {store.url} timeout=8s"
        yield Source(directive, lambda: store.accepted, lambda: serve.asked, "store-busy", math.inf)


def run(httpd: Httpd, authority: Authority, source: Source, seen: Seen, names: str, *, asked: bool) -> None:
    with storm(httpd.address(), RATE, SECONDS, names, asked=asked) as load:
        with ordinary(httpd, authority, SECONDS, ORDINARY_RATE) as traffic:
            while load.running:
                value = httpd.spool.publish("spooled.test")
                begin = time.monotonic()
                answer = client.handshake(httpd.address(), "spooled.test")
                seen.longest = max(seen.longest, time.monotonic() - begin)
                check_answer(answer, "spooled.test", value.digest)
                seen.asked = max(seen.asked, source.asked_now())
                seen.shown += 1
            done, served = load.wait(), traffic.wait()
    assert not done.right and served.right == served.handshakes, (done, served)
    seen.ordinary += served.right
    seen.refused += done.refused


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (upstream_that_hangs, "random"),
        pytest.param(upstream_that_hangs, "configured", marks=pytest.mark.long),
        pytest.param(store_in_time, "random", marks=pytest.mark.long),
    ],
)
def test_storm(
    make_httpd: StartHttpd, authority: Authority, make: Callable[[], AbstractContextManager[Source]], names: str
) -> None:
    quiet, stormy = Seen(), Seen()
    with make() as source:
        httpd = server(make_httpd(), authority, source.directive)
        for _ in range(ROUNDS):
            run(httpd, authority, source, quiet, names, asked=False)
            run(httpd, authority, source, stormy, names, asked=True)
    assert stormy.ordinary > LEFT * quiet.ordinary, (quiet, stormy)
    assert stormy.shown and stormy.longest < IN_TIME * poll.FACTOR + AS_LONG * quiet.longest, (quiet, stormy)
    assert stormy.refused > LEFT * quiet.refused > 0, (quiet, stormy)
    assert source.asked() and stormy.asked <= source.most
    httpd.log.expect("AALPN0102", f"reason={source.busy} ")
    httpd.log.expect(ANSWERED, "identifier=spooled.test .*source=spool", count=quiet.shown + stormy.shown)
