"""What a spool held at which time, and whether a handshake's outcome was right then.

Nobody can say at which instant a rename takes effect, only that it lies between two readings of
the clock; so each state may have been in effect from just before the change that brought it to
just after the one that ended it. The same goes for the instant in a handshake at which the server
looks. No slack is added: "at the next handshake" means no less.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection

from . import poll
from .client import NO_APPLICATION_PROTOCOL
from .load import Handshake
from .spool import Spool

REFUSED = f"alert-{NO_APPLICATION_PROTOCOL}"


@dataclass(frozen=True)
class Change:
    """From some instant between `before` and `after` on, the digest (in hex) is this, or there is none."""

    name: str
    before: float
    after: float
    digest: str | None


class Timeline:
    def __init__(self, changes: Iterable[Change]) -> None:
        """`changes` are in order, and the first one of each name lies before all handshakes."""
        self._changes: dict[str, list[Change]] = {}
        for change in changes:
            self._changes.setdefault(change.name, []).append(change)

    def possible(self, name: str, begin: float, end: float) -> set[str | None]:
        """The digests that may have been in effect at some instant of this time; None is 'no challenge'."""
        changes = self._changes[name]
        # The first change that was over at `begin` or later: what was there before it may still count.
        first = bisect_left([change.after for change in changes], begin)
        return {change.digest for change in changes[max(first - 1, 0) :] if change.before <= end}

    def is_right(self, handshake: Handshake) -> bool:
        """Whether it was answered with a digest, or refused, as the spool's state then demanded."""
        if handshake.digest is None and handshake.outcome != REFUSED:
            return False
        return handshake.digest in self.possible(handshake.name, handshake.begin, handshake.end)


class Churn:
    """A process that adds, replaces and removes entries until it is stopped, and remembers when."""

    PERIOD = 0.01
    CHANGES_PER_PERIOD = 3

    def __init__(self, spool: Spool, names: list[str]) -> None:
        self._mine, its = multiprocessing.Pipe()
        self._process = multiprocessing.Process(target=_churn, args=(spool, names, its), daemon=True)

    def __enter__(self) -> Churn:
        """Returns when every second name has an entry."""
        self._process.start()
        self._mine.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    def stop(self) -> list[Change]:
        self._mine.send("stop")
        changes: list[Change] = self._mine.recv()
        return changes


def _churn(spool: Spool, names: list[str], control: Connection) -> None:
    present: set[str] = set()
    changes = [Change(name, float("-inf"), float("-inf"), None) for name in names]
    changes += [_publish(spool, name, present) for name in names[::2]]
    control.send("ready")
    due = time.monotonic()
    while not control.poll():
        due += Churn.PERIOD
        for _ in range(Churn.CHANGES_PER_PERIOD):
            name = random.choice(names)
            withdraw = name in present and random.random() < 0.5
            changes.append(_withdraw(spool, name, present) if withdraw else _publish(spool, name, present))
        poll.until(lambda: time.monotonic() >= due, 10, "the next period begins")
    control.send(changes)


def _publish(spool: Spool, name: str, present: set[str]) -> Change:
    before = time.monotonic()
    digest = spool.publish(name).digest.hex()
    present.add(name)
    return Change(name, before, time.monotonic(), digest)


def _withdraw(spool: Spool, name: str, present: set[str]) -> Change:
    before = time.monotonic()
    spool.withdraw(name)
    present.remove(name)
    return Change(name, before, time.monotonic(), None)
