"""The watch: what is wrong with an entry is in the log before a CA asks for it."""

from __future__ import annotations

import ctypes
import os
import pwd
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import StartHttpd
from harness import poll
from harness.challenge import assert_answered
from harness.errorlog import Record
from harness.load import LONG
from harness.pki import Authority
from harness.server import Httpd, is_stopped
from harness.spool import KeyAuthorization, Spool

NAME = "watch.test"
ARRIVED, UNUSABLE, TOO_OLD, LEFT_OVER = "AALPN0211", "AALPN0212", "AALPN0213", "AALPN0214"
SPOOL_UNUSABLE, SPOOL_USABLE, NO_WATCHDOG = "AALPN0215", "AALPN0216", "AALPN0217"
NO_EVENTS, LOST, WATCHING, NOT_TOLD = "AALPN0218", "AALPN0219", "AALPN0220", "AALPN0221"

GOOD = KeyAuthorization.new().text.encode()

# What messages.md promises for a bad entry.
TOLD_WITHIN = 2.0
HOUR = 3600
DAY = 24 * HOUR
LINES_PER_SECOND = 10


def make(make_httpd: StartHttpd, authority: Authority, *lines: str) -> Httpd:
    httpd = make_httpd(expects_watch=True)
    httpd.log_level += " acme_alpn:debug"
    httpd.vhost(NAME, credentials=[authority.issue(NAME)], lines=lines)
    return httpd


@pytest.fixture
def httpd(make_httpd: StartHttpd, authority: Authority) -> Httpd:
    return started(make(make_httpd, authority))


def started(httpd: Httpd) -> Httpd:
    httpd.start()
    watcher(httpd)
    return httpd


def watcher(httpd: Httpd) -> int:
    """The process that watches; waits until one of the running children does."""

    def found() -> int:
        children = httpd.children()
        pids = [record.pid for record in httpd.log.find(WATCHING) if record.pid in children]
        return pids[-1] if pids else 0

    return poll.until(found, poll.DEADLINE, "a child watches")


def noticed(httpd: Httpd, tag: str, pattern: str) -> Record:
    return httpd.log.expect(tag, pattern)[0]


def held_up(pid: int) -> float:
    """How long the threads of the process were ready to run and no processor was free, in seconds."""
    stats = [(task / "schedstat").read_text().split() for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int(waited) for _, waited, _ in stats) / 1e9


def assert_nothing_more(httpd: Httpd) -> None:
    """Two more entries: what the watch had to say before has been said when the second is told."""
    for number in range(2):
        name = f"mark-{number}-{time.monotonic_ns()}.test"
        httpd.spool.publish(name)
        noticed(httpd, ARRIVED, f"file={name}: ")
    httpd.log.check()
    told = [record for record in httpd.log.refresh() if record.tag in (ARRIVED, LOST) and not record.claimed]
    assert not told, told


# Entries


def test_good_entry_is_told_and_the_ca_is_answered(httpd: Httpd) -> None:
    key_authorization = httpd.spool.publish(NAME)
    assert noticed(httpd, ARRIVED, f"spool={httpd.spool.path} file={NAME}: ").level == "info"
    assert_answered(httpd, NAME, key_authorization)
    assert_nothing_more(httpd)


BAD = {
    "entry-writable": (GOOD, 0o666),
    "entry-unreadable": (GOOD, 0o600),
    "entry-too-large": (b"x" * 2000, 0o644),
    "value-empty": (b"", 0o644),
    "value-malformed": (b"nonsense\n", 0o644),
}


def test_bad_entries_are_told_before_any_ca_comes(httpd: Httpd) -> None:
    """In time, but for that in which a busy machine does not let the watch run."""
    pid = watcher(httpd)
    before = held_up(pid)
    for reason, (content, mode) in BAD.items():
        httpd.spool.write(f"{reason}.test", content, mode=mode)
    told = {reason: noticed(httpd, UNUSABLE, f"file={reason}.test reason={reason}: ") for reason in BAD}
    late = held_up(pid) - before
    for reason, record in told.items():
        arrived = (httpd.spool.path / f"{reason}.test").stat().st_ctime
        assert record.level == "warn"
        assert record.time - arrived <= TOLD_WITHIN + late
    (httpd.spool.path / "link.test").symlink_to("value-empty.test")
    noticed(httpd, UNUSABLE, "file=link.test reason=entry-symlink: ")
    assert_nothing_more(httpd)
    (httpd.spool.path / "entry-unreadable.test").chmod(0o644)
    noticed(httpd, ARRIVED, "file=entry-unreadable.test: ")


