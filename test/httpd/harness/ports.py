"""Ports for the servers that tests start, which bind them only some time after they were chosen."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from functools import lru_cache
from itertools import cycle, islice, repeat
from pathlib import Path

# Below those that the system gives to clients, any of which could have one by the time a server wants it; and in
# slices, of which each process of the tests has its own.
FIRST, SLICE = 10_000, 1024
CLIENTS = Path("/proc/sys/net/ipv4/ip_local_port_range")

# What tells the other processes that a slice is taken: abstract sockets, which belong to the network as ports do
# and go with the process.
_claims: list[socket.socket] = []


def choose(host: str = "127.0.0.1", kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A free port, which this process has not chosen for a long time and no other one chooses."""
    for port in islice(_own(), SLICE):
        found = _bind(host, port, kind)
        if found:
            return found
    raise OSError(f"no port is free at {host}")


def _bind(host: str, port: int, kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return 0
        return int(probe.getsockname()[1])


@lru_cache(maxsize=None)
def _own() -> Iterator[int]:
    """Where the system leaves no slice, what it gives."""
    end = int(CLIENTS.read_text().split()[0])
    starts = range(FIRST, end - SLICE + 1, SLICE)
    for start in random.sample(starts, len(starts)):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0acme-alpn-test-ports-{start}")
        except OSError:
            claim.close()
        else:
            _claims.append(claim)
            return cycle(range(start, start + SLICE))
    return repeat(0)
