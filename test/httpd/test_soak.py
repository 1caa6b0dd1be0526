"""test/bench/soak.py and memory.py, in their short forms but for ACME_ALPN_LONG=1."""

from __future__ import annotations

import subprocess

import pytest
from harness import poll
from harness.load import LONG
from harness.server import MPM, REPOSITORY

LIMIT = 3600 if LONG else 300


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
