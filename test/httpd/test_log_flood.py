"""Strangers cannot fill the error log, nor drown in it what an admin has to see."""

from __future__ import annotations

import re
import socket
import ssl
import time

import pytest
from conftest import StartHttpd, start_vhost
from harness import client, load, poll
from harness.challenge import REFUSED
from harness.errorlog import Record
from harness.load import Load
from harness.pki import Authority
from harness.server import Httpd

NAME = "site.test"
BROKEN = "broken.test"
INCOMPLETE = "AALPN0103"
ARRIVED = "AALPN0211"
STRANGERS: list[tuple[str, None]] = [("absent.test", None), ("under_score.test", None)]
LINES_PER_SECOND = 10
COUNT = 2000


@pytest.fixture
def httpd(make_httpd: StartHttpd, authority: Authority) -> Httpd:
    return start_vhost(make_httpd(), NAME, authority)


def told(record: Record) -> int:
    """How many handshakes a line stands for: its own, and those that had none before it."""
    found = re.search(r" suppressed=(\d+)\b", record.text)
    return 1 + (int(found[1]) if found else 0)


def assert_log_is_short_and_complete(httpd: Httpd, before: int, handshakes: int, begin: float) -> None:
    """Nothing but the module's own lines, few in each second since `begin`, and none of the handshakes untold."""
    asked = 0

    def all_told() -> list[Record]:
        """How many handshakes had no line is told by the next line, which is in a later second."""
        nonlocal asked, handshakes
        lines = [line for line in httpd.log.refresh()[before:] if line.tag != ARRIVED]
        if sum(map(told, lines)) == handshakes:
            return lines
        now = int(time.time())
        if now > max([asked, *(int(line.time) for line in lines)]):
            assert client.handshake(httpd.address(), "last.test").alert == client.NO_APPLICATION_PROTOCOL
            handshakes, asked = handshakes + 1, now
        return []

    lines = poll.until(all_told, poll.DEADLINE, "the log tells of each handshake")
    seconds = int(time.time()) - int(begin) + 1
    assert {line.tag for line in lines} <= {REFUSED, INCOMPLETE}
    assert len(lines) <= LINES_PER_SECOND * seconds
    assert any(told(line) > 1 for line in lines)
    for line in lines:
        line.claimed = True


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_refused_handshakes_cannot_flood_the_log(httpd: Httpd, version: str) -> None:
    before, begin = len(httpd.log.refresh()), time.time()
    flood = load.run(httpd.address(), STRANGERS, COUNT, threads=16, version=version)
    assert flood.refused == COUNT
    assert_log_is_short_and_complete(httpd, before, COUNT, begin)


def client_hello(name: str) -> bytes:
    outgoing = ssl.MemoryBIO()
    tls = client.context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_clients_that_go_away_cannot_flood_the_log(httpd: Httpd) -> None:
    httpd.spool.publish(NAME)
    hello = client_hello(NAME)
    before, begin, count = len(httpd.log.refresh()), time.time(), 300
    for _ in range(count):
        with socket.create_connection(httpd.address(), client.TIMEOUT) as connection:
            connection.sendall(hello)
            assert connection.recv(1)
    assert_log_is_short_and_complete(httpd, before, count, begin)
    assert httpd.log.find(INCOMPLETE)


def break_entry(httpd: Httpd) -> None:
    httpd.spool.publish(BROKEN)
    (httpd.spool.path / BROKEN).chmod(0o666)


def assert_told(httpd: Httpd) -> None:
    """A handshake for the broken entry has its line, whatever else goes on."""
    assert client.handshake(httpd.address(), BROKEN).alert == client.NO_APPLICATION_PROTOCOL
    httpd.log.expect(REFUSED, f"identifier={BROKEN} .* reason=entry-writable ")


def is_suppressing(httpd: Httpd) -> bool:
    """Whether strangers have used up the lines of this second."""
    now = int(time.time())
    return sum(int(record.time) == now for record in httpd.log.find(REFUSED)) >= LINES_PER_SECOND


def test_problem_with_the_spool_is_told_during_a_flood_of_unknown_names(httpd: Httpd) -> None:
    httpd.log.allow(REFUSED, r"reason=(no-entry|name-invalid) ")
    break_entry(httpd)

    def told_during_a_flood() -> bool:
        with Load(httpd.address(), STRANGERS, count=COUNT, threads=8) as flood:
            poll.until(lambda: is_suppressing(httpd) or not flood.running, poll.DEADLINE, "the flood has its lines")
            assert_told(httpd)
            is_during = flood.running
            assert flood.wait().refused == COUNT
        return is_during

    for _ in range(3):
        poll.until(told_during_a_flood, poll.DEADLINE, "a handshake during a flood")
