#!/usr/bin/python3
"""What a handshake costs: this module, other servers that answer challenges, and what is the least that it could cost.

All servers run side by side, and rounds are interleaved. The figure of a case is the median over the rounds of the
server's CPU time (user and system, of all its threads and processes) for one handshake; of two cases, the median of
the ratios within the rounds. docs/performance.md says what each figure means.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Union

sys.path.insert(0, str(Path(__file__).resolve().parent))

import instructions
import latency
import relay_storm
import report
import servers
from harness import client, load
from harness.pki import Authority
from harness.server import PARENT, Httpd
from harness.spool import KeyAuthorization
from servers import SITE, Program, Targets, spread

NAME = "challenge.test"
VERSIONS = ("1.3", "1.2")
THREADS = (1, 32)

Server = Union[Httpd, Program]


@dataclass(frozen=True)
class Size:
    """How much is measured: handshakes in a measurement, rounds, files, names in rotation, changes of the spool,
    handshakes under callgrind, vhosts there, rounds and handshakes of the latencies, rounds and seconds of the relay storms."""

    handshakes: int
    rounds: int
    files: tuple[int, ...]
    names: tuple[int, ...]
    changes: int
    counted: int
    vhosts: tuple[int, int]
    latency: tuple[int, int]
    storm: tuple[int, int]


SIZES = {
    "full": Size(300, 7, (1, 1_000, 1_000_000), (1, 100, 1_000, 10_000), 10_000, 20, (10, 2_000), (50, 20), (3, 4)),
    "short": Size(100, 4, (1, 1_000), (1, 1_000), 100, 10, (10, 500), (20, 10), (3, 2)),
    "smoke": Size(6, 2, (1, 10), (1, 10), 4, 2, (4, 10), (2, 2), (2, 1)),
}


@dataclass(frozen=True)
class Case:
    """One kind of handshake with one server. What has to become of all of them is `outcome`."""

    server: Server
    targets: Callable[[int], Targets]
    mode: str | None = None
    outcome: str = "right"


def settled(server: Server) -> int:
    """The server's CPU time once it does nothing any more: httpd closes connections after the client has."""
    last, now = -1, servers.cpu_ns(server.pid)
    for _ in range(20):  # Go has always something to do
        if now == last:
            break
        time.sleep(0.05)
        last, now = now, servers.cpu_ns(server.pid)
    return now


def measure(case: Case, count: int, version: str, threads: int) -> dict[str, float]:
    """CPU and wall time for one handshake, in microseconds."""
    targets = case.targets(count)
    before = settled(case.server)
    done = load.run(case.server.address(), targets, count, version=version, threads=threads, mode=case.mode)
    cpu = settled(case.server) - before
    if getattr(done, case.outcome) != count:
        raise RuntimeError(f"{count} handshakes had to be {case.outcome}: {done}")
    return {"cpu": cpu / count / 1000, "wall": done.seconds * 1e6 / count}


def handshakes(cases: dict[str, Case], size: Size) -> list[dict[str, Any]]:
    """One row for each case, version and concurrency, with the figures of each round."""
    rows = [
        {"case": name, "tls": version, "threads": threads, "cpu": [], "wall": []}
        for name in cases
        for version in VERSIONS
        for threads in THREADS
    ]
    for number in range(size.rounds + 1):
        for row in rows:
            done = measure(cases[row["case"]], max(size.handshakes, row["threads"]), row["tls"], row["threads"])
            if number > 0:  # the first is for warming up
                row["cpu"].append(done["cpu"])
                row["wall"].append(done["wall"])
    for row in rows:
        row["cpu_us"], row["wall_us"] = spread(row["cpu"]), spread(row["wall"])
    return rows


def fixed(name: str, value: KeyAuthorization | None = None) -> Callable[[int], Targets]:
    return lambda count: [(name, value)]


def fresh(httpd: Httpd) -> Callable[[int], Targets]:
    """Names whose digests no child has seen."""
    return lambda count: [(f"{number}.first.test", httpd.spool.publish(f"{number}.first.test")) for number in range(count)]


def all_cases(stack: ExitStack, directory: Path, authority: Authority) -> dict[str, Case]:
    def own(title: str) -> Path:
        made = directory / title
        made.mkdir()
        return made

    value = KeyAuthorization.new()
    ours, without = servers.httpd(authority), servers.httpd(authority, with_module=False)
    for server in (ours, without):
        stack.callback(server.close)
        server.start()
    ours.spool.publish(NAME, value)
    right, site = fixed(NAME, value), fixed(SITE)
    cases = {
        "module, repeated": Case(ours, right),
        "module, first": Case(ours, fresh(ours)),
        "module, refused": Case(ours, fixed("absent.test"), outcome="refused"),
        "httpd, ordinary": Case(without, site, "ordinary"),
        "httpd with module, ordinary": Case(ours, site, "ordinary"),
        "httpd, accept and close": Case(without, site, "connect"),
    }
    for kind in ("p256", "rsa"):
        server = servers.mod_md(authority, NAME, value, kind)
        stack.callback(server.close)
        cases[f"mod_md, {kind}"] = Case(server, right)
    for make in (servers.ualpn, servers.caddy, servers.floor):
        program = make(own(make.__name__), NAME, value)
        stack.callback(program.close)
        cases[make.__name__] = Case(program, right)
    return cases


