"""Handshakes for challenges at a fixed rate, whether or not the server keeps up with it."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time

from . import client
from .client import Address
from .pki import Authority
from .server import Httpd
from .upstream import Upstream

SITE = "site.test"
# The server has these, and the upstream is asked for them.
CONFIGURED = tuple(f"configured{number}.test" for number in range(20))
# A name of this vhost is asked for nowhere else.
ALONE = "alone.test"

TIMEOUT = 10.0
# What may be under way at once; beyond that the rate falls.
MOST = 400


def server(httpd: Httpd, authority: Authority, upstream: Upstream) -> Httpd:
    """One whose upstream is asked for any name, but for what ends in the vhost ALONE."""
    httpd.log.allow("AALPN0102")
    directive = f"AcmeAlpnUpstream {upstream} timeout=1s any-name"
    httpd.vhost(SITE, *CONFIGURED, credentials=[authority.issue(SITE)], lines=[directive])
    httpd.vhost(ALONE, credentials=[authority.issue(ALONE)])
    return httpd.start()


class Storm:
    """Random names, configured ones, or (not `relayed`) one that no upstream is asked for."""

    def __init__(self, address: Address, rate: int, names: str = "random", *, relayed: bool = True) -> None:
        self._address = address
        self._rate = rate
        numbers = itertools.count()
        if not relayed:
            self._names = iter(lambda: ALONE, "")
        elif names == "configured":
            self._names = itertools.cycle(CONFIGURED)
        else:
            self._names = (f"random{number}.test" for number in numbers)
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._context = client.context()
        self.done = 0
        self.seconds = 0.0

    @property
    def per_second(self) -> float:
        return self.done / self.seconds if self.seconds else 0.0

    async def _run(self) -> None:
        begin = time.monotonic()
        running: set[asyncio.Task[None]] = set()
        started = 0
        while not self._over.is_set():
            due = int((time.monotonic() - begin) * self._rate) - started
            for _ in range(min(due, MOST - len(running))):
                task = asyncio.ensure_future(self._shake(next(self._names)))
                running.add(task)
                task.add_done_callback(running.discard)
            started += max(due, 0)
            await asyncio.sleep(0.005)
        self.seconds = time.monotonic() - begin
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _shake(self, name: str) -> None:
        """It ends with an alert; a challenge would be a mistake that others look for."""
        opening = asyncio.open_connection(*self._address, ssl=self._context, server_hostname=name)
        try:
            _, writer = await asyncio.wait_for(opening, TIMEOUT)
            writer.close()
        except (OSError, asyncio.TimeoutError):
            pass
        self.done += 1

    def __enter__(self) -> Storm:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(TIMEOUT)
