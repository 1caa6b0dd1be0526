"""What a server says to an ordinary client, message by message, so that two servers can be compared."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass, field

from . import poll
from .client import TIMEOUT, Address, context

# Of RFC 8446, sections 5.1 and 4, and RFC 5246, section 7.4.
ALERT, HANDSHAKE = 21, 22
HELLO_REQUEST, NEW_SESSION_TICKET, CERTIFICATE_REQUEST = (f"message {kind}" for kind in (0, 4, 13))


@dataclass
class Conversation:
    """One connection as the client saw it."""

    messages: list[str] = field(default_factory=list)
    alpn: str | None = None
    version: str = ""
    cipher: str = ""
    resumed: bool = False
    leaf: bytes = b""
    error: str = ""
    response: bytes = b""
    session: ssl.SSLSession | None = field(default=None, compare=False)

    @property
    def outcome(self) -> str:
        """The response's status or, where there was none, the server's alert, the client's error, or what TLS came to."""
        if self.response:
            return self.response.split(b"\r\n")[0].decode().split(" ")[1]
        alerts = [message for message in self.messages if message.startswith("alert fatal")]
        return alerts[-1] if alerts else self.error or f"{self.version} {self.alpn}"


def converse(
    address: Address,
    name: str | None,
    request: bytes = b"",
    *,
    using: ssl.SSLContext | None = None,
    session: ssl.SSLSession | None = None,
) -> Conversation:
    """A TLS connection with one request or several."""
    heard = Conversation()
    tls_context = using or context(("http/1.1",))
    tls_context._msg_callback = _recorder(heard.messages)  # type: ignore[attr-defined]
    with socket.create_connection(address, TIMEOUT * poll.FACTOR) as connection:
        try:
            with tls_context.wrap_socket(connection, server_hostname=name, session=session) as tls:
                _negotiated(tls, heard)
                if request:
                    tls.sendall(request)
                    heard.response = _comparable(_read(tls))
                    heard.session = tls.session
        except OSError as error:
            heard.error = str(error)
    return heard


def converse_in_clear(address: Address, request: bytes) -> bytes:
    """The response to a request without TLS."""
    with socket.create_connection(address, TIMEOUT * poll.FACTOR) as connection:
        connection.sendall(request)
        return _comparable(_read(connection))


def get(host: str, path: str = "/index.html", *headers: str, method: str = "GET", close: bool = True) -> bytes:
    """One HTTP/1.1 request."""
    closing = ("Connection: close",) if close else ()
    lines = (f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, *closing, "", "")
    return "\r\n".join(lines).encode()


def _negotiated(tls: ssl.SSLSocket, heard: Conversation) -> None:
    heard.alpn = tls.selected_alpn_protocol()
    heard.version = tls.version() or ""
    heard.cipher = (tls.cipher() or ("",))[0]
    heard.resumed = bool(tls.session_reused)
    heard.leaf = tls.getpeercert(binary_form=True) or b""
    heard.session = tls.session


def _read(connection: socket.socket) -> bytes:
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def _comparable(response: bytes) -> bytes:
    """Without the date, and with the methods in Allow in order: httpd takes that of a hash with a random seed."""
    undated = re.sub(rb"\r\nDate: [^\r]*", b"", response)
    return re.sub(rb"(?<=\r\nAllow: )[^\r]*", lambda found: b",".join(sorted(found[0].split(b","))), undated)


def _recorder(messages: list[str]) -> object:
    """The type of each message, and the level and number of each alert."""

    def callback(_: object, direction: str, __: object, content_type: int, ___: object, data: bytes) -> None:
        if direction == "read" and content_type == ALERT:
            messages.append(f"alert {'fatal' if data[0] == 2 else 'warning'} {data[1]}")
        elif direction == "read" and content_type == HANDSHAKE:
            messages.append(f"message {data[0]}")

    return callback
