"""httpd's error log as records, of which tests claim what they expect.

What nobody claimed and nobody should see (errors, this module's warnings, crashes, sanitizer
reports) is what `unexpected` returns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from . import poll
from .fault import ServerFault

LEVELS = ("emerg", "alert", "crit", "error", "warn", "notice", "info", "debug")
MODULE = "acme_alpn"

_LINE = re.compile(
    r"\[(?P<time>[^\]]+)\] \[(?P<module>[^:\]]*):(?P<level>[a-z]+)\d?\] "
    r"\[pid (?P<pid>\d+)(?::tid \d+)?\] (?P<text>.*)"
)
_TIME = "%a %b %d %H:%M:%S.%f %Y"
_CRASH = re.compile(r"exit signal|seg fault|Parent: child process .* exited with status")


class UnexpectedLog(ServerFault):
    """The error log holds what no test claimed."""


VERSION = "AALPN0009"


@dataclass
class Record:
    """One line of the log. A line that httpd did not format has the level `raw`."""

    line: str
    text: str
    level: str = "raw"
    module: str = ""
    pid: int = 0
    time: float = 0.0
    claimed: bool = field(default=False, compare=False)
    # The module's own message tag, `AALPN` and four digits, or nothing. Each look at the log asks each line for it.
    tag: str = field(init=False)

    def __post_init__(self) -> None:
        self.tag = _first(r"\bAALPN\d{4}\b", self.text)

    @property
    def ah(self) -> str:
        """httpd's own message number, `AH` and five digits, or nothing."""
        return _first(r"\bAH\d{5}\b", self.text)

    @property
    def duration(self) -> float:
        """Of the handshake that the line is about, in seconds."""
        return float(self.text.split("duration=")[1].split("ms")[0]) / 1000

    @property
    def is_crash(self) -> bool:
        """Whether a process ended as it should not have, or a sanitizer or the C library says why."""
        return self.level == "raw" or _CRASH.search(self.text) is not None

    @property
    def suspicious(self) -> bool:
        """Whether a test has to have expected this line."""
        if self.is_crash:
            return True
        limit = "warn" if self.tag or self.module == MODULE else "error"
        return self.at_least(limit)

    def at_least(self, level: str) -> bool:
        return self.level in LEVELS and LEVELS.index(self.level) <= LEVELS.index(level)

    def matches(self, tag: str | None, pattern: str | None, level: str | None) -> bool:
        return (
            (tag is None or self.tag == tag)
            and (level is None or self.level == level)
            and (pattern is None or re.search(pattern, self.text) is not None)
        )


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found.group() if found else ""


def parse(line: str) -> Record:
    found = _LINE.fullmatch(line)
    if found is None:
        return Record(line, line)
    return Record(
        line,
        found["text"],
        found["level"],
        found["module"],
        int(found["pid"]),
        datetime.strptime(found["time"], _TIME).timestamp(),
    )


class ErrorLog:
    """The records of one or more files that a server only appends to."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._offsets = {path: 0 for path in paths}
        self.records: list[Record] = []
        self._allowed: list[tuple[str | None, str | None]] = []

    def refresh(self) -> list[Record]:
        for path, offset in self._offsets.items():
            try:
                with path.open("rb") as file:
                    file.seek(offset)
                    data = file.read()
            except FileNotFoundError:
                continue
            # A line that is still being written waits for its end.
            complete = data[: data.rfind(b"\n") + 1]
            self._offsets[path] += len(complete)
            lines = complete.decode(errors="backslashreplace").split("\n")
            self.records += [parse(line) for line in lines if line.strip()]
        return self.records

    def find(self, tag: str | None = None, pattern: str | None = None, level: str | None = None) -> list[Record]:
        """All matching records so far, claimed or not; claims none."""
        return [record for record in self.refresh() if record.matches(tag, pattern, level)]

    def tagged(self) -> list[Record]:
        """All lines of the module's but that of its version, which comes at each start."""
        return [record for record in self.refresh() if record.tag and record.tag != VERSION]

    def expect(
        self,
        tag: str | None = None,
        pattern: str | None = None,
        *,
        level: str | None = None,
        count: int = 1,
        timeout: float = poll.DEADLINE,
    ) -> list[Record]:
        """Wait for `count` matching records that nobody claimed yet, claim and return them."""

        def unclaimed() -> list[Record] | None:
            found = [record for record in self.find(tag, pattern, level) if not record.claimed]
            return found[:count] if len(found) >= count else None

        wanted = f"{count} log record(s) {tag or ''} {level or ''} /{pattern or ''}/"
        try:
            found = poll.until(unclaimed, timeout, wanted)
        except TimeoutError as error:
            raise AssertionError(f"{error}; the log ends:\n{self.tail()}") from None
        for record in found or []:
            record.claimed = True
        return found or []

    def allow(self, tag: str | None = None, pattern: str | None = None) -> None:
        """Claim whatever matches, now and later. For floods; elsewhere `expect` says how many."""
        self._allowed.append((tag, pattern))

    def unexpected(self) -> list[Record]:
        """The suspicious records that nobody claimed, each returned once."""
        found = [
            record
            for record in self.refresh()
            if record.suspicious
            and not record.claimed
            and not any(record.matches(tag, pattern, None) for tag, pattern in self._allowed)
        ]
        for record in found:
            record.claimed = True
        return found

    def begin(self) -> None:
        """Leave to earlier tests what is theirs, but for crashes that none of them has seen yet."""
        for record in self.refresh():
            record.claimed |= not record.is_crash

    def check(self) -> None:
        found = self.unexpected()
        if found:
            raise UnexpectedLog("nobody expected in the error log:\n" + "\n".join(record.line for record in found))

    def tail(self, lines: int = 30) -> str:
        return "\n".join(record.line for record in self.refresh()[-lines:])