def fill(httpd: Httpd, files: int) -> None:
    """The file that is asked for is one of them. The rest are never opened, and so may be links to one."""
    path = httpd.spool.write("0.fill.test", KeyAuthorization.new().text.encode())
    for number in range(1, files - 1):
        if number % 50_000 == 0:  # below what file systems allow as links to one file
            path = httpd.spool.write(f"{number}.fill.test", KeyAuthorization.new().text.encode())
        else:
            (httpd.spool.path / f"{number}.fill.test").hardlink_to(path)


def scale(authority: Authority, size: Size) -> dict[str, list[dict[str, Any]]]:
    """A server for each number of files, whose rounds are interleaved, and then names in rotation with one of them."""
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        cases = []
        for files in size.files:
            httpd, value = servers.httpd(authority), KeyAuthorization.new()
            stack.callback(httpd.close)
            httpd.start()
            if files > 1:
                fill(httpd, files)
            httpd.spool.publish(NAME, value)
            cases.append(Case(httpd, fixed(NAME, value)))
            rows.append({"files": files, "cpu": []})
        for number in range(size.rounds + 1):
            for row, case in zip(rows, cases):
                done = measure(case, size.handshakes, "1.3", 1)
                row["cpu"] += [done["cpu"]] if number else []
        for row, case in zip(rows, cases):
            row["cpu_us"], row["resident_kib"] = spread(row["cpu"]), servers.resident_kib(case.server.pid)
        names = [in_rotation(cases[0].server, names, size) for names in size.names]
    return {"files": rows, "names": names}


def in_rotation(server: Server, names: int, size: Size) -> dict[str, Any]:
    assert isinstance(server, Httpd)
    targets: Targets = [(f"{number}.turn.test", server.spool.publish(f"{number}.turn.test")) for number in range(names)]
    count = max(size.handshakes, names)
    case = Case(server, lambda _: targets)
    values = [measure(case, count, "1.3", 1)["cpu"] for _ in range(4)][1:]
    return {"names": names, "cpu": values, "cpu_us": spread(values), "resident_kib": servers.resident_kib(server.pid)}


def freshness(authority: Authority, changes: int) -> dict[str, Any]:
    """Publish, ask, withdraw, ask, in one child after the other; misses are answers that the spool did not demand."""
    misses = 0
    with servers.httpd(authority) as httpd:
        children = sorted(httpd.start().children())
        for child in children:
            with httpd.only_child(child):
                for number in range(changes):
                    misses += not is_fresh(httpd, f"{number % 50}.fresh.test")
    return {"children": len(children), "changes_in_each": changes, "misses": misses}


def is_fresh(httpd: Httpd, name: str) -> bool:
    digest = httpd.spool.publish(name).digest
    answer = client.handshake(httpd.address(), name)
    httpd.spool.withdraw(name)
    refused = client.handshake(httpd.address(), name)
    held = bool(answer.chain) and answer.chain[0].find(b"\x04\x20" + digest) >= 0
    return held and not refused.chain and refused.alert == client.NO_APPLICATION_PROTOCOL


def run(form: str) -> dict[str, Any]:
    size = SIZES[form]
    result: dict[str, Any] = {"form": form}
    with tempfile.TemporaryDirectory(prefix="acme-alpn-bench-", dir=PARENT) as text, ExitStack() as stack:
        directory = Path(text)
        directory.chmod(0o755)
        (directory / "pki").mkdir()
        authority = Authority(directory / "pki")
        result["handshakes"] = handshakes(all_cases(stack, directory, authority), size)
        stack.close()
        result["instructions"] = instructions.count(authority, size.counted, size.vhosts)
        result["scale"] = scale(authority, size)
        result["freshness"] = freshness(authority, size.changes)
        result["latency"] = latency.measure(directory, authority, *size.latency)
        result["storm"] = [relay_storm.measure(authority, mpm, *size.storm) for mpm in relay_storm.MPMS]
    result["goals"] = report.goals(result)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", dest="form", action="store_const", const="short", default="full", help="a few minutes")
    parser.add_argument("--smoke", dest="form", action="store_const", const="smoke", help="only whether it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures, those of each round too")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw them")
    options = parser.parse_args()
    result = run(options.form)
    print(report.table(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.svg:
        options.svg.write_text(report.plot(result))
    return 1 if result["freshness"]["misses"] else 0


if __name__ == "__main__":
    sys.exit(main())
