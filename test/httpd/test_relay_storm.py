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
from harness.storm import SITE, server, storm
from harness.traffic import Traffic
from harness.upstream import Upstream

RATE = 500
SECONDS = 20 if LONG else 5
# On a busy machine, and far from the time-out of a worker that waits for an upstream all the time.
IN_TIME = 3.0

# At once in the whole server, by default.
PLACES = 8


@pytest.mark.parametrize("names", ["random", "configured"])
def test_storm_with_an_upstream_that_hangs(make_httpd: StartHttpd, authority: Authority, names: str) -> None:
    with Upstream() as upstream:
        httpd = server(make_httpd(), authority, upstream)
        longest, shown, asked = 0.0, 0, 0
        with storm(httpd.address(), RATE, SECONDS, names) as load, Traffic(
            httpd.address(), SITE, authority.root, 0.01
        ) as traffic:
            while load.running:
                value = httpd.spool.publish("spooled.test")
                begin = time.monotonic()
                answer = client.handshake(httpd.address(), "spooled.test")
                longest = max(longest, time.monotonic() - begin)
                check_answer(answer, "spooled.test", value.digest)
                asked = max(asked, upstream.asked_now())
                shown += 1
            done = load.wait()
        traffic.assert_unharmed()
        assert done.refused > RATE * SECONDS / 5 and not done.right, done
        assert shown > 3 and traffic.succeeded > 3
        assert longest < IN_TIME * poll.FACTOR
        assert 1 <= asked <= PLACES
        httpd.log.expect("AALPN0102", "reason=relay-busy ")
        httpd.log.expect(ANSWERED, "identifier=spooled.test .*source=spool", count=shown)
