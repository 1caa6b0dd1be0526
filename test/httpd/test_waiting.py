"""How many workers may wait for a store or an upstream that hangs: never so many that ordinary requests wait too."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

import pytest
from conftest import StartHttpd
from harness import client, poll
from harness.challenge import REFUSED, assert_answered
from harness.pki import Authority
from harness.redis import FakeStore
from harness.server import Httpd, paused
from harness.spool import KeyAuthorization
from harness.upstream import HELD, Upstream, certificate, held, serve

SITE = "site.test"
# A store or an upstream that hangs is given so long, and whoever does not wait for it is told before that is over.
STORE_HANGS, UPSTREAM_HANGS = "60s", "8s"
MOST = 16


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
            connection.sendall(b"$-1\r\n")

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

    def next(self, name: str = "") -> Future[client.Answer]:
        self._count += 1
        return self._pool.submit(client.handshake, self._httpd.address(), name or f"crowd{self._count}.test")

    def wait(self, source: Source, count: int = 1, name: str = "") -> None:
        """So many handshakes more, for each of which the source is asked once. One that is refused comes again: a
        process that has not begun to serve counts as busy."""
        first, wanted = source.asked(), len(self.waiting) + count

        def all_wait() -> bool:
            self.waiting = [each for each in self.waiting if not each.done()]
            self.waiting += [self.next(name) for _ in range(wanted - len(self.waiting))]
            return source.asked() - first == count

        poll.until(all_wait, poll.DEADLINE, f"{count} more wait")

    def assert_full(self, authority: Authority, *sources: Source, name: str = "") -> None:
        """Nobody else asks, and the next is told and ordinary requests are answered while the others still wait."""
        asked = [each.asked() for each in sources]
        assert self.next(name).result().alert == client.NO_APPLICATION_PROTOCOL
        assert client.https_get(self._httpd.address(), SITE, authority.root).status == 200
        assert [each.asked() for each in sources] == asked
        assert not any(each.done() for each in self.waiting)


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
        people.wait(source, 3)
        people.assert_full(authority, source)
    httpd.log.expect(REFUSED, f"reason={source.busy} ")


def test_half_of_one_process(make_httpd: StartHttpd, authority: Authority, source: Source) -> None:
    """Of 8 threads, though other processes have more of them."""
    httpd = server(make_httpd(mpm="event"), authority, source.directive)
    with httpd.only_child(min(httpd.children())), crowd(httpd, source) as people:
        people.wait(source, 4)
        people.assert_full(authority, source)
    httpd.log.expect(REFUSED, f"reason={source.busy} ")


def test_last_idle_process(make_httpd: StartHttpd, authority: Authority, source: Source) -> None:
    """Of the few that run, though half of those that there may be are more."""
    processes = ("ServerLimit 20", "MaxRequestWorkers 20", "StartServers 3", "MinSpareServers 1", "MaxSpareServers 3")
    httpd = server(make_httpd(mpm="prefork"), authority, *processes, source.directive)
    poll.until(lambda: len(httpd.children()) == 3, poll.DEADLINE, "all processes run")
    # The parent would start more of them.
    with paused({httpd.pid}), crowd(httpd, source) as people:
        people.wait(source, 2)
        people.assert_full(authority, source)
    httpd.log.expect(REFUSED, f"reason={source.busy} ")


def test_half_is_for_stores_and_upstreams_together(make_httpd: StartHttpd, authority: Authority) -> None:
    with hanging_store() as store, hanging_upstream() as upstream:
        httpd = make_httpd(mpm="prefork")
        httpd.vhost("store.test", credentials=[authority.issue("store.test")], lines=[store.directive])
        httpd.vhost("upstream.test", credentials=[authority.issue("upstream.test")], lines=[upstream.directive])
        server(httpd, authority)
        with crowd(httpd, store, upstream) as people:
            people.wait(store, name="store.test")
            people.wait(upstream, 2, name="upstream.test")
            people.assert_full(authority, store, upstream, name="upstream.test")
    httpd.log.expect(REFUSED, "source=upstream .*reason=relay-busy ")


def test_half_whatever_the_time_out(make_httpd: StartHttpd, authority: Authority) -> None:
    """Also one that is short, with more handshakes at once than there are workers."""
    with Upstream() as upstream:
        directive = f"AcmeAlpnUpstream {upstream} timeout=400ms max=128 any-name"
        httpd = server(make_httpd(mpm="prefork"), authority, directive)
        httpd.log.allow(REFUSED, "reason=(timeout|relay-busy|relay-backoff) ")
        with ThreadPoolExecutor(MOST) as pool:
            answers = [pool.submit(client.handshake, httpd.address(), f"name{number}.test") for number in range(40)]
            assert {answer.result().alert for answer in answers} == {client.NO_APPLICATION_PROTOCOL}
        assert 1 <= upstream.most_open <= 3


@pytest.mark.parametrize("most", [1, 2])
def test_one_that_hangs_takes_no_place_of_another(make_httpd: StartHttpd, authority: Authority, most: int) -> None:
    """Though all of its own are taken."""
    value = KeyAuthorization.new()
    with hanging_upstream() as hanging, Upstream(serve(certificate([SITE], value.digest))) as healthy:
        directive = hanging.directive.replace("max=128", f"max={most}")
        httpd = make_httpd(mpm="prefork")
        httpd.vhost("hanging.test", credentials=[authority.issue("hanging.test")], lines=[directive])
        server(httpd, authority, f"AcmeAlpnUpstream {healthy} max={most}")
        with crowd(httpd, hanging) as people:
            people.wait(hanging, most, name="hanging.test")
            assert_answered(httpd, SITE, value)
            assert not any(each.done() for each in people.waiting)
