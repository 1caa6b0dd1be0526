"""What is in the spool counts at the very next handshake, in every child."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import StartHttpd, start_vhost
from harness import client
from harness.challenge import ANSWERED, REFUSED, assert_answered, assert_refused
from harness.checker import check_answer
from harness.client import NO_APPLICATION_PROTOCOL, Answer
from harness.load import LONG
from harness.pki import Authority
from harness.server import Httpd
from harness.spool import KeyAuthorization

NAME = "fresh.test"
PERSPECTIVES = tuple(f"127.0.0.{last}" for last in range(11, 17))
ROUNDS = 1000 if LONG else 250


@pytest.fixture
def httpd(make_httpd: StartHttpd, authority: Authority) -> Httpd:
    return start_vhost(make_httpd(), NAME, authority)


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
    httpd = start_vhost(make_httpd(mpm=mpm), NAME, authority)
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


# As CAs validate: several handshakes for one name at the same time, from different places, and once more.


def validate(httpd: Httpd, names: tuple[str, ...], version: str | None = None) -> list[tuple[str, Answer]]:
    """One handshake from each perspective and for each name, all at once."""
    begin = threading.Barrier(len(PERSPECTIVES) * len(names), timeout=client.TIMEOUT)

    def handshake(source: str, name: str) -> tuple[str, Answer]:
        tls_context = client.context(version=version)
        begin.wait()
        return name, client.handshake(httpd.address(), name, using=tls_context, source=source)

    with ThreadPoolExecutor(begin.parties) as pool:
        running = [pool.submit(handshake, source, name) for source in PERSPECTIVES for name in names]
        return [each.result() for each in running]


def assert_all_answered(httpd: Httpd, challenges: dict[str, KeyAuthorization], version: str | None = None) -> None:
    answers = validate(httpd, tuple(challenges), version)
    assert len(answers) == len(PERSPECTIVES) * len(challenges)
    for name, answer in answers:
        check_answer(answer, name, challenges[name].digest)
    for name in challenges:
        for source in PERSPECTIVES:
            httpd.log.expect(ANSWERED, rf"identifier={name} peer={source}:")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_six_at_once_and_again(httpd: Httpd, version: str) -> None:
    challenges = {NAME: httpd.spool.publish(NAME)}
    assert_all_answered(httpd, challenges, version)
    assert_all_answered(httpd, challenges, version)
    httpd.spool.withdraw(NAME)
    for _, answer in validate(httpd, (NAME,), version):
        assert (answer.alert, answer.chain) == (NO_APPLICATION_PROTOCOL, ())
    httpd.log.expect(REFUSED, rf"identifier={NAME} .*reason=no-entry", count=len(PERSPECTIVES))


def test_six_at_once_while_the_value_changes(httpd: Httpd) -> None:
    for _ in range(10):
        assert_all_answered(httpd, {NAME: httpd.spool.publish(NAME)})
