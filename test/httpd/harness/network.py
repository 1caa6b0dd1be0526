"""A network of its own for one test, in which this machine has any addresses, and all of their ports are free."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from . import ports

_CLONE_NEWNET = 0x40000000  # of sched.h


@contextmanager
def private_network(*addresses: str) -> Iterator[None]:
    """For this thread and for what it starts meanwhile."""
    ports.choose()  # its claim has to be known outside
    library = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net", "rb") as outside:
        if library.unshare(_CLONE_NEWNET) != 0:
            pytest.skip(f"no network of its own: {os.strerror(ctypes.get_errno())}")
        try:
            lines = ["link set lo up", *(f"address add {address} dev lo" for address in addresses)]
            subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)
            yield
        finally:
            assert library.setns(outside.fileno(), _CLONE_NEWNET) == 0


def with_hosts(file: Path, lines: str) -> list[str]:
    """The beginning of a command that has this /etc/hosts."""
    file.write_text(lines)
    return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(file)]
