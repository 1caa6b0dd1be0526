"""How many workers may wait for a store or an upstream that hangs: never so many that ordinary requests wait too."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from threading import Event

import pytest
from conftest import StartHttpd
from harness import client, poll
from harness.challenge import ANSWERED, REFUSED
from harness.checker import check_answer
from harness.pki import Authority
from harness.redis import FakeStore
from harness.server import Httpd
from harness.spool import KeyAuthorization
from harness.upstream import HELD, Upstream, certificate, held, serve

SITE = "site.test"
# A store or an upstream that hangs is given so long, and whoever does not wait for it is told before that is over.
STORE_HANGS, UPSTREAM_HANGS = "60s", "8s"
MOST = 16
# Longer than what those may wait who have no place.
LONGER = 0.6
# Of Redis.
NOTHING = b"$-1\r\n"


@dataclass
class Source:
    """What hangs until it is `over`: its directive, how many have asked it, and what those are told who may not."""

    directive: str
    asked: Callable[[], int]
    busy: str
    over: Event


@contextmanager
def hanging_store() -> Iterator[Source]:
    over, questions = Event(), []

    def answer(connection: socket.socket, _: Event) -> None:
        while question := connection.recv(4096):
            questions.append(question)
            over.wait(HELD)
            connection.sendall(NOTHING)

    with FakeStore(answer) as store:
        yield Source(f"AcmeAlpnStore {store.url} timeout={STORE_HANGS}", lambda: len(questions), "store-busy", over)


@contextmanager
def hanging_upstream() -> Iterator[Source]:
    over = Event()
    with Upstream(held(over)) as upstream:
        directive = f"AcmeAlpnUpstream {upstream} timeout={UPSTREAM_HANGS} max=128 any-name"
        yield Source(directive, lambda: upstream.connections, "relay-busy", over)


@pytest.fixture(params=[hanging_store, hanging_upstream], ids=["store", "upstream"])
def source(request: pytest.FixtureRequest) -> Iterator[Source]:
    with request.param() as hanging:
        yield hanging


class Crowd:
    """Handshakes for one name after the other, none of which gets an answer."""

    def __init__(self, httpd: Httpd, pool: ThreadPoolExecutor) -> None:
        self._httpd, self._pool = httpd, pool
        self._count = 0
        self.waiting: list[Future[client.Answer]] = []

    def next(self) -> Future[client.Answer]:
        self._count += 1
        return self._pool.submit(client.handshake, self._httpd.address(), f"crowd{self._count}.test")

    def wait(self, *sources: Source) -> None:
        """One handshake more, for which each of the sources is asked once more."""
        wanted = [each.asked() + 1 for each in sources]
        self.waiting.append(self.next())
        poll.until(lambda: [each.asked() for each in sources] == wanted, poll.DEADLINE, "one more waits")

    def show_that_it_is_slow(self, source: Source) -> None:
        self.wait(source)
        poll.let_pass(LONGER)
        source.over.set()
        assert self.waiting.pop().result().alert == client.NO_APPLICATION_PROTOCOL
        source.over.clear()

    def assert_told_at_once(self, authority: Authority, *sources: Source) -> None:
        """Nobody else asks, and the next is told and ordinary requests are answered while the others still wait."""
        asked = [each.asked() for each in sources]
        assert self.next().result().alert == client.NO_APPLICATION_PROTOCOL
        assert client.https_get(self._httpd.address(), SITE, authority.root).status == 200
        assert [each.asked() for each in sources] == asked
        assert not any(each.done() for each in self.waiting)

    def assert_full(self, authority: Authority, *sources: Source) -> None:
        """The next may ask for a moment, which shows that those who are asked are slow."""
        assert self.next().result().alert == client.NO_APPLICATION_PROTOCOL
        self.assert_told_at_once(authority, *sources)


@contextmanager
def crowd(httpd: Httpd, *sources: Source) -> Iterator[Crowd]:
    """They wait no longer than the test does."""
    httpd.log.allow(REFUSED, "reason=(store-|relay-busy |timeout |closed |no-entry )")
    httpd.log.allow("AALPN0401", "reason=store-")
    with ThreadPoolExecutor(MOST) as pool:
        try:
            yield Crowd(httpd, pool)
        finally:
            for source in sources:
                source.over.set()


def server(httpd: Httpd, authority: Authority, *lines: str) -> Httpd:
    httpd.server_lines += lines
    httpd.vhost(SITE, credentials=[authority.issue(SITE)])
    return httpd.start()


def test_half_of_the_server(make_httpd: StartHttpd, authority: Authority, source: Source) -> None:
    """Of prefork's 6 processes."""
    httpd = server(make_httpd(mpm="prefork"), authority, source.directive)
    with crowd(httpd, source) as people:
        for _ in range(3):
            people.wait(source)
        people.assert_full(authority, source)
    httpd.log.expect(REFUSED, f"reason={source.busy} ")


