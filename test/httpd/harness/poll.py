"""The one place that waits: everything else polls a condition with a deadline."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Between two looks, in seconds: short at first, and then longer, since who looks takes time from what it waits for.
FIRST, GROWTH, LONGEST = 0.01, 1.2, 0.05

# For what ends at an event, however busy the machine is: it costs time only where the event does not come.
DEADLINE = 120.0

# Instrumented servers (valgrind, sanitizers) are slower by a known factor.
FACTOR = float(os.environ.get("ACME_ALPN_TIMEOUT_FACTOR", "1"))


def let_pass(seconds: float) -> None:
    """For what lasts as long by httpd's own clock, and ends with nothing to be seen."""
    time.sleep(seconds)


def until(condition: Callable[[], T], timeout: float, what: str) -> T:
    """Return the first true value of `condition`; TimeoutError naming `what` after `timeout` seconds."""
    limit = timeout * FACTOR
    deadline = time.monotonic() + limit
    interval = FIRST
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise TimeoutError(f"{what}: not within {limit:g} s")
        time.sleep(interval)
        interval = min(interval * GROWTH, LONGEST)
