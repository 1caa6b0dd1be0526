"""Latency of a challenge handshake as its client sees it, by where the challenge is: in the spool, in a store, or with
another responder that the handshake is relayed to.

One handshake after the other, with its TCP connection. The sources take turns, so that what disturbs a round disturbs
all; what counts is the difference to the spool in the same round. The stores are one private redis-server, the
responders another httpd with this module and `openssl s_server`, as acme.sh runs it. All are on the loopback.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import servers
from harness.load import Load
from harness.pki import Authority
from harness.redis import Redis
from harness.server import Httpd
from harness.spool import KeyAuthorization
from servers import figure, spread

SPOOL = "spool"


@dataclass(frozen=True)
class Source:
    """Where a vhost of the server has its challenge."""

    name: str
    directive: str
    value: KeyAuthorization


def name_of(title: str) -> str:
    return title.replace(", ", "-").replace("_", "-").lower() + ".test"


def all_sources(stack: ExitStack, directory: Path, authority: Authority) -> dict[str, Source]:
    redis = stack.enter_context(Redis(authority=authority))
    identity = authority.issue("client.test")
    tls = f"cafile={authority.root} certfile={identity.certificate} keyfile={identity.key}"
    urls = {
        "store, TCP": redis.url,
        "store, socket": f"unix://{redis.socket}",
        "store, TLS": f"rediss://localhost:{redis.tls_port} {tls}",
    }
    sources = {SPOOL: Source(name_of(SPOOL), "", KeyAuthorization.new())}
    for title, url in urls.items():
        sources[title] = Source(name_of(title), f"AcmeAlpnStore {url} timeout=5s", redis.publish(name_of(title)))

    value = KeyAuthorization.new()
    responder = servers.httpd(authority)
    stack.callback(responder.close)
    responder.start().spool.publish(name_of("relay, httpd"), value)
    program = servers.s_server(directory, name_of("relay, s_server"), value)
    stack.callback(program.close)
    for title, server in (("relay, httpd", responder), ("relay, s_server", program)):
        host, port = server.address()
        sources[title] = Source(name_of(title), f"AcmeAlpnUpstream {host}:{port} timeout=8s", value)
    return sources


def times(httpd: Httpd, source: Source, count: int) -> list[float]:
    """Milliseconds of each handshake, all of which have to be right."""
    with Load(httpd.address(), [(source.name, source.value)], count=count, records=True) as load:
        summary = load.wait()
        if summary.right != count:
            raise RuntimeError(f"{count} handshakes for {source.name} had to be right: {summary}")
        return [(shake.end - shake.begin) * 1000 for shake in load.records()]


def measure(directory: Path, authority: Authority, rounds: int, handshakes: int) -> list[dict[str, Any]]:
    """One row for each source: all latencies, and for each round how far its median is from the spool's."""
    with ExitStack() as stack:
        httpd = servers.httpd(authority)
        stack.callback(httpd.close)
        sources = all_sources(stack, directory, authority)
        for source in sources.values():
            httpd.vhost(source.name, credentials=[authority.issue(source.name)], lines=[source.directive])
        httpd.start().spool.publish(sources[SPOOL].name, sources[SPOOL].value)
        rows: dict[str, dict[str, Any]] = {title: {"source": title, "ms": [], "more": []} for title in sources}
        for number in range(rounds + 1):
            found = {title: times(httpd, source, handshakes) for title, source in sources.items()}
            for title, row in rows.items() if number > 0 else ():  # the first is for warming up
                row["ms"] += found[title]
                row["more"].append(statistics.median(found[title]) - statistics.median(found[SPOOL]))
    for row in rows.values():
        row["latency_ms"], row["more_ms"] = spread(row["ms"]), spread(row["more"])
    return list(rows.values())


def table(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["| Latency of a challenge, ms (quartiles) | | more than from the spool |", "|---|---|---|"]
    return lines + [f"| {row['source']} | {figure(row['latency_ms'])} | {figure(row['more_ms'])} |" for row in rows]
