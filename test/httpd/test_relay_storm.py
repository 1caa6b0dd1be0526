"""Strangers who make the module ask an upstream that hangs: ordinary requests and the spool do not notice."""

from __future__ import annotations

import time

import pytest
from conftest import StartHttpd
from harness import client, poll
from harness.challenge import ANSWERED
from harness.checker import check_answer
from harness.load import LONG
from harness.pki import Authority
from harness.storm import SITE, Storm, server
from harness.traffic import Traffic
from harness.upstream import Upstream

RATE = 500
SECONDS = 20.0 if LONG else 4.0
# On a busy machine, and far from the time-out of a worker that waits for an upstream all the time.
IN_TIME = 3.0


@pytest.mark.parametrize("names", ["random", "configured"])
def test_storm_with_an_upstream_that_hangs(make_httpd: StartHttpd, authority: Authority, names: str) -> None:
    with Upstream() as upstream:
        httpd = server(make_httpd(), authority, upstream)
        with Storm(httpd.address(), RATE, names) as storm, Traffic(httpd.address(), SITE, authority.root, 0.01) as traffic:
            poll.until(lambda: upstream.open, 10, "handshakes wait for the upstream")
            end, longest, shown = time.monotonic() + SECONDS, 0.0, 0
            while time.monotonic() < end:
                value = httpd.spool.publish("spooled.test")
                begin = time.monotonic()
                answer = client.handshake(httpd.address(), "spooled.test")
                longest = max(longest, time.monotonic() - begin)
                check_answer(answer, "spooled.test", value.digest)
                shown += 1
        traffic.assert_unharmed()
        assert storm.done > RATE / 5, "there was no storm"
        assert shown > 3 and traffic.succeeded > 3
        assert longest < IN_TIME * poll.FACTOR
        assert 1 <= upstream.most_open <= 8
        httpd.log.expect("AALPN0102", "reason=relay-busy ")
        httpd.log.expect(ANSWERED, "identifier=spooled.test .*source=spool", count=shown)
