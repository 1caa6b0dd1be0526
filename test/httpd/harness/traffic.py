"""Ordinary HTTPS requests that go on while something else happens, of which none may fail."""

from __future__ import annotations

import threading
from pathlib import Path

from .client import Address, https_get
from .fault import ServerFault
from .server import PAGE

# A bound for the case that nobody stops it.
MOST_REQUESTS = 100_000


class WrongResponse(ServerFault):
    """An ordinary request failed, or was not answered with the page."""


class Traffic:
    """One client that makes request after request, each on a connection of its own, until it is stopped.

    `pause` is the time between two requests, which leaves the processor to what else goes on.
    """

    def __init__(self, address: Address, name: str, trust: Path, pause: float = 0) -> None:
        self._pause = pause
        self._target = (address, name, trust)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.succeeded = 0
        self.failures: list[str] = []

    def _run(self) -> None:
        while not self._over.wait(self._pause) and self.succeeded + len(self.failures) < MOST_REQUESTS:
            try:
                response = https_get(*self._target)
                if (response.status, response.body) != (200, PAGE.encode()):
                    raise WrongResponse(f"status {response.status}, {len(response.body)} bytes")
                self.succeeded += 1
            except Exception as error:  # whatever it is, nobody else would hear of it
                self.failures.append(repr(error))

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def assert_unharmed(self) -> None:
        if self.failures:
            raise WrongResponse(f"{len(self.failures)} ordinary requests failed: {self.failures[:3]}")
        assert self.succeeded, "no ordinary request was made"
