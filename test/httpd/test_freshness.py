"""What is in the spool counts at the very next handshake, in every child."""

from __future__ import annotations

import pytest
from conftest import StartHttpd
from harness import client
from harness.challenge import ANSWERED, REFUSED, assert_answered, assert_refused
from harness.checker import check_answer
from harness.load import LONG
from harness.pki import Authority
from harness.server import Httpd

NAME = "fresh.test"
ROUNDS = 1000 if LONG else 250


def start(httpd: Httpd, authority: Authority) -> Httpd:
    httpd.vhost(NAME, credentials=[authority.issue(NAME)])
    return httpd.start()


@pytest.fixture
def httpd(make_httpd: StartHttpd, authority: Authority) -> Httpd:
    return start(make_httpd(), authority)


def test_many_rounds_of_drop_and_remove(httpd: Httpd) -> None:
    httpd.log.allow(REFUSED, f"identifier={NAME} .* reason=no-entry ")
    tls_context = client.context()
    for _ in range(ROUNDS):
        key_authorization = httpd.spool.publish(NAME)
        check_answer(client.handshake(httpd.address(), NAME, using=tls_context), NAME, key_authorization.digest)
        httpd.spool.withdraw(NAME)
        gone = client.handshake(httpd.address(), NAME, using=tls_context)
        assert (gone.alert, gone.chain) == (client.NO_APPLICATION_PROTOCOL, ())
    httpd.log.expect(ANSWERED, NAME, count=ROUNDS)
    assert len(httpd.log.find(ANSWERED)) == ROUNDS


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_every_child_sees_each_change(mpm: str, make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = start(make_httpd(mpm=mpm), authority)
    children = httpd.children()
    assert len(children) > 1
    for _ in range(2):
        for child in children:
            with httpd.only_child(child):
                key_authorization = httpd.spool.publish(NAME)
                assert_answered(httpd, NAME, key_authorization)
                httpd.spool.withdraw(NAME)
                assert assert_refused(httpd, NAME, "no-entry").pid == child
        assert {record.pid for record in httpd.log.find(ANSWERED)} == children
