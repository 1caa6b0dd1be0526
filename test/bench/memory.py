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
# Handshakes, in rounds of all names, before the first look and the last, and how many spans are between.
FIRST, LAST, SPANS = 10_000, 100_000, 3
TOLERANCE = 0.01

# The event MPM keeps a pool for each connection that it ever had at once, those that linger included, so
# the number of its workers, which bounds them, is small.
THREADED = ("StartServers 1", "ServerLimit 1", "ThreadsPerChild 16", "MaxRequestWorkers 16")
PREFORK = ("StartServers 1", "ServerLimit 1", "MaxRequestWorkers 1", "MinSpareServers 1", "MaxSpareServers 1")

# With threads, glibc keeps what is freed in a cache of each thread and in several arenas, up to a bound
# that is reached after far more handshakes than are made here. Without that, what is resident is in use.
ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1"}


def targets(httpd: Httpd) -> Iterator[tuple[str, KeyAuthorization | None]]:
    """One round: new digests for all names, and some names without an entry between them."""
    for number in range(NAMES):
        name = f"{number}.names.test"
        yield (f"absent.{name}", None) if number % (NAMES // ABSENT) == 0 else (name, httpd.spool.publish(name))


def resident_kib(httpd: Httpd, pid: int, handshakes: int) -> int:
    """After that many more."""
    for number in range(handshakes // NAMES):
        done = load.run(httpd.address(), targets(httpd), NAMES, threads=CLIENTS, version=("1.2", "1.3")[number % 2])
        if (done.right, done.refused) != (NAMES - ABSENT, ABSENT):
            raise AssertionError(f"{NAMES - ABSENT} right answers and {ABSENT} refusals had to come: {done}")
    if httpd.children() != {pid}:
        raise AssertionError(f"the child {pid} was replaced by {httpd.children()}")
    return int(re.findall(r"^Rss: +(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)[0])


def compare(httpd: Httpd) -> bool:
    (pid,) = httpd.children()
    held = [resident_kib(httpd, pid, FIRST)]
    held += [resident_kib(httpd, pid, (LAST - FIRST) // SPANS) for _ in range(SPANS)]
    growth = SPANS * min(after - before for before, after in zip(held, held[1:])) / held[0]
    passed = growth <= TOLERANCE
    print(f"memory: {'PASS' if passed else 'FAIL'} mpm={httpd.mpm} rss_kib={held} growth={growth:+.2%}")
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mpm", choices=("event", "worker", "prefork"), default="prefork", help="(%(default)s)")
    mpm = parser.parse_args().mpm
    with tempfile.TemporaryDirectory() as directory:
        authority = Authority(Path(directory))
        httpd = Httpd(mpm=mpm)
        httpd.server_lines += [*(PREFORK if mpm == "prefork" else THREADED), "LogLevel acme_alpn:warn"]
        httpd.environment.update({} if mpm == "prefork" else ENVIRONMENT)
        httpd.vhost(SITE, credentials=[authority.issue(SITE)])
        httpd.log.allow("AALPN0102", r"identifier=absent\.\S+ .* reason=no-entry ")
        with httpd:
            return 0 if compare(httpd.start()) else 1


if __name__ == "__main__":
    sys.exit(main())
