# SPDX-License-Identifier: Apache-2.0
"""Host names, resolved within a time: with silent name servers getaddrinfo alone takes 30 s."""
import concurrent.futures
import socket
import threading
import time
from typing import Any, List, Tuple

Found = Tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


def resolve_as_a_ca(name: str, port: int, seconds: float) -> List[Found]:
    """Without the search list of resolv.conf, whose wildcard would give any name an address."""
    deadline = time.monotonic() + seconds
    try:
        return resolve(f"{name}.", port, seconds)
    except OSError:
        # With the dot /etc/hosts does not count; without it a longer name may be what was found.
        found = resolve(name, port, deadline - time.monotonic(), socket.AI_CANONNAME)
        if found[0][3].lower() != name:
            raise
        return found


def resolve(host: str, port: int, seconds: float, flags: int = 0) -> List[Found]:
    """What getaddrinfo returns, or its OSError."""
    answer: "concurrent.futures.Future[List[Found]]" = concurrent.futures.Future()

    def ask() -> None:
        try:
            answer.set_result(
                socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags))
        except Exception as error:  # pylint: disable=broad-except
            answer.set_exception(error)

    # Not a pool's thread, for which Python would wait when certbot ends.
    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.result(seconds)
    except concurrent.futures.TimeoutError as error:
        raise socket.gaierror(
            socket.EAI_AGAIN, "the name servers did not answer in time") from error
