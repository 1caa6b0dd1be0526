"""What a server says on the wire to an ordinary client, message by message, so that two servers can be compared.

Randoms, key shares, signatures and tickets are different each time; what is chosen, how many there
are, and everything else is kept.
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from . import poll
from .client import TIMEOUT, Address, context

ALERT, HANDSHAKE = 21, 22
CONTENT_TYPES = {20: "change_cipher_spec", ALERT: "alert", HANDSHAKE: "handshake"}

HELLO_REQUEST, SERVER_HELLO, NEW_SESSION_TICKET, CERTIFICATE = 0, 2, 4, 11
SERVER_KEY_EXCHANGE, CERTIFICATE_REQUEST, CERTIFICATE_VERIFY, FINISHED = 12, 13, 15, 20

KEY_SHARE, RENEGOTIATION_INFO = 51, 0xFF01


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


# Messages


def _recorder(messages: list[str]) -> object:
    def callback(_: object, direction: str, __: object, content_type: int, ___: object, data: bytes) -> None:
        if direction == "read" and content_type in CONTENT_TYPES:
            messages.append(_describe(content_type, data))

    return callback


def _describe(content_type: int, data: bytes) -> str:
    if content_type == ALERT:
        return f"alert {'fatal' if data[0] == 2 else 'warning'} {data[1]}"
    if content_type != HANDSHAKE:
        return CONTENT_TYPES[content_type]
    kind, body = data[0], data[4:]
    details = _DETAILS.get(kind)
    return f"message {kind} {details(body) if details else body.hex()}"


def _server_hello(body: bytes) -> str:
    """Version, length of the session id, cipher, and all extensions."""
    end_of_id = 35 + body[34]
    cipher = body[end_of_id : end_of_id + 2].hex()
    return f"{body[:2].hex()} id={body[34]} {cipher} " + " ".join(_extensions(body[end_of_id + 5 :]))


def _extensions(data: bytes) -> Iterable[str]:
    while data:
        kind, length = struct.unpack("!HH", data[:4])
        value = data[4 : 4 + length]
        data = data[4 + length :]
        if kind == KEY_SHARE:
            value = value[:2]
        elif kind == RENEGOTIATION_INFO:
            value = value[:1]
        yield f"{kind}={value.hex()}"


def _signed_key_exchange(body: bytes) -> str:
    """Curve and signature algorithm (RFC 8422 section 5.4); a DH group is as long as it is."""
    named_curve = 3
    if body[0] != named_curve:
        return "dh"
    after_key = 4 + body[3]
    return f"{body[:3].hex()} {body[after_key : after_key + 2].hex()}"


def _certificate_request(body: bytes) -> str:
    """In TLS 1.3 post-handshake authentication it begins with 32 random bytes (RFC 8446 section 4.3.2)."""
    context_length = 32
    return (body[1 + context_length :] if body[0] == context_length else body).hex()


_DETAILS: dict[int, Callable[[bytes], str]] = {
    CERTIFICATE_REQUEST: _certificate_request,
    SERVER_HELLO: _server_hello,
    SERVER_KEY_EXCHANGE: _signed_key_exchange,
    CERTIFICATE_VERIFY: lambda body: body[:2].hex(),
    FINISHED: lambda body: "",
    NEW_SESSION_TICKET: lambda body: f"lifetime={int.from_bytes(body[:4], 'big')}",
}


def messages_of(kind: int, messages: Sequence[str]) -> list[str]:
    """Those of one handshake message type."""
    return [message for message in messages if message.startswith(f"message {kind} ")]
