"""Kill children of a server, and know which connections die with them."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import poll
from .load import Handshake
from .server import Httpd, is_stopped

# How far the client's clock readings may lie from the kill that it notices.
NOTICED_WITHIN = 1.0


@dataclass(frozen=True)
class Kill:
    pid: int
    time: float
    ports: frozenset[int]

    def explains(self, handshake: Handshake) -> bool:
        begin, end = handshake.begin - NOTICED_WITHIN, handshake.end + NOTICED_WITHIN
        return handshake.port in self.ports and begin <= self.time <= end


class Killer:
    """A thread that kills one child of the server in each period, by SIGKILL, until it is stopped."""

    def __init__(self, httpd: Httpd, period: float) -> None:
        self._httpd = httpd
        self._period = period
        self._over = threading.Event()
        self._executor = ThreadPoolExecutor(max_workers=1)
        self._running: Future[None] | None = None
        self.kills: list[Kill] = []

    def _run(self) -> None:
        due = time.monotonic() + self._period
        while not self._over.wait(max(0, due - time.monotonic())):
            due += self._period
            killed = kill_child(self._httpd)
            if killed:
                self.kills.append(killed)

    def __enter__(self) -> Killer:
        self._running = self._executor.submit(self._run)
        return self

    def __exit__(self, *_: object) -> None:
        """Raises what went wrong in the thread."""
        self._over.set()
        self._executor.shutdown()
        if self._running:
            self._running.result()


def kill_child(httpd: Httpd) -> Kill | None:
    """Kill one child, stopped before so that it accepts no connection that is not in the list.

    None if there is no child, or if the one that was chosen went by itself at the same time.
    """
    children = sorted(httpd.children())
    if not children:
        return None
    pid = random.choice(children)
    try:
        os.kill(pid, signal.SIGSTOP)
        poll.until(lambda: is_stopped(pid), poll.DEADLINE, f"child {pid} stops")
        killed = Kill(pid, time.monotonic(), frozenset(_client_ports(pid)))
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, FileNotFoundError):
        return None
    httpd.log.allow(pattern=rf"AH00052: child pid {pid} exit signal Killed \(9\)")
    return killed


def _client_ports(pid: int) -> set[int]:
    """The clients' ports of all IPv4 connections that the process has."""
    links = [os.readlink(descriptor) for descriptor in Path(f"/proc/{pid}/fd").iterdir()]
    own = {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(fields[2].split(":")[1], 16) for fields in sockets if fields[9] in own}
