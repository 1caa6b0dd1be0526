"""Relay storm: handshakes for a hanging upstream at a fixed rate, and what ordinary requests notice of it.

Ordinary requests are counted without a storm, with handshakes at that rate for which no upstream is asked, and with as
many that ask one: what is lost against those is the relay's share. These take turns. Both MPMs are measured.
"""

from __future__ import annotations

from typing import Any

import servers
from harness.load import Load
from harness.pki import Authority
from harness.server import Httpd
from harness.storm import ordinary, server, storm
from harness.upstream import Upstream

# As many workers in each.
WORKERS = 48
MPMS = {
    "event": ("StartServers 3", "ServerLimit 3", "ThreadsPerChild 16", f"MaxRequestWorkers {WORKERS}"),
    "prefork": (f"StartServers {WORKERS}", f"ServerLimit {WORKERS}", f"MaxRequestWorkers {WORKERS}",
                f"MaxSpareServers {WORKERS}"),
}
RATE = 500
# Each counts ordinary requests: without a storm, with one that asks nobody, and with one that asks the upstream.
QUIET, REFUSED, STORM = "quiet", "refused", "storm"


def served(httpd: Httpd, authority: Authority, seconds: int) -> float:
    """Ordinary requests a second, of which none may fail."""
    with ordinary(httpd, authority, seconds) as load:
        summary = load.wait()
    if summary.right != summary.handshakes:
        raise RuntimeError(f"ordinary requests failed: {summary}")
    return summary.per_second


def beside(httpd: Httpd, authority: Authority, seconds: int, load: Load) -> tuple[float, float]:
    """Ordinary requests and handshakes a second."""
    with load:
        requests = served(httpd, authority, seconds)
        return requests, load.wait().per_second


def measure(authority: Authority, mpm: str, rounds: int, seconds: int) -> dict[str, Any]:
    """The figures of each round, and the ratios within them."""
    result: dict[str, Any] = {"mpm": mpm, "rate": RATE, QUIET: [], REFUSED: [], STORM: [], "reached": []}
    with Upstream() as upstream, Httpd(mpm=mpm) as httpd:
        httpd.server_lines += MPMS[mpm]
        server(httpd, authority, f"AcmeAlpnUpstream {upstream} timeout=1s any-name")
        for _ in range(rounds):
            result[QUIET].append(served(httpd, authority, seconds))
            load = storm(httpd.address(), RATE, seconds, asked=False)
            result[REFUSED].append(beside(httpd, authority, seconds, load)[0])
            load = storm(httpd.address(), RATE, seconds)
            requests, reached = beside(httpd, authority, seconds, load)
            result[STORM].append(requests)
            result["reached"].append(reached)
    for other in (QUIET, REFUSED):
        result[f"to_{other}"] = servers.spread([value / base for value, base in zip(result[STORM], result[other])])
    return result


def table(results: list[dict[str, Any]]) -> list[str]:
    lines = ["| Ordinary requests in a relay storm (quartiles) | handshakes a second | of those without | of those "
             "in a storm that asks nobody |", "|---|---|---|---|"]
    for result in results:
        reached = servers.spread(result["reached"])["median"]
        shares = (servers.figure(result[f"to_{other}"]) for other in (QUIET, REFUSED))
        lines.append(f"| {result['mpm']} | {reached:.0f} | {' | '.join(shares)} |")
    return lines