def test_file_names_cannot_forge_lines(httpd: Httpd) -> None:
    path = httpd.spool.write("a\nb [\x1b[31m%s", b"")
    noticed(httpd, UNUSABLE, r"file=a%0ab%20%5b%1b%5b31m%25s reason=name-invalid: ")
    path.unlink()
    assert_nothing_more(httpd)


def test_entry_already_there_and_bad_is_told_at_the_start(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make(make_httpd, authority)
    httpd.spool.write("bad.test", b"nonsense")
    httpd.spool.write("old.test", GOOD, age=2 * DAY)
    httpd.spool.write(".left-over", b"", age=2 * 3600)
    httpd.spool.publish(NAME)
    started(httpd)
    for reload in (False, True):
        if reload:
            httpd.reload()
            watcher(httpd)
        noticed(httpd, UNUSABLE, "file=bad.test reason=value-malformed: ")
        noticed(httpd, TOO_OLD, "file=old.test: ")
        noticed(httpd, LEFT_OVER, "file=.left-over: ")
        assert_nothing_more(httpd)


def test_entry_that_becomes_too_old_is_told_once(make_httpd: StartHttpd, authority: Authority) -> None:
    """By the greatest AcmeAlpnMaxAge of the vhosts that share the spool."""
    httpd = make(make_httpd, authority, "AcmeAlpnMaxAge 1s")
    httpd.vhost("longer.test", credentials=[authority.issue("longer.test")], lines=["AcmeAlpnMaxAge 8s"])
    started(httpd)
    begin = time.monotonic()
    httpd.spool.publish(NAME)
    noticed(httpd, ARRIVED, f"file={NAME}: ")
    noticed(httpd, TOO_OLD, f"file={NAME}: ")
    assert time.monotonic() - begin >= 7
    assert_nothing_more(httpd)


def test_temporary_file_that_nobody_renames_is_told_once(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = started(make(make_httpd, authority, "AcmeAlpnMaxAge 2s"))
    httpd.spool.write(".left-over", b"", age=HOUR - 2)
    noticed(httpd, LEFT_OVER, "file=.left-over: ")
    assert_nothing_more(httpd)


# Who watches


def kill_watcher(httpd: Httpd) -> int:
    pid = watcher(httpd)
    httpd.log.allow(pattern=rf"AH00052: child pid {pid} exit signal Killed \(9\)")
    os.kill(pid, signal.SIGKILL)
    return pid


def test_another_process_takes_over(httpd: Httpd) -> None:
    httpd.spool.write("before.test", b"nonsense")
    noticed(httpd, UNUSABLE, "file=before.test ")
    killed = kill_watcher(httpd)
    httpd.spool.write("meanwhile.test", b"nonsense")
    for name in ("before.test", "meanwhile.test"):
        assert noticed(httpd, UNUSABLE, f"file={name} ").pid != killed
    assert_nothing_more(httpd)


def test_graceful_restarts_miss_nothing(httpd: Httpd) -> None:
    httpd.log.allow(UNUSABLE)
    for number in range(3):
        httpd.spool.write(f"during-{number}.test", b"nonsense")
        httpd.reload()
        noticed(httpd, UNUSABLE, f"file=during-{number}.test ")


def test_one_process_watches(httpd: Httpd) -> None:
    def watching() -> list[int]:
        return [pid for pid in httpd.children() if has_inotify(pid)]

    poll.until(watching, poll.DEADLINE, "one of the children has opened inotify")
    assert watching() == [watcher(httpd)]


def has_inotify(pid: int) -> bool:
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if "inotify" in os.readlink(fd):
                return True
    return False


@pytest.mark.parametrize("kind", ["off", "plain"])
def test_without_a_tls_vhost_nobody_watches(kind: str, make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make_httpd(expects_watch=True)
    httpd.log_level += " acme_alpn:debug"
    if kind == "off":
        httpd.vhost(NAME, credentials=[authority.issue(NAME)], lines=["AcmeAlpnEngine Off"])
    else:
        httpd.vhost(NAME, tls=False)
    httpd.spool.write("bad.test", b"nonsense")
    httpd.start()
    threads = [len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in httpd.children()]
    # One of prefork's, and in each MPM none of mod_watchdog's.
    assert httpd.mpm != "prefork" or set(threads) == {1}
    httpd.reload()
    assert not httpd.log.tagged()


# The directory


def test_spool_deleted_recreated_and_mended(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make(make_httpd, authority)
    spool = httpd.spool
    spool.path.chmod(0o777)
    started(httpd)
    noticed(httpd, "AALPN0002", str(spool.path))
    spool.path.chmod(0o755)
    noticed(httpd, SPOOL_USABLE, f"spool={spool.path}: ")
    spool.path.rmdir()
    noticed(httpd, SPOOL_UNUSABLE, "reason=spool-missing: ")
    spool.create()
    noticed(httpd, SPOOL_USABLE, f"spool={spool.path}: ")
    spool.publish(NAME)
    noticed(httpd, ARRIVED, f"file={NAME}: ")
    spool.path.chmod(0o777)
    noticed(httpd, SPOOL_UNUSABLE, "reason=spool-writable: ")
    spool.write("bad.test", b"nonsense")
    spool.path.chmod(0o755)
    noticed(httpd, SPOOL_USABLE, f"spool={spool.path}: ")
    noticed(httpd, UNUSABLE, "file=bad.test reason=value-malformed: ")
    assert_nothing_more(httpd)


def test_symlink_to_the_spool_is_switched(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make(make_httpd, authority)
    path = httpd.spool.path
    path.rmdir()
    blue, green = (Spool(path.with_name(name)).create() for name in ("blue", "green"))
    green.write("bad.test", b"nonsense")
    path.symlink_to("blue")
    started(httpd)
    blue.publish(NAME)
    noticed(httpd, ARRIVED, f"file={NAME}: ")
    new = path.with_name("new-link")
    new.symlink_to("green")
    new.rename(path)
    noticed(httpd, UNUSABLE, "file=bad.test reason=value-malformed: ")
    blue.write("unseen.test", b"nonsense")
    assert_nothing_more(httpd)


def test_each_vhost_has_its_spool(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make(make_httpd, authority)
    own = Spool(httpd.root / "own").create()
    httpd.vhost("own.test", credentials=[authority.issue("own.test")], lines=[f"AcmeAlpnSpool {own.path}"])
    off = Spool(httpd.root / "off").create()
    lines = [f"AcmeAlpnSpool {off.path}", "AcmeAlpnEngine Off"]
    httpd.vhost("off.test", credentials=[authority.issue("off.test")], lines=lines)
    started(httpd)
    for spool in (httpd.spool, own, off):
        spool.write("bad.test", b"nonsense")
    for spool in (httpd.spool, own):
        noticed(httpd, UNUSABLE, f"spool={spool.path} file=bad.test ")
    assert_nothing_more(httpd)


def test_limit_of_inotify_is_told_and_files_are_noticed_all_the_same(
    make_httpd: StartHttpd, authority: Authority
) -> None:
    httpd = make(make_httpd, authority)
    # One of Debian's, who has none left; www-data needs those of other tests.
    httpd.server_lines.append("User games")
    with InotifyUsedUp(pwd.getpwnam("games").pw_uid):
        started(httpd)
        noticed(httpd, NO_EVENTS, r"\(24\)Too many open files: .*max_user_instances and max_user_watches")
        httpd.spool.write("bad.test", b"nonsense")
        noticed(httpd, UNUSABLE, "file=bad.test ")
    httpd.spool.publish(NAME)
    noticed(httpd, ARRIVED, f"file={NAME}: ")


class InotifyUsedUp:
    """A process of the user that has all the inotify instances that the user may have."""

    def __init__(self, user: int) -> None:
        self._user = user

    def __enter__(self) -> None:
        ready, go = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            self._hold(go)
        os.close(go)
        assert os.read(ready, 1) == b"."
        os.close(ready)

    def _hold(self, go: int) -> None:
        os.setresuid(self._user, self._user, self._user)
        libc = ctypes.CDLL(None)
        while libc.inotify_init1(0) >= 0:
            pass
        os.write(go, b".")
        signal.pause()

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


# Many


def told(record: Record) -> int:
    """How many files a line is about."""
    found = re.search(r" suppressed=(\d+)\b", record.text)
    return (record.tag != NOT_TOLD) + (int(found[1]) if found else 0)


def test_more_bad_entries_than_lines_are_told_without_another_one(httpd: Httpd) -> None:
    count = 4 * LINES_PER_SECOND
    httpd.log.allow(UNUSABLE)
    httpd.log.allow(NOT_TOLD)
    flood(httpd.spool, count, b"nonsense")

    def all_told() -> bool:
        return sum(map(told, httpd.log.find(UNUSABLE) + httpd.log.find(NOT_TOLD))) == count

    poll.until(all_told, poll.DEADLINE, "all files are told")


def test_bad_entries_do_not_crowd_out_what_becomes_of_a_spool(make_httpd: StartHttpd, authority: Authority) -> None:
    """It is told but once."""
    httpd = make(make_httpd, authority)
    other = Spool(httpd.root / "other").create()
    httpd.vhost("other.test", credentials=[authority.issue("other.test")], lines=[f"AcmeAlpnSpool {other.path}"])
    started(httpd)
    httpd.log.allow(UNUSABLE)
    httpd.log.allow(NOT_TOLD)
    flood(httpd.spool, 4 * LINES_PER_SECOND, b"nonsense")
    other.path.chmod(0o777)
    noticed(httpd, SPOOL_UNUSABLE, f"spool={other.path} reason=spool-writable: ")


# A file system has a limit for the links to one file.
LINKS = 50_000


def flood(spool: Spool, count: int, content: bytes) -> None:
    """More files than one tick handles."""
    for number in range(count):
        if number % LINKS == 0:
            first = spool.write(f"{number}.many.test", content)
        else:
            os.link(first, spool.path / f"{number}.many.test")


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


MANY = 100_000 if LONG else 20_000


def test_flood_of_files_is_told_in_few_lines_and_costs_nothing_afterwards(httpd: Httpd) -> None:
    """More than the kernel keeps events of (16,384), too."""
    httpd.log.allow(UNUSABLE)
    httpd.log.allow(NOT_TOLD)
    begin = time.monotonic()
    flood(httpd.spool, MANY, b"nonsense")

    def all_told() -> bool:
        return sum(map(told, httpd.log.find(UNUSABLE) + httpd.log.find(NOT_TOLD))) >= MANY

    poll.until(all_told, poll.DEADLINE, "all files are told")
    seconds = time.monotonic() - begin
    assert len(httpd.log.find(UNUSABLE)) <= LINES_PER_SECOND * (int(seconds) + 2)

    used = poll.until(lambda: rested(watcher(httpd)), poll.DEADLINE, "the watch rests")
    print(f"{MANY} files told in {seconds:.1f} s; then {used:.2%} of a CPU")
    httpd.spool.write("late-and-bad.test", b"nonsense")
    noticed(httpd, UNUSABLE, "file=late-and-bad.test ")


def test_more_files_than_the_system_tells_of_are_told(httpd: Httpd) -> None:
    """While the watch is held, more events come than the kernel keeps."""
    kept = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    httpd.log.allow(ARRIVED)
    pid = watcher(httpd)
    os.kill(pid, signal.SIGSTOP)
    try:
        poll.until(lambda: is_stopped(pid), poll.DEADLINE, "the watch is held")
        flood(httpd.spool, kept + 1, GOOD)
        httpd.spool.write("last-and-bad.test", b"nonsense")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert noticed(httpd, LOST, "reading all spools").level == "info"
    noticed(httpd, UNUSABLE, "file=last-and-bad.test ")


# Longer than there is from one reading of the whole spool to the next, should there be any.
QUIET = 10 if LONG else 3


def rested(pid: int) -> float | None:
    """Which part of a CPU the process takes, if that is next to nothing."""
    before = cpu(pid)
    poll.let_pass(QUIET)
    used = (cpu(pid) - before) / QUIET
    return max(used, 1e-6) if used < 0.01 else None
