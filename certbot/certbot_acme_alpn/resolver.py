# SPDX-License-Identifier: Apache-2.0
"""Host names, resolved within a time: with silent name servers getaddrinfo alone takes 30 s."""
import concurrent.futures
import socket
import threading
from typing import Any, List, Tuple

Found = Tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


def resolve(host: str, port: int, seconds: float) -> List[Found]:
    """What getaddrinfo returns, or its OSError."""
    answer: "concurrent.futures.Future[List[Found]]" = concurrent.futures.Future()

    def ask() -> None:
        try:
            answer.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:  # pylint: disable=broad-except
            answer.set_exception(error)

    # Not a pool's thread, for which Python would wait when certbot ends.
    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.result(seconds)
    except concurrent.futures.TimeoutError as error:
        raise socket.gaierror(
            socket.EAI_AGAIN, "the name servers did not answer in time") from error
