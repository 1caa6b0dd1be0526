"""ClientHellos that no TLS library would send, and the handshakes that come of them.

scapy's TLS does the cryptography, so a handshake that begins with such a hello goes on to its end: the
transcript that both sides sign for is the one that went over the wire.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from scapy.layers.tls import handshake as scapy_handshake  # type: ignore[import]
from scapy.layers.tls.extensions import (
    ServerName, TLS_Ext_ServerName, TLS_Ext_SignatureAlgorithms, TLS_Ext_SupportedGroups, TLS_Ext_SupportedVersion_CH,
    TLS_Ext_Unknown,
)
from scapy.layers.tls.handshake import (
    TLS13Certificate, TLS13CertificateRequest, TLS13ClientHello, TLS13HelloRetryRequest, TLSCertificate,
    TLSCertificateRequest, TLSClientHello, TLSClientKeyExchange, TLSEncryptedExtensions, TLSFinished, TLSServerHello,
    TLSServerHelloDone,
)
from scapy.layers.tls.keyexchange_tls13 import KeyShareEntry, TLS_Ext_KeyShare_CH  # type: ignore[import]
from scapy.layers.tls.record import TLS, TLSAlert, TLSApplicationData, TLSChangeCipherSpec  # type: ignore[import]
from scapy.layers.tls.record_tls13 import TLS13, TLSInnerPlaintext  # type: ignore[import]
from scapy.layers.tls.session import tlsSession, writeConnState  # type: ignore[import]
from scapy.packet import Packet  # type: ignore[import]

from . import poll
from .client import TIMEOUT, Address, Answer, certificates

# RFC 8446 section 4.2 and its registries
ALPN, SIGNATURE_ALGORITHMS_CERT, KEY_SHARE = 16, 50, 51
P256, P384, X25519 = 23, 24, 29
X25519MLKEM768 = 0x11EC
ECDSA_SHA256, ECDSA_SHA384, RSA_PSS_SHA256, RSA_SHA256 = 0x0403, 0x0503, 0x0804, 0x0401
TLS_1_3_CIPHERS = (0x1301, 0x1302)
ECDHE_ECDSA, ECDHE_RSA, DHE_RSA = 0xC02B, 0xC02F, 0x009E  # with AES-128-GCM
TLS_1_2_CIPHERS = (ECDHE_ECDSA, ECDHE_RSA)
CERTIFICATE = 11
LARGEST_RECORD = 16384


@dataclass
class Unparsed:
    """What scapy keeps of a server's certificate: to parse one takes it longer than all else in a handshake, and
    what it finds of the certificate and its signature it would only log. Those are the checker's, and OpenSSL's."""

    der: bytes

    def verify(self, *_: object, **__: object) -> bool:
        return True


scapy_handshake.Cert = Unparsed


def protocol_list(*protocols: bytes) -> bytes:
    """The content of an ALPN extension (RFC 7301 section 3.1)."""
    return prefixed(b"".join(bytes([len(protocol)]) + protocol for protocol in protocols))


def prefixed(data: bytes) -> bytes:
    """A vector of TLS, with its length in two bytes."""
    return struct.pack("!H", len(data)) + data


@dataclass(frozen=True)
class Hello:
    """One ClientHello. `alpn` is the extension's content, right or wrong, or None for no extension."""

    name: bytes | None
    alpn: bytes | None = protocol_list(b"acme-tls/1")
    version: str = "1.3"
    groups: tuple[int, ...] = (X25519, P256, P384)
    # The groups with a key share, and shares of groups that nobody here can compute with.
    shares: tuple[int, ...] = (X25519,)
    foreign_shares: tuple[tuple[int, bytes], ...] = ()
    algorithms: tuple[int, ...] = (ECDSA_SHA256, RSA_PSS_SHA256, RSA_SHA256, ECDSA_SHA384)
    # Of TLS 1.2. Groups and algorithms, too, have no extension where there are none.
    ciphers: tuple[int, ...] = TLS_1_2_CIPHERS
    # Other extensions, after those above: (type, content)
    extra: tuple[tuple[int, bytes], ...] = ()

    def message(self) -> Packet:
        if self.version == "1.3":
            extensions = [*self._common(), *self._of_1_3(), *self._extra()]
            return TLS13ClientHello(ciphers=list(TLS_1_3_CIPHERS), ext=extensions)
        return TLSClientHello(ciphers=list(self.ciphers), ext=[*self._common(), *self._extra()])

    def _common(self) -> Iterable[Packet]:
        if self.name is not None:
            yield TLS_Ext_ServerName(servernames=[ServerName(servername=self.name)])
        if self.alpn is not None:
            yield TLS_Ext_Unknown(type=ALPN, val=self.alpn)
        if self.groups:
            yield TLS_Ext_SupportedGroups(groups=list(self.groups))
        if self.algorithms:
            yield TLS_Ext_SignatureAlgorithms(sig_algs=list(self.algorithms))

    def _of_1_3(self) -> Iterable[Packet]:
        foreign = [KeyShareEntry(group=group, key_exchange=value) for group, value in self.foreign_shares]
        yield TLS_Ext_SupportedVersion_CH(versions=[0x0304])
        yield TLS_Ext_KeyShare_CH(client_shares=[*foreign, *(KeyShareEntry(group=group) for group in self.shares)])

    def _extra(self) -> Iterable[Packet]:
        return (TLS_Ext_Unknown(type=kind, val=value) for kind, value in self.extra)


