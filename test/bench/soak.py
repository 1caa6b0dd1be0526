#!/usr/bin/python3
"""Soak: challenge handshakes while the spool changes under them, with ordinary load, restarts and kills.

Every challenge answer has to be one that the spool demanded at that time, every ordinary request
has to succeed, no child may crash, and the error log may hold nothing unexplained. With --kill a
child is killed each second; only what was connected to it may then fail. What the event MPM itself
drops at a restart is told apart, and counted as lost.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "httpd"))

from harness import poll
from harness.kill import NOTICED_WITHIN, Kill, Killer
from harness.load import Handshake, Load
from harness.pki import Authority
from harness.server import MPM, Httpd
from harness.timeline import Churn, Timeline

SITE = "site.test"
ORDINARY_CLIENTS = 4
SHOWN = 10

# A handshake to which the server never said a word before its end of the connection was gone.
UNANSWERED = "failed-handshake-5-errno-104-reason-0"
CRASH = "exit signal Segmentation fault"

# Room for all clients at once and for the generation before a restart, in each MPM.
ROOM = {
    "event": ("StartServers 4", "ServerLimit 24", "ThreadsPerChild 25", "MaxRequestWorkers 200"),
    "prefork": ("StartServers 80", "ServerLimit 200", "MaxRequestWorkers 120"),
}
ROOM["worker"] = ROOM["event"]


@dataclass(frozen=True)
class Restart:
    """From the signal to the end of the old children.

    In a child of the event MPM that is to end, a worker leaves when there are more of them than connections
    that are being served; what was accepted, but waits for a worker, does not count, and is dropped at the end of
    the child when all have left. That is so without this module, which never saw these connections: of one that it
    saw and that broke off, the log would tell.
    """

    begin: float
    end: float

    def explains(self, handshake: Handshake) -> bool:
        return handshake.outcome == UNANSWERED and self.begin <= handshake.end <= self.end + NOTICED_WITHIN


@dataclass
class Figures:
    """What happened, and what should not have."""

    answered: int = 0
    refused: int = 0
    ordinary: int = 0
    restarts: int = 0
    kills: int = 0
    lost: int = 0
    changes: int = 0
    failures: list[str] = field(default_factory=list)

    def line(self) -> str:
        counts = " ".join(f"{name}={value}" for name, value in vars(self).items() if name != "failures")
        return f"soak: {'FAIL' if self.failures else 'PASS'} {counts} failures={len(self.failures)}"


def judge(
    figures: Figures,
    timeline: Timeline,
    explanations: list[Restart | Kill],
    challenges: Iterable[Handshake],
    ordinary: Iterable[Handshake],
) -> None:
    """A connection may break off together with its child. An answer is never excused."""
    for handshake in challenges:
        if timeline.is_right(handshake):
            figures.answered += handshake.digest is not None
            figures.refused += handshake.digest is None
        else:
            count_failure(figures, explanations, handshake)
    for handshake in ordinary:
        if handshake.outcome == "http-200":
            figures.ordinary += 1
        else:
            count_failure(figures, explanations, handshake)
    for name in ("answered", "refused", "ordinary", "changes"):
        if not getattr(figures, name):
            figures.failures.append(f"nothing was {name}: this proves nothing")


def count_failure(figures: Figures, explanations: list[Restart | Kill], handshake: Handshake) -> None:
    broke_off = handshake.outcome.startswith("failed-")
    if broke_off and any(explanation.explains(handshake) for explanation in explanations):
        figures.lost += 1
    else:
        figures.failures.append(str(handshake))


def restart(httpd: Httpd, loads: list[Load], options: argparse.Namespace) -> list[Restart]:
    """While the loads go on, spread evenly over the time."""
    restarts: list[Restart] = []
    begin = time.monotonic()
    for number in range(1, options.restarts + 1):
        due: float = begin + number * options.seconds / (options.restarts + 1)
        poll.until(lambda: time.monotonic() >= due, options.seconds, "the next restart is due")
        asked = time.monotonic()
        httpd.reload()
        restarts.append(Restart(asked, time.monotonic()))
    for load in loads:
        load.wait()
    return restarts


def soak(httpd: Httpd, authority: Authority, options: argparse.Namespace) -> Figures:
    """The challenge handshakes, half of the clients with each version of TLS, and the ordinary requests."""
    figures = Figures()
    names = [f"{number}.names.test" for number in range(options.names)]
    with ExitStack() as stack:

        def start(targets: list[str], threads: int, **more: Any) -> Load:
            pairs = [(name, None) for name in targets]
            load = Load(httpd.address(), pairs, seconds=options.seconds, threads=threads, records=True, **more)
            return stack.enter_context(load)

        churn = stack.enter_context(Churn(httpd.spool, names))
        challenges = [start(names, options.clients // 2, version=version) for version in ("1.2", "1.3")]
        ordinary = start([SITE], ORDINARY_CLIENTS, trust=authority.root)
        with Killer(httpd, options.kill) if options.kill else nullcontext() as killer:
            restarts = restart(httpd, [*challenges, ordinary], options)
        kills = killer.kills if killer else []
        changes = churn.stop()
        figures.restarts, figures.kills, figures.changes = len(restarts), len(kills), len(changes)
        # A crash would look to the client as what the event MPM drops.
        dropped = restarts if options.mpm == "event" and not httpd.log.find(pattern=CRASH) else []
        handshakes = chain.from_iterable(load.records() for load in challenges)
        judge(figures, Timeline(changes), [*dropped, *kills], handshakes, ordinary.records())
    if options.kill and not figures.kills:
        figures.failures.append("no child was killed: this proves nothing")
    return figures


def run(options: argparse.Namespace, directory: Path) -> Figures:
    authority = Authority(directory)
    httpd = Httpd(mpm=options.mpm)
    httpd.server_lines += [*ROOM[options.mpm], "LogLevel acme_alpn:warn"]
    httpd.vhost(SITE, credentials=[authority.issue(SITE)])
    httpd.log.allow("AALPN0102", r"reason=no-entry .*: there is no entry for this name$")
    figures = None
    try:
        figures = soak(httpd.start(), authority, options)
    finally:
        try:
            httpd.close()
        except AssertionError as failure:
            if figures is None:
                raise
            figures.failures.append(str(failure))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=300, help="how long the load goes on (default %(default)s)")
    parser.add_argument("--clients", type=int, default=64, help="concurrent challenge handshakes (%(default)s)")
    parser.add_argument("--names", type=int, default=1000, help="names that they ask for (%(default)s)")
    parser.add_argument("--restarts", type=int, default=20, help="graceful restarts in that time (%(default)s)")
    parser.add_argument("--kill", type=float, metavar="PERIOD", help="kill a child each PERIOD seconds")
    parser.add_argument("--mpm", choices=sorted(ROOM), default=MPM, help="httpd's MPM (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        figures = run(options, Path(directory))
    for failure in figures.failures[:SHOWN]:
        print(failure)
    print(figures.line())
    return 1 if figures.failures else 0


if __name__ == "__main__":
    sys.exit(main())
