"""build/bench runs and has all rows. What it measures is no matter here: the machine is busy with tests."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import poll
from harness.server import REPOSITORY


@pytest.mark.long
@pytest.mark.skipif(
    not all(map(shutil.which, ("caddy", "ualpn", "valgrind"))), reason="build/bench's servers are not installed"
)
def test_benchmark_has_all_rows(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    program = REPOSITORY / "test" / "bench" / "bench.py"
    command = [program, "--smoke", "--json", figures, "--svg", tmp_path / "drawing.svg"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600 * poll.FACTOR, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(figures.read_text())
    assert all(result[part] for part in ("handshakes", "instructions", "scale", "latency", "storm", "goals"))
    assert all(row["cpu_us"]["median"] > 0 and row["wall_us"]["median"] > 0 for row in result["handshakes"])
    assert result["freshness"]["misses"] == 0
