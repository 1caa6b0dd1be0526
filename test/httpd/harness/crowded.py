"""A listener that lets nobody in: its queue is full, so that a connection to it is begun and never made."""

from __future__ import annotations

import socket
from pathlib import Path

from . import poll

# More than the shortest queue holds.
CROWD = 4

# A state in /proc/net/tcp.
SYN_SENT = "02"


class Crowded:
    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self._crowd = [socket.socket() for _ in range(CROWD)]
        self.address: tuple[str, int] = self._listener.getsockname()

    def __str__(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    def waiting(self) -> int:
        """How many connections are begun and not made."""
        remote = f":{self.address[1]:04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(row[2].endswith(remote) and row[3] == SYN_SENT for row in rows)

    def __enter__(self) -> Crowded:
        for connection in self._crowd:
            connection.setblocking(False)
            connection.connect_ex(self.address)
        poll.until(self.waiting, poll.DEADLINE, "the listener's queue is full")
        return self

    def __exit__(self, *_: object) -> None:
        for connection in (*self._crowd, self._listener):
            connection.close()
