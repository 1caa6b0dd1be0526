"""A CA's side of one validation: the answer that has to come, or the refusal that has to come."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from . import client, poll
from .checker import check_answer
from .client import Answer
from .errorlog import Record
from .server import Httpd
from .spool import KeyAuthorization, Spool

ANSWERED = "AALPN0101"
REFUSED = "AALPN0102"
INCOMPLETE = "AALPN0103"

# The module logs at most ten of each kind in each second; each test wants to see its own.
WARNINGS_PER_SECOND = 8

Handshake = Callable[[], Answer]


def default_handshake(httpd: Httpd, name: str | None) -> Handshake:
    return lambda: client.handshake(httpd.address(), name)


def assert_answered(
    httpd: Httpd,
    identifier: str,
    key_authorization: KeyAuthorization,
    shake: Handshake | None = None,
    source: str = r"\w+",
) -> Answer:
    """The handshake gets the right challenge certificate, and the log says so exactly once, with the source."""
    answer = (shake or default_handshake(httpd, identifier))()
    check_answer(answer, identifier, key_authorization.digest)
    pattern = rf"identifier={re.escape(identifier)} .* source={source} "
    httpd.log.expect(ANSWERED, pattern)
    again = [record for record in httpd.log.find(ANSWERED, pattern) if not record.claimed]
    assert not again, f"logged more than once: {again}"
    return answer


def publish_and_check(
    httpd: Httpd, identifier: str, shake: Handshake | None = None, spool: Spool | None = None
) -> Answer:
    """Publish, get the right answer, withdraw."""
    spool = spool or httpd.spool
    key_authorization = spool.publish(identifier)
    try:
        return assert_answered(httpd, identifier, key_authorization, shake, source="spool")
    finally:
        spool.withdraw(identifier)


def assert_incomplete(httpd: Httpd, shake: Handshake, name: str | None = None) -> Answer:
    """The handshake for a challenge brings no certificate, and the log has a line about that, and who ended it."""
    wait_for_rate_limit(httpd)
    answer = shake()
    assert not answer.chain, f"{len(answer.chain)} certificate(s) served"
    ended = rf" alert={answer.alert} alert-by=server\b" if answer.alert is not None else " alert=- alert-by=- "
    whom = rf"=(?i:{re.escape(name)}) peer=.*" if name else ""
    httpd.log.expect(INCOMPLETE, whom + ended, level="warn")
    return answer


def assert_refused(httpd: Httpd, name: str | None, reason: str, shake: Handshake | None = None) -> Record:
    """The handshake ends in alert no_application_protocol, and one log line gives this reason."""
    wait_for_rate_limit(httpd)
    answer = (shake or default_handshake(httpd, name))()
    assert not answer.chain, f"{len(answer.chain)} certificate(s) served instead of a refusal"
    assert answer.alert == client.NO_APPLICATION_PROTOCOL, f"alert {answer.alert}, {answer.error}"
    return httpd.log.expect(REFUSED, rf"\breason={reason}\b", level="warn")[0]


def wait_for_rate_limit(httpd: Httpd) -> None:
    """Wait until the next refusal or incomplete handshake is sure to be logged."""

    def below() -> bool:
        now = int(time.time())
        warnings = httpd.log.find(REFUSED) + httpd.log.find(INCOMPLETE)
        return sum(int(record.time) == now for record in warnings) < WARNINGS_PER_SECOND

    poll.until(below, poll.DEADLINE, "the log's rate limit has room")