@dataclass
class HelloAnswer(Answer):
    """With what a library's client does not tell."""

    retried: bool = False
    certificate_requested: bool = False


class WentAway(Exception):
    """The client has sent as much as it was to send."""


@dataclass
class Wire:
    """How bytes go out: in which TCP segments, and how many before the client goes away.

    A client that goes away closes its side and waits for the server's (`reset`: does neither).
    """

    segment: int = LARGEST_RECORD
    most: int | None = None
    reset: bool = False
    # Where each record that was sent ended, counted from the first byte.
    ends: list[int] = field(default_factory=list)
    sent: int = 0

    def send(self, connection: socket.socket, data: bytes) -> None:
        self._note_ends(data)
        allowed = data if self.most is None else data[: max(0, self.most - self.sent)]
        for at in range(0, len(allowed), self.segment):
            connection.sendall(allowed[at : at + self.segment])
        self.sent += len(allowed)
        if len(allowed) < len(data):
            raise WentAway

    def _note_ends(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            at += 5 + int.from_bytes(data[at + 3 : at + 5], "big")
            self.ends.append(self.sent + at)

    def leave(self, connection: socket.socket) -> None:
        if self.reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while connection.recv(65536):
                pass


def shake(
    address: Address,
    first: Hello,
    second: Hello | None = None,
    *,
    record: int = LARGEST_RECORD,
    wire: Wire | None = None,
    send: bytes = b"",
) -> HelloAnswer:
    """One handshake. `second` is the hello after a HelloRetryRequest (with the key share asked for), and
    `record` the most that one TLS record of a hello holds. What is in `send` follows the handshake; then
    everything is read."""
    wire = wire or Wire()
    with socket.create_connection(address, TIMEOUT * poll.FACTOR) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = _Client(connection, wire, second, record, send)
        try:
            client.run(first)
        except WentAway:
            client.answer.error = "went away"
            wire.leave(connection)
    return client.answer


class _Client:
    """One side of one handshake: what comes in is handed to the method for its type."""

    def __init__(self, connection: socket.socket, wire: Wire, second: Hello | None, record: int, send: bytes) -> None:
        self.answer = HelloAnswer()
        self._connection = connection
        self._wire = wire
        self._second = second
        self._record = record
        self._send = send
        self._done = False
        self._session = tlsSession(connection_end="client")
        self._handlers: dict[type, Callable[[Packet], None]] = {
            TLSAlert: self._on_alert,
            TLSApplicationData: self._on_data,
            TLS13HelloRetryRequest: self._on_retry,
            TLSServerHello: self._on_server_hello,
            TLSEncryptedExtensions: self._on_extensions,
            TLSCertificateRequest: self._on_certificate_request,
            TLS13CertificateRequest: self._on_certificate_request,
            TLSServerHelloDone: self._on_hello_done,
            TLSFinished: self._on_finished,
        }

    def run(self, first: Hello) -> None:
        """To the end of the connection, whoever ends it and however."""
        self._send_hello(first)
        while received := self._receive():
            for message in self._messages(received):
                for kind, handler in self._handlers.items():
                    if isinstance(message, kind):
                        handler(message)
        if not self._done and self.answer.alert is None:
            self.answer.error = "the server closed before the handshake was over"

    # Out

    def _send_hello(self, hello: Hello) -> None:
        packed = TLS(version=0x0301, msg=[hello.message()], tls_session=self._session).raw_stateful()
        content = packed[5:]
        records = (content[at : at + self._record] for at in range(0, len(content), self._record))
        framed = (struct.pack("!BHH", 22, 0x0301, len(part)) + part for part in records)
        self._transmit(b"".join(framed))

    def _transmit(self, data: bytes) -> None:
        """A server that has closed may have said why; that is still to be read."""
        with suppress(ConnectionError):
            self._wire.send(self._connection, data)

    def _transmit_last(self) -> None:
        if self._send:
            self._transmit(self._protected(TLSApplicationData(data=self._send)))
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def _protected(self, message: Packet) -> bytes:
        """A record of the kind that the negotiated version wants."""
        if not self._is_1_3():
            return bytes(TLS(version=0x0303, tls_session=self._session, msg=[message]).raw_stateful())
        kind = 23 if isinstance(message, TLSApplicationData) else 22
        inner = TLSInnerPlaintext(type=kind, msg=[message])
        return bytes(TLS13(tls_session=self._session, inner=inner).raw_stateful())

    def _is_1_3(self) -> bool:
        return bool(self._session.tls_version == 0x0304)

    # In

    def _receive(self) -> bytes:
        """One record, or nothing at the end."""
        header = self._exactly(5)
        return header and header + self._exactly(int.from_bytes(header[3:], "big"))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                chunk = self._connection.recv(size - len(data))
            except ConnectionResetError:
                return b""
            if not chunk:
                return b""
            data += chunk
        return data

    def _messages(self, received: bytes) -> Iterable[Packet]:
        packet = TLS(received, tls_session=self._session)
        return list(packet.inner.msg if isinstance(packet, TLS13) else packet.msg)

    def _on_alert(self, alert: Packet) -> None:
        fatal = 2
        if alert.level == fatal:
            self.answer.alert = alert.descr

    def _on_data(self, data: Packet) -> None:
        self.answer.data += data.data

    def _on_retry(self, request: Packet) -> None:
        self.answer.retried = True
        if self._second is None:
            raise WentAway
        (wanted,) = (extension.selected_group for extension in request.ext if extension.type == KEY_SHARE)
        # scapy would take the first hello's private keys for the second's.
        self._session.tls13_client_privshares.clear()
        self._send_hello(replace(self._second, shares=(wanted,)))

    def _on_server_hello(self, hello: Packet) -> None:
        self.answer.version = "TLSv1.3" if self._is_1_3() else "TLSv1.2"
        self._on_extensions(hello)

    def _on_extensions(self, message: Packet) -> None:
        for extension in message.ext or ():
            if extension.type == ALPN:
                self.answer.alpn = extension.protocols[0].protocol.decode()

    def _on_certificate_request(self, _: Packet) -> None:
        self.answer.certificate_requested = True

    def _on_hello_done(self, _: Packet) -> None:
        """TLS 1.2: the client's flight."""
        self._take_chain()
        empty = [TLSCertificate(certs=[])] if self.answer.certificate_requested else []
        flight = (*empty, TLSClientKeyExchange(), TLSChangeCipherSpec(), TLSFinished())
        self._transmit(b"".join(map(self._protected, flight)))

    def _on_finished(self, _: Packet) -> None:
        if self._is_1_3():
            self._take_chain()
            self._finish_1_3()
        self._done = True
        self._transmit_last()

    def _finish_1_3(self) -> None:
        """TLS 1.3: the client's flight, in the handshake keys that scapy leaves to its automaton."""
        session = self._session
        session.wcs = writeConnState(
            ciphersuite=type(session.rcs.ciphersuite), connection_end="client", tls_version=0x0304
        )
        session.wcs.tls13_derive_keys(session.tls13_derived_secrets["client_handshake_traffic_secret"])
        session.pwcs = None
        empty = [TLS13Certificate(certs=[])] if self.answer.certificate_requested else []
        self._transmit(b"".join(map(self._protected, (*empty, TLSFinished()))))

    def _take_chain(self) -> None:
        sent = [message for message in self._session.handshake_messages if message[0] == CERTIFICATE]
        self.answer.chain = certificates(sent[0][4:], self._is_1_3()) if sent else ()
