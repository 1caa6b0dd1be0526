"""build/bench runs and measures all that it should. What it measures is no matter here: the machine is busy with tests."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from harness import poll
from harness.server import REPOSITORY

CASES = {
    "module, repeated",
    "module, first",
    "module, refused",
    "httpd, ordinary",
    "httpd with module, ordinary",
    "httpd, accept and close",
    "mod_md, p256",
    "mod_md, rsa",
    "ualpn",
    "caddy",
    "floor",
}
KINDS = {"ordinary", "repeated", "repeated, of these for the status page", "first", "refused"}
COUNTED = {"without the module": {"ordinary"}, "with the module": KINDS, "with the module, one vhost Off": KINDS}
GOALS = 11
SOURCES = ["spool", "store, TCP", "store, socket", "store, TLS", "relay, httpd", "relay, s_server"]


@pytest.mark.long
@pytest.mark.skipif(
    not all(map(shutil.which, ("caddy", "ualpn", "valgrind"))), reason="build/bench's servers are not installed"
)
def test_benchmark_has_all_rows(tmp_path: Path) -> None:
    figures, drawing = tmp_path / "figures.json", tmp_path / "drawing.svg"
    program = REPOSITORY / "test" / "bench" / "bench.py"
    command = [str(program), "--smoke", "--json", str(figures), "--svg", str(drawing)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600 * poll.FACTOR, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(figures.read_text())
    rows = {(row["case"], row["tls"], row["threads"]) for row in result["handshakes"]}
    assert rows == {(case, tls, threads) for case in CASES for tls in ("1.2", "1.3") for threads in (1, 32)}
    assert all(row["cpu_us"]["median"] > 0 and row["wall_us"]["median"] > 0 for row in result["handshakes"])
    counted = [(row["server"], row["vhosts"], row["counted"].keys()) for row in result["instructions"]]
    assert counted == [(server, vhosts, kinds) for server, kinds in COUNTED.items() for vhosts in (4, 10)]
    assert all(min(row["counted"].values()) > 0 for row in result["instructions"])
    assert all(result["scale"][title] for title in ("files", "names"))
    assert result["freshness"]["children"] == 2 and result["freshness"]["misses"] == 0
    assert [row["source"] for row in result["latency"]] == SOURCES
    assert all(row["latency_ms"]["median"] > 0 for row in result["latency"])
    assert [row["mpm"] for row in result["storm"]] == ["event", "prefork"]
    assert all(row["to_refused"]["median"] > 0 and min(row["reached"]) > 0 for row in result["storm"])
    assert all(f"\n| {source} | " in done.stdout for source in (*SOURCES, "event", "prefork"))
    assert len(result["goals"]) == GOALS
    assert done.stdout.count("\n| ") >= len(CASES)
    assert ElementTree.parse(drawing).getroot().tag.endswith("svg")
