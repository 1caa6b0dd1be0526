"""test/bench/soak.py and memory.py, in their short forms but for ACME_ALPN_LONG=1, and the judge of the former."""

from __future__ import annotations

import subprocess
import sys

import pytest
from harness import poll
from harness.load import LONG, Handshake
from harness.server import MPM, REPOSITORY
from harness.timeline import REFUSED, Change, Timeline

sys.path.insert(0, str(REPOSITORY / "test" / "bench"))

from soak import UNANSWERED, Figures, Restart, judge  # noqa: E402

LIMIT = 3600 if LONG else 300
NEVER = float("-inf")

FIRST, SECOND = "1" * 64, "2" * 64
TIMELINE = Timeline(
    [
        Change("name.test", NEVER, NEVER, None),
        Change("name.test", 10.0, 10.1, FIRST),
        Change("name.test", 20.0, 20.1, SECOND),
        Change("name.test", 30.0, 30.1, None),
        Change("other.test", NEVER, NEVER, None),
    ]
)

# begin and end of the handshake, and the outcomes that are right in it
WHEN = {
    "before": (9.0, 9.9, {REFUSED}),
    "across-the-first": (9.9, 10.05, {REFUSED, FIRST}),
    "within-the-change": (10.02, 10.05, {REFUSED, FIRST}),
    "between": (10.2, 19.9, {FIRST}),
    "across-the-replacement": (19.9, 20.2, {FIRST, SECOND}),
    "after-the-replacement": (20.11, 20.2, {SECOND}),
    "after-the-removal": (30.11, 40.0, {REFUSED}),
    "all-the-time": (9.0, 40.0, {REFUSED, FIRST, SECOND}),
}


@pytest.mark.parametrize("begin, end, right", WHEN.values(), ids=WHEN)
def test_judge_takes_what_was_right_then_and_nothing_else(begin: float, end: float, right: set[str]) -> None:
    outcomes = {REFUSED, FIRST, SECOND, "3" * 64, "alert-80", UNANSWERED, "wrong-name"}
    taken = {outcome for outcome in outcomes if TIMELINE.is_right(Handshake(begin, end, 1, "name.test", outcome))}
    assert taken == right
    assert not TIMELINE.is_right(Handshake(begin, end, 1, "other.test", FIRST))


# end of the handshake, its outcome, and whether a restart from 10.0 to 11.0 explains it
LOST = {
    "at-the-restart": (10.5, UNANSWERED, True),
    "noticed-late": (11.5, UNANSWERED, True),
    "before": (9.9, UNANSWERED, False),
    "long-after": (12.5, UNANSWERED, False),
    "half-way": (10.5, "failed-handshake-5-errno-0-reason-0", False),
    "wrong-answer": (10.5, SECOND, False),
    "other-alert": (10.5, "alert-80", False),
}


@pytest.mark.parametrize("end, outcome, explained", LOST.values(), ids=LOST)
def test_judge_excuses_what_a_restart_drops_and_nothing_else(end: float, outcome: str, explained: bool) -> None:
    figures = Figures()
    handshakes = [
        Handshake(9.0, end, 1, "name.test", outcome),
        Handshake(9.0, 9.5, 2, "name.test", REFUSED),
        Handshake(15.0, 15.5, 3, "name.test", FIRST),
    ]
    ordinary = [Handshake(9.0, 9.5, 4, "site.test", "http-200")]
    figures.changes = 1
    judge(figures, TIMELINE, [Restart(10.0, 11.0)], handshakes, ordinary)
    assert (figures.answered, figures.refused, figures.ordinary) == (1, 1, 1)
    assert (figures.lost, len(figures.failures)) == (explained, not explained)


def run(program: str, *arguments: str) -> str:
    """One program of test/bench has to say on its last line that it passed; returns that line."""
    command = [str(REPOSITORY / "test" / "bench" / f"{program}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT * poll.FACTOR, check=False)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    line = done.stdout.splitlines()[-1]
    assert line.startswith(f"{program}: PASS ")
    return line


# With fewer names in the short form, each changes and is asked for more than once.
SOAK = ["--seconds", "300", "--restarts", "20"] if LONG else ["--seconds", "12", "--restarts", "4", "--names", "200"]


@pytest.mark.parametrize(
    "kill",
    [pytest.param([], id="restarts"), pytest.param(["--kill", "1"], id="restarts-and-kills", marks=pytest.mark.long)],
)
def test_answers_stay_right_while_everything_moves(kill: list[str]) -> None:
    line = run("soak", *SOAK, *kill)
    assert f" restarts={SOAK[3]} " in line
    assert (" kills=0 " in line) == (not kill)


@pytest.mark.long
def test_memory_does_not_grow() -> None:
    assert " growth=" in run("memory", "--mpm", MPM)
