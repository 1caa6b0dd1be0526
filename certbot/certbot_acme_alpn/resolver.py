# SPDX-License-Identifier: Apache-2.0
"""Resolve host names with a time-out: getaddrinfo waits 30 s for silent name servers."""
import concurrent.futures
import socket
import threading
import time
from typing import Any, List, Tuple

Found = Tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


def resolve_as_a_ca(name: str, port: int, seconds: float) -> List[Found]:
    """Ignore the search list of resolv.conf: with a wildcard there any name has an address."""
    deadline = time.monotonic() + seconds
    try:
        return resolve(f"{name}.", port, seconds)
    except OSError:
        # Only without the dot getaddrinfo reads /etc/hosts. It may then find a longer name.
        found = resolve(name, port, deadline - time.monotonic(), socket.AI_CANONNAME)
        if found[0][3].lower() != name:
            raise
        return found


def resolve(host: str, port: int, seconds: float, flags: int = 0) -> List[Found]:
    """Return what getaddrinfo returns, or raise its OSError."""
    answer: "concurrent.futures.Future[List[Found]]" = concurrent.futures.Future()

    def ask() -> None:
        try:
            answer.set_result(
                socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags))
        except Exception as error:  # pylint: disable=broad-except
            answer.set_exception(error)

    # A daemon thread: when certbot ends, Python would wait for the thread of a pool.
    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.result(seconds)
    except concurrent.futures.TimeoutError as error:
        raise socket.gaierror(
            socket.EAI_AGAIN, "the name servers did not answer in time") from error
