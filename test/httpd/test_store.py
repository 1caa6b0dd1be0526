"""The store that a fleet shares, as one httpd sees it: ways to reach it, and what each of its failures does."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from conftest import StartHttpd
from harness import client, poll
from harness.challenge import ANSWERED, REFUSED, assert_answered, assert_refused
from harness.crowded import Crowded
from harness.errorlog import Record
from harness.pki import Authority
from harness.redis import PREFIX, READER, FakeStore, Redis, dripping, sending, silent
from harness.responders import UNKNOWN
from harness.server import MPM, USER, Httpd
from harness.spool import KeyAuthorization
from harness.status import LOCATION, MODULES, assert_told

NAME, SITE = "store.test", "site.test"
FAILS, WORKS = "AALPN0401", "AALPN0402"

# The default time of a look-up, what a handshake may take besides, and how often a busy machine may add to that.
TIMEOUT, BESIDE, TRIES = 0.25, 0.6, 12
# How long a store that timed out is not asked.
BREAK = 1.0

# What two clocks may be apart by when they are rounded, in two processes and in one, and how many ask at once.
MARGIN, ROUNDED = 0.1, 0.01
CROWD = 16


@pytest.fixture
def start(make_httpd: StartHttpd, authority: Authority) -> Callable[..., Httpd]:
    def start(*lines: str, vhost: tuple[str, ...] = (), mpm: str = MPM) -> Httpd:
        httpd = make_httpd(modules=MODULES, mpm=mpm)
        httpd.server_lines += [*lines, *LOCATION]
        httpd.vhost(SITE, credentials=[authority.issue(SITE)])
        if vhost:
            httpd.vhost("own.test", credentials=[authority.issue("own.test")], lines=vhost)
        return httpd.start()

    return start


def assert_from_store(httpd: Httpd, name: str, value: KeyAuthorization) -> None:
    before = len(httpd.log.find(ANSWERED, f"identifier={name} .*source=store"))
    assert_answered(httpd, name, value)
    assert len(httpd.log.find(ANSWERED, f"identifier={name} .*source=store")) == before + 1


def assert_works(httpd: Httpd, redis: Redis, name: str = NAME) -> None:
    """Answered at the next handshake, and gone at the next."""
    assert_refused(httpd, name, "no-entry")
    assert_from_store(httpd, name, redis.publish(name))
    redis.withdraw(name)
    assert_refused(httpd, name, "no-entry")


def assert_refused_and_told(httpd: Httpd, reason: str) -> Record:
    """Also on the status page, in all of its forms."""
    record = assert_refused(httpd, NAME, reason)
    assert_told(httpd, reason, record.text)
    return record


def recovers(httpd: Httpd, name: str) -> None:
    """Answered again, at the next handshake or the first after the back-off."""
    httpd.log.allow(REFUSED, "reason=store-")

    def answered() -> bool:
        return bool(client.handshake(httpd.address(), name).chain)

    poll.until(answered, poll.DEADLINE, "the store is asked again")
    httpd.log.expect(WORKS, level="notice")
    httpd.log.expect(ANSWERED, f"identifier={name} .*source=store")


def test_plain(start: Callable[..., Httpd], redis: Redis) -> None:
    assert_works(start(f"AcmeAlpnStore {redis.url} timeout=5s"), redis)


def test_socket(start: Callable[..., Httpd], redis: Redis) -> None:
    assert_works(start(f"AcmeAlpnStore unix://{redis.socket} timeout=5s"), redis)


def test_ip_address_database_and_prefix(start: Callable[..., Httpd], redis: Redis) -> None:
    httpd = start(f"AcmeAlpnStore {redis.url}/3 prefix=other: timeout=2s")
    value = KeyAuthorization.new()
    assert redis.run("-n", "3", "SET", "other:192.0.2.7", value.text) == "OK"
    shake = lambda: client.handshake(httpd.address(), "7.2.0.192.in-addr.arpa")
    assert_answered(httpd, "192.0.2.7", value, shake)


@pytest.mark.parametrize("user", ["", READER])
@pytest.mark.parametrize("tls", [False, True])
def test_password_and_tls(start: Callable[..., Httpd], authority: Authority, user: str, tls: bool) -> None:
    with Redis(authority=authority, secret=True) as redis:
        at = f"{user}@" if user else ""
        secret = f"passwordfile={redis.password_file(user or 'default')}"
        url = f"rediss://{at}localhost:{redis.tls_port}" if tls else f"redis://{at}localhost:{redis.port}"
        identity = authority.issue("client.test")
        files = f"cafile={authority.root} certfile={identity.certificate} keyfile={identity.key}" if tls else ""
        httpd = start(f"AcmeAlpnStore {url} timeout=2s {secret} {files}")
        assert_works(httpd, redis)


def test_wrong_password_is_told_and_never_shown(start: Callable[..., Httpd]) -> None:
    with Redis(secret=True) as redis:
        httpd = start(f"AcmeAlpnStore {redis.url} timeout=5s passwordfile={redis.password_file(text='wrong-secret')}")
        redis.publish(NAME)
        assert_refused_and_told(httpd, "store-denied")
        httpd.log.expect(FAILS, "reason=store-denied: .*WRONGPASS", level="error")
        # A refusal costs no time, so the next handshake asks the store again.
        assert_refused(httpd, NAME, "store-denied")
    assert "wrong-secret" not in "".join(record.line for record in httpd.log.refresh())


@pytest.mark.parametrize("trusted", [False, True], ids=["other-ca", "other-name"])
def test_certificate_of_another_ca_or_host_is_refused(
    start: Callable[..., Httpd], tmp_path: Path, authority: Authority, trusted: bool
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    root = authority.root if trusted else Authority(other).root
    host = "127.0.0.2" if trusted else "127.0.0.1"
    with Redis(authority=authority) as redis:
        httpd = start(f"AcmeAlpnStore rediss://{host}:{redis.tls_port} timeout=2s cafile={root}")
        redis.publish(NAME)
        assert_refused_and_told(httpd, "store-tls-failed")
        httpd.log.expect(FAILS, "reason=store-tls-failed: ", level="error")


def test_spool_comes_first_and_never_waits(start: Callable[..., Httpd]) -> None:
    with FakeStore(silent) as store:
        httpd = start(f"AcmeAlpnStore {store.url} timeout=20s")
        value = httpd.spool.publish(NAME)
        begin = time.monotonic()
        assert_answered(httpd, NAME, value)
        assert time.monotonic() - begin < 20 and store.accepted == 0


def test_stores_are_tried_in_their_order(start: Callable[..., Httpd]) -> None:
    with Redis() as first, Redis() as second:
        httpd = start(f"AcmeAlpnStore {first.url} timeout=5s", f"AcmeAlpnStore {second.url} timeout=5s")
        assert_from_store(httpd, NAME, second.publish(NAME))
        assert_from_store(httpd, NAME, first.publish(NAME))
        first.kill()
        httpd.log.allow(REFUSED, "reason=store-")
        assert_from_store(httpd, "other.test", second.publish("other.test"))
        httpd.log.expect(FAILS, "reason=store-(unreachable|closed): ", level="error")


def test_vhost_has_its_own_store_or_none(start: Callable[..., Httpd]) -> None:
    with Redis() as main, Redis() as own:
        httpd = start(f"AcmeAlpnStore {main.url} timeout=5s", vhost=(f"AcmeAlpnStore {own.url} timeout=5s",))
        main.publish("own.test")
        assert_refused(httpd, "own.test", "no-entry")
        assert_from_store(httpd, "own.test", own.publish("own.test"))
        assert_from_store(httpd, NAME, main.publish(NAME))
    none = start("AcmeAlpnStore redis://127.0.0.1:1", vhost=("AcmeAlpnStore none",))
    assert_refused(none, "own.test", "no-entry")
    assert not none.log.find(FAILS)


GARBAGE = {
    "": "value-empty",
    "garbage": "value-malformed",
    "x" * 1025: "entry-too-large",
    "x" * 100000: "entry-too-large",
    "one\ntwo": "value-lines",
}


def test_garbage_is_refused_and_the_store_is_not_to_blame(start: Callable[..., Httpd], redis: Redis) -> None:
    httpd = start(f"AcmeAlpnStore {redis.url} timeout=5s")
    for number, (value, reason) in enumerate(GARBAGE.items()):
        redis.publish(NAME, value)
        record = assert_refused_and_told(httpd, reason)
        assert f"{redis.url}#acme-alpn:{NAME}" in record.text and "source=store" in record.text
        other = f"name{number}.test"
        assert_from_store(httpd, other, redis.publish(other))
    redis.withdraw(NAME)
    assert redis.run("LPUSH", f"acme-alpn:{NAME}", "a list") == "1"
    assert_refused(httpd, NAME, "value-malformed")
    assert not httpd.log.find(FAILS)


NOT_REDIS = {
    b"HTTP/1.1 400 Bad Request\r\n\r\n": "store-protocol",
    b"*2147483647\r\n": "store-protocol",
    b"%9999999\r\n": "store-protocol",
    b":1\r\n": "store-protocol",
    b"$-2\r\n": "store-protocol",
    b"-LOADING the dataset\r\n": "store-failed",
    b"-NOAUTH Authentication required.\r\n": "store-denied",
}


@pytest.mark.parametrize("answer", NOT_REDIS)
def test_answer_that_is_none(start: Callable[..., Httpd], answer: bytes) -> None:
    with FakeStore(sending(answer)) as store:
        httpd = start(f"AcmeAlpnStore {store.url} timeout=5s")
        assert_refused_and_told(httpd, NOT_REDIS[answer])
        httpd.log.expect(FAILS, f"reason={NOT_REDIS[answer]}: ", level="error")


def test_key_that_the_acl_leaves_out_is_refused_alone(start: Callable[..., Httpd]) -> None:
    """A client that asks for such a name must not make the store fail for other names."""
    with Redis(secret=True) as redis:
        redis.run("ACL", "SETUSER", READER, "resetkeys", f"~{PREFIX}*.allowed.test")
        secret = f"passwordfile={redis.password_file(READER)}"
        httpd = start(f"AcmeAlpnStore redis://{READER}@127.0.0.1:{redis.port} timeout=5s {secret}")
        redis.publish(NAME)
        assert_refused_and_told(httpd, "store-key-refused")
        assert_from_store(httpd, "a.allowed.test", redis.publish("a.allowed.test"))
        assert not httpd.log.find(FAILS)


@pytest.mark.parametrize("answer", [b"-MOVED 3999 127.0.0.1:6381\r\n", b"-ASK 3999 127.0.0.1:6381\r\n"])
def test_key_that_is_elsewhere_is_refused_alone(start: Callable[..., Httpd], answer: bytes) -> None:
    with FakeStore(sending(answer)) as store:
        httpd = start(f"AcmeAlpnStore {store.url} timeout=5s")
        for _ in range(2):
            assert_refused_and_told(httpd, "store-key-refused")
        assert not httpd.log.find(FAILS)


@contextmanager
def out_of_files(pid: int, left: int) -> Iterator[None]:
    """A process of httpd's User that can open so many files more."""
    used = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    free = [number for number in range(len(used) + left + 1) if number not in used]
    command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "prlimit", f"--pid={pid}"]
    show = [*command, "--nofile", "--output=SOFT", "--noheadings"]
    before = subprocess.run(show, capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run([*command, f"--nofile={free[left]}:"], check=True)
    try:
        yield
    finally:
        subprocess.run([*command, f"--nofile={before}:"], check=True)


def watches(pid: int) -> bool:
    """Whether it is the child that watches the spool, and opens that now and then."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if os.readlink(entry) == "anon_inode:inotify":
                return True
    return False


def test_child_without_free_files_does_not_blame_the_store(start: Callable[..., Httpd], redis: Redis) -> None:
    # A child of the worker MPM that cannot accept the next connection ends, so whether it answers is by chance.
    httpd = start(f"AcmeAlpnStore {redis.url}", mpm="event" if MPM == "worker" else MPM)
    value = redis.publish(NAME)
    poll.until(lambda: any(map(watches, httpd.children())), poll.DEADLINE, "one of the children watches the spool")
    child = min(child for child in httpd.children() if not watches(child))
    with httpd.only_child(child):
        # The one is for the client's connection.
        with out_of_files(child, 1):
            assert "Too many open files" in assert_refused(httpd, NAME, "system-error").line
        assert_from_store(httpd, NAME, value)
        assert not httpd.log.find(FAILS)
        # The failure of a child does not end the failure of the store.
        redis.kill()
        assert_refused(httpd, NAME, "store-unreachable")
        httpd.log.expect(FAILS, level="error")
        redis.start()
        with out_of_files(child, 1):
            assert_refused(httpd, NAME, "system-error")
        assert not httpd.log.find(WORKS)
        # The next handshake may ask the store.
        assert_from_store(httpd, NAME, value)
        httpd.log.expect(WORKS, level="notice")


def let_retry() -> None:
    """Until the store may be tried again."""
    poll.let_pass(BREAK + MARGIN)


def assert_timed_out(httpd: Httpd) -> int:
    """In time, for which there may be more than one try: a busy machine adds to some, and not to all."""
    record = assert_refused_and_told(httpd, "store-timeout")
    httpd.log.expect(FAILS, "reason=store-timeout: ", level="error")
    for tries in range(1, TRIES + 1):
        assert record.duration >= TIMEOUT - ROUNDED
        if record.duration <= TIMEOUT + BESIDE:
            return tries
        let_retry()
        record = assert_refused(httpd, NAME, "store-timeout")
    raise AssertionError(f"too long, {TRIES} times: {record.text}")


@pytest.mark.parametrize("step", ["connect", "tls", "password"])
def test_each_step_ends_in_time(start: Callable[..., Httpd], tmp_path: Path, step: str) -> None:
    if step == "connect":
        with Crowded() as crowded:
            assert_timed_out(start(f"AcmeAlpnStore redis://{crowded}"))
        return
    secret = tmp_path / "secret"
    secret.write_text("word\n")
    secret.chmod(0o600)
    with FakeStore(silent) as store:
        url = store.url.replace("redis:", "rediss:") if step == "tls" else f"{store.url} passwordfile={secret}"
        tries = assert_timed_out(start(f"AcmeAlpnStore {url}"))
        assert store.accepted == tries


@pytest.mark.parametrize("serve", [silent, dripping])
def test_store_that_hangs_costs_its_time_once(start: Callable[..., Httpd], serve: Callable[..., None]) -> None:
    """Also one that sends a byte now and then, which restarts the time-out of a read."""
    with FakeStore(serve) as store:
        httpd = start(f"AcmeAlpnStore {store.url}")
        assert_timed_out(httpd)
        for _ in range(5):
            assert_refused(httpd, NAME, "store-(timeout|backoff)")
        # A busy machine may take so long for these that the store is tried again.
        tried = [record.time for record in httpd.log.find(REFUSED, "reason=store-timeout ")]
        assert all(later - earlier > BREAK - MARGIN for earlier, later in zip(tried, tried[1:]))
        assert store.accepted == len(tried)
        assert not [record for record in httpd.log.find(FAILS) if not record.claimed]


def test_store_that_times_out_is_not_asked_for_a_second_and_then_by_one(start: Callable[..., Httpd]) -> None:
    """The failure is logged once a minute, however often the retry fails."""
    timeout = 1.0
    with FakeStore(silent) as store:
        httpd = start(f"AcmeAlpnStore {store.url} timeout={timeout:.0f}s")
        httpd.log.allow(REFUSED, "reason=store-(timeout|backoff) ")
        ask = lambda _=None: client.handshake(httpd.address(), NAME)
        begin = time.monotonic()
        ask()
        poll.until(lambda: ask() and store.accepted > 1, poll.DEADLINE, "the store is tried again")
        assert store.accepted_last > begin + timeout + BREAK - MARGIN
        let_retry()
        with ThreadPoolExecutor(CROWD) as pool:
            assert not any(answer.chain for answer in pool.map(ask, range(CROWD)))
        assert store.accepted == 3
        httpd.log.expect(FAILS, "reason=store-timeout: ", level="error")


def test_store_that_is_stopped_and_goes_on(start: Callable[..., Httpd], redis: Redis) -> None:
    httpd = start(f"AcmeAlpnStore {redis.url}")
    assert_from_store(httpd, NAME, redis.publish(NAME))
    redis.pause()
    try:
        assert_refused(httpd, NAME, "store-timeout")
        httpd.log.expect(FAILS, "reason=store-timeout: ", level="error")
        value = httpd.spool.publish("spool.test")
        assert_answered(httpd, "spool.test", value)
    finally:
        redis.resume()
    recovers(httpd, NAME)


def test_store_that_restarts_is_no_failure(start: Callable[..., Httpd], redis: Redis) -> None:
    """The connections that the children kept died with it, and none of them costs an answer."""
    httpd = start(f"AcmeAlpnStore {redis.url}")
    value = redis.publish(NAME)
    for _ in range(12):
        assert_answered(httpd, NAME, value)
    assert redis.clients() > 0
    redis.restart()
    for _ in range(12):
        assert_answered(httpd, NAME, value)
    assert not httpd.log.find(FAILS)


def test_store_that_is_killed_and_comes_back(start: Callable[..., Httpd], redis: Redis) -> None:
    httpd = start(f"AcmeAlpnStore {redis.url}")
    assert_from_store(httpd, NAME, redis.publish(NAME))
    redis.kill()
    assert_refused_and_told(httpd, "store-unreachable")
    httpd.log.expect(FAILS, "reason=store-unreachable: .*refused", level="error")
    redis.start()
    recovers(httpd, NAME)


def test_connections_are_kept_and_reloads_leave_none(start: Callable[..., Httpd], redis: Redis) -> None:
    httpd = start(f"AcmeAlpnStore {redis.url}")
    value = redis.publish(NAME)
    children = len(httpd.children())
    for _ in range(3):
        for _ in range(30):
            assert_answered(httpd, NAME, value)
        assert 0 < redis.clients() <= children
        httpd.reload()
        poll.until(lambda: redis.clients() == 0, poll.DEADLINE, "the connections of the old children are closed")


BAD = {
    "": "give a URL",
    "redis": "give a URL",
    "http://host": "give a URL",
    "redis://": "no host",
    "redis://user:secret@host": "does not belong in the URL",
    "redis://user@host": "a user needs a password",
    "redis://host/x": "number from 0 to 65535",
    "redis://host timeout=0": "timeout: give",
    "redis://host timeout=2h": "timeout: give",
    "redis://host prefix=": "prefix: give",
    "redis://host nonsense=1": "'nonsense' is not an option",
    "redis://host cafile=/ca": "goes with rediss://",
    "rediss://host certfile=/c": "go together",
    "rediss://host cafile=/nonexistent": "cannot be used",
    "redis://host passwordfile=relative": "absolute path",
    "redis://host passwordfile=/nonexistent": "No such file",
    "redis://host passwordfile=/etc/passwd": "mode 0600",
    "redis://host passwordfile=/dev/null": "not a regular file",
    "unix://host/path": "absolute path of a socket",
}


@pytest.mark.parametrize("argument", BAD)
def test_bad_argument_fails_configtest(make_httpd: StartHttpd, argument: str) -> None:
    httpd = make_httpd()
    httpd.server_lines.append(f"AcmeAlpnStore {argument}")
    code, output = httpd.configtest()
    assert code == 1 and "AcmeAlpnStore" in output and BAD[argument] in output, output
    assert "secret" not in output.split("AcmeAlpnStore:", 1)[-1]


def test_good_argument_passes_configtest(make_httpd: StartHttpd, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("word\n")
    secret.chmod(0o640)
    httpd = make_httpd()
    httpd.server_lines += [
        "AcmeAlpnStore redis://host",
        f"AcmeAlpnStore redis://user@[::1]:6380/2?timeout=1s&prefix=a%3A&passwordfile={secret}",
        "AcmeAlpnStore rediss://host expiry=1h database=3",
        "AcmeAlpnStore unix:///run/redis.sock",
    ]
    assert httpd.configtest() == (0, "Syntax OK\n")


def test_store_whose_name_has_no_address(start: Callable[..., Httpd]) -> None:
    """It has more bytes than a name can have, so no name server is asked; nor is one in a handshake."""
    httpd = start(f"AcmeAlpnStore redis://{UNKNOWN} timeout=20s")
    httpd.log.expect("AALPN0033", "has no address", level="warn")
    assert_refused_and_told(httpd, "store-unresolved")
    httpd.log.expect(FAILS, "reason=store-unresolved: ", level="error")


def test_store_that_closes_each_connection(start: Callable[..., Httpd]) -> None:
    with FakeStore(lambda connection, over: connection.recv(1)) as store:
        httpd = start(f"AcmeAlpnStore {store.url}")
        assert_refused_and_told(httpd, "store-closed")
        httpd.log.expect(FAILS, "reason=store-closed: ", level="error")