def test_half_of_one_process(make_httpd: StartHttpd, authority: Authority, source: Source) -> None:
    """Of 8 threads, though other processes have more of them."""
    httpd = server(make_httpd(mpm="event"), authority, source.directive)
    with httpd.only_child(min(httpd.children())), crowd(httpd, source) as people:
        for _ in range(4):
            people.wait(source)
        people.assert_full(authority, source)
    httpd.log.expect(REFUSED, f"reason={source.busy} ")


def test_last_idle_process(make_httpd: StartHttpd, authority: Authority, source: Source) -> None:
    """Of the few that run, though half of those that there may be are more."""
    processes = ("ServerLimit 20", "MaxRequestWorkers 20", "StartServers 3", "MinSpareServers 1", "MaxSpareServers 3")
    httpd = server(make_httpd(mpm="prefork"), authority, *processes, source.directive)
    with crowd(httpd, source) as people:
        people.show_that_it_is_slow(source)
        for _ in range(2):
            people.wait(source)
        people.assert_told_at_once(authority, source)
    httpd.log.expect(REFUSED, f"reason={source.busy} ")


def test_store_and_upstream_take_nothing_from_each_other(make_httpd: StartHttpd, authority: Authority) -> None:
    """Each has its part of the 3 that may wait; who may not wait for the store goes on to the upstream."""
    with hanging_store() as store, hanging_upstream() as upstream:
        httpd = server(make_httpd(mpm="prefork"), authority, store.directive, upstream.directive)
        with crowd(httpd, store, upstream) as people:
            people.wait(store)
            people.wait(upstream)
            people.assert_full(authority, store, upstream)
    httpd.log.expect(REFUSED, "source=upstream .*reason=relay-busy ")


def beside_those_who_wait(httpd: Httpd, hanging: Source, value: KeyAuthorization) -> bool:
    """Whether one is answered while all places are taken. On a busy machine nothing is at once."""
    hanging.over.clear()
    with crowd(httpd, hanging) as people:
        for _ in range(3):
            people.wait(hanging)
        answer = client.handshake(httpd.address(), SITE)
        is_beside = bool(answer.chain) and not any(each.done() for each in people.waiting)
    if is_beside:
        check_answer(answer, SITE, value.digest)
    else:
        # One that has a place shows that answers are quick again.
        client.handshake(httpd.address(), SITE)
    return is_beside


def test_burst_while_a_store_answers_at_once(make_httpd: StartHttpd, authority: Authority) -> None:
    """Those beyond the places are answered all the same."""
    value, over, held_back = KeyAuthorization.new(), Event(), count(1)
    seen = [0]

    def answer(connection: socket.socket, _: Event) -> None:
        while question := connection.recv(4096):
            if b"crowd" in question:
                seen[0] = next(held_back)
                over.wait(HELD)
            connection.sendall(f"${len(value.text)}\r\n{value.text}\r\n".encode())

    with FakeStore(answer) as store:
        hanging = Source(f"AcmeAlpnStore {store.url} timeout={STORE_HANGS}", lambda: seen[0], "store-busy", over)
        httpd = server(make_httpd(mpm="prefork"), authority, hanging.directive)
        httpd.log.allow(ANSWERED)
        poll.until(lambda: beside_those_who_wait(httpd, hanging, value), poll.DEADLINE, "one is answered beside those who wait")


def test_burst_while_an_upstream_answers_at_once(make_httpd: StartHttpd, authority: Authority) -> None:
    with hanging_upstream() as hanging, Upstream() as quick:
        value = KeyAuthorization.new()
        quick.behaviour = serve(certificate([SITE], value.digest))
        httpd = make_httpd(mpm="prefork")
        httpd.vhost("hanging.test", credentials=[authority.issue("hanging.test")], lines=[hanging.directive])
        httpd.vhost(SITE, credentials=[authority.issue(SITE)], lines=[f"AcmeAlpnUpstream {quick} timeout=8s max=128"])
        httpd.start()
        httpd.log.allow(ANSWERED)
        poll.until(lambda: beside_those_who_wait(httpd, hanging, value), poll.DEADLINE, "one is answered beside those who wait")
