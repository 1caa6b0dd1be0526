"""A TLS 1.2 client that offers ALPN in a renegotiation, after a first handshake without it.

OpenSSL's client leaves ALPN out of the second ClientHello; GnuTLS sends what was set meanwhile.
Debian has its library on every machine, and for Python there is no binding.
"""

from __future__ import annotations

import socket
from ctypes import CDLL, CFUNCTYPE, POINTER, Structure, addressof, byref, create_string_buffer, string_at
from ctypes import c_char_p, c_int, c_ssize_t, c_uint, c_void_p
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import poll
from .client import TIMEOUT, Address
from .wire import get

# Of gnutls.h
CLIENT, ALLOW_ID_CHANGE = 1 << 1, 1 << 7
NAME_DNS, CREDENTIALS_CERTIFICATE, FORMAT_PEM, HOOK_POST, CLIENT_HELLO = 1, 1, 1, 1, 1
WARNING_ALERT_RECEIVED, REHANDSHAKE = -16, -37
PRIORITIES = b"NORMAL:-VERS-ALL:+VERS-TLS1.2:%NO_TICKETS"


class Datum(Structure):
    """gnutls_datum_t"""

    _fields_ = [("data", c_void_p), ("size", c_uint)]

    def copy(self) -> bytes:
        return string_at(self.data, self.size)


Hook = CFUNCTYPE(c_int, c_void_p, c_uint, c_uint, c_uint, POINTER(Datum))


@dataclass
class Renegotiated:
    """What the client sent and saw in each handshake, and what httpd sent after them."""

    hellos: list[bytes] = field(default_factory=list)
    certificates: list[bytes] = field(default_factory=list)
    response: bytes = b""
    error: str = ""


class _Session:
    """Each function of the library that fails raises OSError."""

    def __init__(self, connection: socket.socket, name: str, client: tuple[Path, Path] | None) -> None:
        self._lib = CDLL("libgnutls.so.30")
        self._lib.gnutls_certificate_get_peers.restype = POINTER(Datum)
        self._lib.gnutls_strerror.restype = c_char_p
        self._lib.gnutls_record_recv.restype = self._lib.gnutls_record_send.restype = c_ssize_t
        self.hellos: list[bytes] = []
        self._hook = Hook(lambda _, __, ___, ____, message: self.hellos.append(message[0].copy()) or 0)
        self._credentials, self.handle = c_void_p(), c_void_p()
        self._call("certificate_allocate_credentials", byref(self._credentials))
        if client:
            files = (str(path).encode() for path in client)
            self._call("certificate_set_x509_key_file", self._credentials, *files, FORMAT_PEM)
        self._call("init", byref(self.handle), CLIENT | ALLOW_ID_CHANGE)
        self._call("priority_set_direct", self.handle, PRIORITIES, None)
        self._call("server_name_set", self.handle, NAME_DNS, name.encode(), len(name))
        self._call("credentials_set", self.handle, CREDENTIALS_CERTIFICATE, self._credentials)
        self._lib.gnutls_handshake_set_hook_function(self.handle, CLIENT_HELLO, HOOK_POST, self._hook)
        self._lib.gnutls_transport_set_int2(self.handle, connection.fileno(), connection.fileno())
        self._lib.gnutls_handshake_set_timeout(self.handle, int(TIMEOUT * poll.FACTOR * 1000))

    def close(self) -> None:
        self._lib.gnutls_deinit(self.handle)
        self._lib.gnutls_certificate_free_credentials(self._credentials)

    def _call(self, function: str, *arguments: Any, allowed: int = 0) -> int:
        result = int(getattr(self._lib, f"gnutls_{function}")(*arguments))
        if result < 0 and result != allowed:
            raise OSError(f"GnuTLS: {self._lib.gnutls_strerror(result).decode()}")
        return result

    def offer(self, protocol: str) -> None:
        """Send this ALPN from now on. To be called once: GnuTLS would add an empty one to a second."""
        name = create_string_buffer(protocol.encode())
        offered = Datum(addressof(name), len(protocol))
        self._call("alpn_set_protocols", self.handle, byref(offered), 1, 0)

    def handshake(self) -> bytes:
        """Handshake (again) and return the server's certificate."""
        while self._call("handshake", self.handle, allowed=WARNING_ALERT_RECEIVED) < 0:
            pass
        count = c_uint()
        peers = self._lib.gnutls_certificate_get_peers(self.handle, byref(count))
        return bytes(peers[0].copy()) if count.value else b""

    def send(self, data: bytes) -> None:
        self._call("record_send", self.handle, data, len(data))

    def receive(self) -> bytes | None:
        """Some data, nothing at its end, or None when the server asks for a renegotiation."""
        buffer = create_string_buffer(65536)
        result = self._call("record_recv", self.handle, buffer, len(buffer), allowed=REHANDSHAKE)
        return None if result == REHANDSHAKE else buffer.raw[:result]


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
            session.send(get(name, path))
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
    offers = [second.encode() in hello for hello in seen.hellos]
    if offers != [False, True]:
        raise AssertionError(f"{second} was not offered in the second ClientHello alone: {offers}")
    return seen
