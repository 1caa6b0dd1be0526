"""A spool that is replaced or rewritten while handshakes go on. test_spool.py has the rules one by one."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from conftest import StartHttpd
from harness.challenge import ANSWERED, REFUSED, assert_answered
from harness.load import Load
from harness.pki import Authority
from harness.server import Httpd
from harness.spool import KeyAuthorization, Spool
from harness.timeline import REFUSED as REFUSED_OUTCOME

NAME = "hostile.test"
THREADS = 4


@pytest.fixture
def httpd(make_httpd: StartHttpd, authority: Authority) -> Httpd:
    httpd = make_httpd()
    httpd.vhost(NAME, credentials=[authority.issue(NAME)])
    return httpd


def outcomes(running: Load) -> Counter[str]:
    """After the end of a load: how often each digest or alert came."""
    running.wait()
    return Counter(handshake.outcome for handshake in running.records())


def hammer(httpd: Httpd, count: int) -> Load:
    return Load(httpd.address(), [(NAME, None)], count=count, threads=THREADS, records=True)


# Changes under load


def test_directory_deleted_and_recreated_under_load(httpd: Httpd) -> None:
    httpd.start()
    httpd.log.allow(REFUSED, r"reason=(spool-missing|no-entry) ")
    key_authorization = httpd.spool.publish(NAME)
    rounds = 0
    with hammer(httpd, 600) as running:
        while running.running:
            shutil.rmtree(httpd.spool.path)
            httpd.spool.create().publish(NAME, key_authorization)
            rounds += 1
        found = outcomes(running)
    assert set(found) <= {key_authorization.digest.hex(), REFUSED_OUTCOME}, found
    # The directory is there for moments only; that it is answered from is seen when it stays.
    assert rounds > 10
    assert_logged_and_answered(httpd, found, key_authorization)


def assert_logged_and_answered(httpd: Httpd, found: Counter[str], key_authorization: KeyAuthorization) -> None:
    """Each answer under load has its line in the log, and the next one is right."""
    answered = sum(found.values()) - found[REFUSED_OUTCOME]
    httpd.log.expect(ANSWERED, f"identifier={NAME} ", count=answered)
    assert_answered(httpd, NAME, key_authorization)


def point_to(link: Path, target: str) -> None:
    """Replace a symlink at once."""
    new = link.with_name(".new-link")
    new.symlink_to(target)
    new.rename(link)


def test_symlink_to_the_directory_replaced_under_load(httpd: Httpd) -> None:
    """There is a challenge at each moment, so no handshake is refused."""
    path = httpd.spool.path
    path.rmdir()
    values = {name: Spool(path.with_name(name)).create().publish(NAME) for name in ("blue", "green")}
    point_to(path, "blue")
    httpd.start()
    with hammer(httpd, 600) as running:
        while running.running:
            for name in ("green", "blue"):
                point_to(path, name)
        found = outcomes(running)
    assert set(found) == {value.digest.hex() for value in values.values()}, found
    assert_logged_and_answered(httpd, found, values["blue"])


@contextmanager
def rewriting(entry: Path, contents: tuple[bytes, bytes]) -> Iterator[None]:
    """A process that overwrites the entry with each content in turn, as fast as it can."""
    over = multiprocessing.Event()
    writer = multiprocessing.Process(target=_rewrite, args=(entry, contents, over), daemon=True)
    writer.start()
    yield
    over.set()
    writer.join()
    assert writer.exitcode == 0


def _rewrite(entry: Path, contents: tuple[bytes, bytes], over: Event) -> None:
    descriptor = os.open(entry, os.O_WRONLY)
    while not over.is_set():
        for content in contents:
            os.pwrite(descriptor, content, 0)


def test_entry_rewritten_in_place_under_load(httpd: Httpd) -> None:
    """What is malformed is never answered, and a write that the system interrupts is malformed for a while."""
    httpd.start()
    httpd.log.allow(REFUSED, "reason=value-malformed ")
    value = httpd.spool.publish(NAME)
    text = value.text.encode()
    with rewriting(httpd.spool.path / NAME, (text, b" " * len(text))), hammer(httpd, 600) as running:
        found = outcomes(running)
    assert set(found) == {value.digest.hex(), REFUSED_OUTCOME}, found
