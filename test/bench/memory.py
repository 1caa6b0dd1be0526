#!/usr/bin/python3
"""Memory: what one child of httpd holds after many challenge handshakes, against after a few.

What grows with the handshakes grows all the time, while a busy machine makes some thread use its stack
or pool for the first time whenever that is. So the growth is the least one of a few equal spans, times
their number.

Each round asks for every name once, each with a new digest, so that the cache of certificates is
filled and replaced over and over; one name in ten has no entry and is refused.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "httpd"))

from harness import load
from harness.pki import Authority
from harness.server import Httpd
from harness.spool import KeyAuthorization

SITE = "site.test"
CLIENTS = 8

# More names than the cache has slots, so that it is full after the first round.
NAMES = 2000
ABSENT = NAMES // 10
SPANS = 3

# The event MPM keeps a pool for each connection that it ever had at once, those that linger included, so
# the number of its workers, which bounds them, is small.
ONE_CHILD = {
    "event": ("StartServers 1", "ServerLimit 1", "ThreadsPerChild 16", "MaxRequestWorkers 16"),
    "worker": ("StartServers 1", "ServerLimit 1", "ThreadsPerChild 16", "MaxRequestWorkers 16"),
    "prefork": ("StartServers 1", "ServerLimit 1", "MaxRequestWorkers 1", "MinSpareServers 1", "MaxSpareServers 1"),
}

# With threads, glibc keeps what is freed in a cache of each thread and in several arenas, up to a bound
# that is reached after far more handshakes than are made here. Without that, what is resident is in use.
ENVIRONMENT: dict[str, dict[str, str]] = {
    "event": {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1"},
    "worker": {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1"},
    "prefork": {},
}


@dataclass(frozen=True)
class Memory:
    """In KiB: all that is resident, and of that what is no file's. (The proportional size depends on
    what else runs.)"""

    rss: int
    anonymous: int

    @classmethod
    def of(cls, pid: int) -> Memory:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        found = {name: int(size) for name, size in re.findall(r"^(\w+): +(\d+) kB$", text, re.MULTILINE)}
        return cls(found["Rss"], found["Anonymous"])


class Failed(AssertionError):
    """The memory grows, or what was measured was not what should have been."""


def targets(httpd: Httpd) -> Iterator[tuple[str, KeyAuthorization | None]]:
    """One round: new digests for all names, and some names without an entry between them."""
    for number in range(NAMES):
        name = f"{number}.names.test"
        yield (f"absent.{name}", None) if number % (NAMES // ABSENT) == 0 else (name, httpd.spool.publish(name))


def round_trip(httpd: Httpd, version: str) -> None:
    done = load.run(httpd.address(), targets(httpd), NAMES, threads=CLIENTS, version=version)
    if (done.right, done.refused) != (NAMES - ABSENT, ABSENT):
        raise Failed(f"{NAMES - ABSENT} right answers and {ABSENT} refusals had to come: {done}")


def measure(httpd: Httpd, pid: int, total: int, done: int) -> Memory:
    """Go on from `done` handshakes to `total`."""
    for number in range(done // NAMES, total // NAMES):
        round_trip(httpd, ("1.2", "1.3")[number % 2])
    if httpd.children() != {pid}:
        raise Failed(f"the child {pid} was replaced by {httpd.children()}")
    return Memory.of(pid)


def compare(httpd: Httpd, options: argparse.Namespace) -> bool:
    (pid,) = httpd.children()
    span = (options.last - options.first) // SPANS // NAMES * NAMES
    looks = [options.last - span * left for left in range(SPANS, -1, -1)]
    held = [measure(httpd, pid, total, done) for done, total in zip([0, *looks], looks)]
    first, last = held[0], held[-1]
    growth = SPANS * min(after.rss - before.rss for before, after in zip(held, held[1:])) / first.rss
    passed: bool = growth <= options.tolerance / 100
    print(
        f"memory: {'PASS' if passed else 'FAIL'} mpm={httpd.mpm} "
        f"handshakes={looks[0]} rss_kib={first.rss} anonymous_kib={first.anonymous} "
        f"handshakes={options.last} rss_kib={last.rss} anonymous_kib={last.anonymous} growth={growth:+.2%}"
    )
    return passed


def run(options: argparse.Namespace, directory: Path) -> bool:
    authority = Authority(directory)
    httpd = Httpd(mpm=options.mpm)
    httpd.server_lines += [*ONE_CHILD[options.mpm], "LogLevel acme_alpn:warn"]
    httpd.environment.update(ENVIRONMENT[options.mpm])
    httpd.vhost(SITE, credentials=[authority.issue(SITE)])
    httpd.log.allow("AALPN0102", r"identifier=absent\.\S+ .* reason=no-entry ")
    with httpd:
        return compare(httpd.start(), options)


def rounds(text: str) -> int:
    value = int(text)
    if value < NAMES or value % NAMES:
        raise argparse.ArgumentTypeError(f"{text} is not a multiple of {NAMES}")
    return value


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=rounds, default=10_000, help="handshakes before the first look (%(default)s)")
    parser.add_argument("--last", type=rounds, default=100_000, help="handshakes before the last look (%(default)s)")
    parser.add_argument("--tolerance", type=float, default=1.0, help="percent that it may grow (%(default)s)")
    parser.add_argument("--mpm", choices=sorted(ONE_CHILD), default="prefork", help="httpd's MPM (%(default)s)")
    options = parser.parse_args()
    if options.last - options.first < SPANS * NAMES:
        parser.error(f"--last has to be {SPANS * NAMES} more than --first, or more")
    with tempfile.TemporaryDirectory() as directory:
        return 0 if run(options, Path(directory)) else 1


if __name__ == "__main__":
    sys.exit(main())
