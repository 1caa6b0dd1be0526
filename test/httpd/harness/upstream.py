"""Another acme-tls/1 responder, which answers as a test tells it to: rightly, wrongly or never."""

from __future__ import annotations

import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from . import poll
from .checker import ACME_IDENTIFIER, PROTOCOL
from .load import compile_program
from .pki import common_name, general_name, make_key, unsigned
from .server import REPOSITORY, Httpd

# What a connection is given: the accepted socket, which is closed afterwards.
Behaviour = Callable[[socket.socket], None]

# Ciphers of TLS 1.2 that need no certificate.
ANONYMOUS = "AECDH:@SECLEVEL=0"

# What gives a host's addresses to a server.
ADDRESSES = REPOSITORY / "test" / "httpd" / "observer" / "addresses.c"

# A state in /proc/net/tcp, and how often that is read for one answer.
ESTABLISHED = "01"
READINGS = 3

# How long `slowly` takes.
SLOW = 0.3

# A bound on what a connection that is held takes, for the case that nobody closes it.
HELD = 120.0


def certificate(
    names: Iterable[str],
    digest: bytes,
    *,
    critical: bool = True,
    value: bytes | None = None,
    repeated: bool = False,
    issuer: str = "upstream",
    kind: str = "p256",
) -> bytes:
    """A challenge certificate and its key as PEM; with these flaws, if any."""
    key = make_key(kind)
    subject = common_name("upstream")
    oid = x509.ObjectIdentifier(ACME_IDENTIFIER)
    content = b"\x04\x20" + digest if value is None else value
    builder = (
        unsigned(subject, common_name(issuer), key)
        .add_extension(x509.SubjectAlternativeName(map(general_name, names)), critical=False)
        .add_extension(x509.UnrecognizedExtension(oid, content), critical=critical)
    )
    if repeated:
        # The library refuses a second one, so it gets there under another number of the same length.
        other = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.32")
        builder = builder.add_extension(x509.UnrecognizedExtension(other, content), critical=critical)
        builder._extensions[-1]._oid = oid  # type: ignore[attr-defined]
        builder._extensions[-1].value._oid = oid  # type: ignore[attr-defined]
    made = builder.sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def serve(pem: bytes, *, protocols: Iterable[str] = (PROTOCOL,), version: ssl.TLSVersion | None = None) -> Behaviour:
    """A handshake with this certificate, and then the end."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "certificate.pem"
        path.write_bytes(pem)
        context.load_cert_chain(path)
    context.set_alpn_protocols(list(protocols))
    if version:
        context.minimum_version = context.maximum_version = version
    return _handshake(context)


def anonymous() -> Behaviour:
    """A handshake without any certificate, for a client that takes that (see ANONYMOUS)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ANONYMOUS)
    context.set_alpn_protocols([PROTOCOL])
    return _handshake(context)


def _handshake(context: ssl.SSLContext) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(1)

    return behave


def alert(number: int) -> Behaviour:
    """A fatal alert of TLS in answer to the ClientHello."""
    return say(b"\x15\x03\x03\x00\x02\x02" + bytes([number]))


def say(text: bytes) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(text)

    return behave


def close(connection: socket.socket) -> None:
    connection.recv(65536)


def held(until: threading.Event, behaviour: Behaviour = close) -> Behaviour:
    """What it does once a test says so."""

    def behave(connection: socket.socket) -> None:
        until.wait(HELD)
        behaviour(connection)

    return behave


def slowly(behaviour: Behaviour) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        poll.let_pass(SLOW)
        behaviour(connection)

    return behave


def by_name(behaviours: dict[str, Behaviour]) -> Behaviour:
    """That of the one whose name is in the ClientHello."""

    def behave(connection: socket.socket) -> None:
        hello = connection.recv(65536, socket.MSG_PEEK)
        # The longest first: one may be the beginning of another.
        name = next(name for name in sorted(behaviours, key=len, reverse=True) if name.encode() in hello)
        behaviours[name](connection)

    return behave


def reset(connection: socket.socket) -> None:
    """An RST in place of an orderly end."""
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def give_addresses(httpd: Httpd, host: str, *addresses: str) -> Path:
    """For this server the host has these addresses, in this order. Returns the file to change them in."""
    file = httpd.root / "addresses"
    file.write_text(",".join(addresses))
    file.chmod(0o644)
    httpd.preloaded.append(compile_program(ADDRESSES, "-shared", "-fPIC"))
    httpd.environment.update(ACME_ALPN_HOST=host, ACME_ALPN_ADDRESSES=str(file))
    return file


@contextmanager
def swallowing(address: tuple[str, int]) -> Iterator[None]:
    """Whoever connects there waits for ever: nobody accepts, and no more fit in the backlog."""
    with ExitStack() as stack:
        stack.enter_context(socket.create_server(address, backlog=0))
        for _ in range(4):
            stack.enter_context(client := socket.socket()).setblocking(False)
            client.connect_ex(address)
        yield


class Upstream:
    """Listens on loopback; each connection gets the behaviour of the moment, on a thread of its own."""

    def __init__(self, behaviour: Behaviour | None = None, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.behaviour = behaviour or self.hang
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._listener = socket.create_server(address, family=family, backlog=512)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __str__(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    def asked_now(self) -> int:
        """How many connections the other side has open. (What this side knows of their ends comes late.)

        The kernel's table changes while it is read, so one reading may show what went and what came in its place;
        whoever is there too long is in every one.
        """
        return min(self._established() for _ in range(READINGS))

    def _established(self) -> int:
        remote = f":{self.address[1]:04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(row[2].endswith(remote) and row[3] == ESTABLISHED for row in rows)

    def hang(self, connection: socket.socket) -> None:
        """Never a word, until the other side goes away."""
        connection.settimeout(HELD)
        while connection.recv(65536):
            pass

    def drip(self, connection: socket.socket) -> None:
        """A record that is announced and comes byte by byte."""
        connection.sendall(b"\x16\x03\x03\x40\x00")
        while not self._over.wait(0.05):
            connection.sendall(b"\x02")

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self.open += 1
                self.most_open = max(self.most_open, self.open)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                self.behaviour(connection)
        except OSError:
            pass  # the other side went away, as it may
        finally:
            with self._lock:
                self.open -= 1

    def __enter__(self) -> Upstream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        # close() alone would leave accept() waiting.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
