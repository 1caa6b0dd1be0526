"""A TLS 1.2 client that offers ALPN in a renegotiation, after a first handshake without it.

OpenSSL's client leaves ALPN out of the second ClientHello; GnuTLS sends what was set meanwhile.
Debian has its library on every machine, and for Python there is no binding.
"""

from __future__ import annotations

import ctypes
import socket
from dataclasses import dataclass, field
from pathlib import Path

from . import poll
from .client import TIMEOUT, Address

CLIENT = 1 << 1
ALLOW_ID_CHANGE = 1 << 7
NAME_DNS = 1
CREDENTIALS_CERTIFICATE = 1
FORMAT_PEM = 1
WARNING_ALERT_RECEIVED = -16
REHANDSHAKE = -37
CLIENT_HELLO = 1
HOOK_POST = 1
PRIORITIES = b"NORMAL:-VERS-ALL:+VERS-TLS1.2:%NO_TICKETS"


class Datum(ctypes.Structure):
    """gnutls_datum_t"""

    _fields_ = [("data", ctypes.POINTER(ctypes.c_ubyte)), ("size", ctypes.c_uint)]

    @classmethod
    def of(cls, data: bytes) -> Datum:
        buffer = (ctypes.c_ubyte * len(data)).from_buffer_copy(data)
        return cls(ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ubyte)), len(data))

    def copy(self) -> bytes:
        return ctypes.string_at(self.data, self.size)


Hook = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.POINTER(Datum)
)


@dataclass
class Renegotiated:
    """What the client sent and saw in each handshake, and what httpd sent after them."""

    hellos: list[bytes] = field(default_factory=list)
    certificates: list[bytes] = field(default_factory=list)
    response: bytes = b""
    error: str = ""


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libgnutls.so.30")
    library.gnutls_certificate_get_peers.restype = ctypes.POINTER(Datum)
    library.gnutls_strerror.restype = ctypes.c_char_p
    library.gnutls_record_recv.restype = ctypes.c_ssize_t
    library.gnutls_record_send.restype = ctypes.c_ssize_t
    return library


class _Session:
    def __init__(self, connection: socket.socket, name: str, client: tuple[Path, Path] | None) -> None:
        self._lib = _library()
        self.hellos: list[bytes] = []
        self._hook = Hook(self._on_client_hello)
        self._credentials = ctypes.c_void_p()
        self.handle = ctypes.c_void_p()
        self._must(self._lib.gnutls_certificate_allocate_credentials(ctypes.byref(self._credentials)))
        if client:
            certificate, key = (str(path).encode() for path in client)
            self._must(
                self._lib.gnutls_certificate_set_x509_key_file(self._credentials, certificate, key, FORMAT_PEM)
            )
        self._must(self._lib.gnutls_init(ctypes.byref(self.handle), CLIENT | ALLOW_ID_CHANGE))
        self._must(self._lib.gnutls_priority_set_direct(self.handle, PRIORITIES, None))
        self._must(self._lib.gnutls_server_name_set(self.handle, NAME_DNS, name.encode(), len(name)))
        self._must(self._lib.gnutls_credentials_set(self.handle, CREDENTIALS_CERTIFICATE, self._credentials))
        self._lib.gnutls_handshake_set_hook_function(self.handle, CLIENT_HELLO, HOOK_POST, self._hook)
        self._lib.gnutls_transport_set_int2(self.handle, connection.fileno(), connection.fileno())
        self._lib.gnutls_handshake_set_timeout(self.handle, int(TIMEOUT * poll.FACTOR * 1000))

    def _on_client_hello(self, _: object, __: int, ___: int, ____: int, message: ctypes._Pointer[Datum]) -> int:
        self.hellos.append(message[0].copy())
        return 0

    def close(self) -> None:
        self._lib.gnutls_deinit(self.handle)
        self._lib.gnutls_certificate_free_credentials(self._credentials)

    def _must(self, result: int) -> int:
        if result < 0:
            raise OSError(f"GnuTLS: {self._lib.gnutls_strerror(result).decode()}")
        return result

    def offer(self, protocol: str) -> None:
        """Send this ALPN from now on. To be called once: GnuTLS would add an empty one to a second."""
        offered = Datum.of(protocol.encode())
        self._must(self._lib.gnutls_alpn_set_protocols(self.handle, ctypes.byref(offered), 1, 0))

    def handshake(self) -> bytes:
        """Handshake (again) and return the server's certificate."""
        while True:
            result = self._lib.gnutls_handshake(self.handle)
            if result != WARNING_ALERT_RECEIVED:
                break
        self._must(result)
        count = ctypes.c_uint()
        peers: ctypes._Pointer[Datum] = self._lib.gnutls_certificate_get_peers(self.handle, ctypes.byref(count))
        certificate: Datum | None = peers[0] if count.value else None
        return certificate.copy() if certificate else b""

    def send(self, data: bytes) -> None:
        self._must(self._lib.gnutls_record_send(self.handle, data, len(data)))

    def receive(self) -> bytes | None:
        """Some data, nothing at its end, or None when the server asks for a renegotiation."""
        buffer = ctypes.create_string_buffer(65536)
        result = self._lib.gnutls_record_recv(self.handle, buffer, len(buffer))
        return None if result == REHANDSHAKE else buffer.raw[: self._must(result)]


def alpn_extension(protocol: str) -> bytes:
    """The whole extension of one protocol (RFC 7301, section 3.1)."""
    name = bytes([len(protocol)]) + protocol.encode()
    names = len(name).to_bytes(2, "big") + name
    return b"\x00\x10" + len(names).to_bytes(2, "big") + names


def renegotiate(
    address: Address,
    name: str,
    path: str,
    *,
    second: str = "acme-tls/1",
    client: tuple[Path, Path] | None = None,
) -> Renegotiated:
    """Ask for `path`, and follow the renegotiation that httpd starts, with ALPN `second`."""
    seen = Renegotiated()
    with socket.create_connection(address) as connection:
        session = _Session(connection, name, client)
        seen.hellos = session.hellos
        try:
            seen.certificates.append(session.handshake())
            session.send(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            while (data := session.receive()) != b"":
                if data is None:
                    session.offer(second)
                    seen.certificates.append(session.handshake())
                else:
                    seen.response += data
        except OSError as error:
            seen.error = str(error)
        finally:
            session.close()
    offers = [alpn_extension(second) in hello for hello in seen.hellos]
    if offers != [False, True]:
        raise AssertionError(f"{second} was not offered in the second ClientHello alone: {offers}")
    return seen
