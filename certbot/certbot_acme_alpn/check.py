# SPDX-License-Identifier: Apache-2.0
"""Handshakes before the CA's: a failed validation would count against the CA's rate limits."""
import contextlib
import itertools
import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Dict, List, Optional, Sequence, Tuple

from certbot import errors

from certbot_acme_alpn import certificate, error_log, handshake
from certbot_acme_alpn.addresses import Address
from certbot_acme_alpn.problem import Problem
from certbot_acme_alpn.spool import Entry

logger = logging.getLogger(__name__)

# Seconds for all handshakes together: NFS and rsync bring an entry to httpd with a delay.
WAIT = 10.0
INTERVAL = 0.25

# Threads for each address: a silent address must not delay the others.
WORKERS = 16

# How many names to show, of all that failed in the same way.
SHOWN = 5

Pair = Tuple[Address, Entry]


def verify(entries: Sequence[Entry], place: str, addresses: Sequence[Address], wait: float
           ) -> None:
    """Retry until every address answers correctly for every entry, or raise PluginError."""
    deadline = time.monotonic() + wait
    pairs = list(itertools.product(addresses, entries))
    failed = [(pair, str(problem)) for pair, problem in problems(pairs, deadline) if problem]
    if failed:
        raise errors.PluginError(
            "The CA was not asked to validate, because httpd failed the plugin's own check "
            f"of the challenges in {place} (retried for {wait:g} seconds):\n"
            + "\n".join(_report(failed))
            + f"\nTo see what httpd logged: {error_log.search_command()}")


def problems(pairs: Sequence[Pair], deadline: float, once: bool = False
             ) -> List[Tuple[Pair, Optional[Problem]]]:
    """Each pair's problem at the deadline, or after one try; None for a correct answer."""
    interrupted = threading.Event()
    if once:
        interrupted.set()
    tries: "List[Tuple[Pair, Future[Optional[Problem]]]]" = []
    with contextlib.ExitStack() as pools:
        try:
            for _, group in itertools.groupby(pairs, lambda pair: pair[0]):
                pool = pools.enter_context(ThreadPoolExecutor(WORKERS))
                for pair in group:
                    tries.append((pair, pool.submit(_problem, pair, deadline, interrupted)))
            for _, each in tries:
                each.result()
        except BaseException:  # certbot and Python turn signals into exceptions
            interrupted.set()
            for _, each in tries:
                each.cancel()
            raise
    return [(pair, each.result()) for pair, each in tries]


def _problem(pair: Pair, deadline: float, interrupted: threading.Event) -> Optional[Problem]:
    """The problem at the deadline, or None as soon as the answer is correct."""
    address, entry = pair
    while True:
        try:
            der = handshake.served_certificate(address, entry.identifier.server_name, deadline)
            certificate.verify(der, entry)
            return None
        except Problem as error:
            logger.debug("%s at %s: %s", entry.identifier.text, address, error)
            if time.monotonic() + INTERVAL >= deadline or interrupted.wait(INTERVAL):
                return error


def _report(failed: Sequence[Tuple[Pair, str]]) -> List[str]:
    """One line for all names that fail at one address for the same reason."""
    names: Dict[Tuple[Address, str], List[str]] = {}
    for (address, entry), problem in failed:
        names.setdefault((address, problem), []).append(entry.identifier.text)
    return [f"- {_some(group)} at {address}: {problem}."
            for (address, problem), group in names.items()]


def _some(names: Sequence[str]) -> str:
    hidden = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {hidden} more" if hidden > 0 else "")
