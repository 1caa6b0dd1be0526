"""Servers on free loopback ports that answer a ClientHello in all the ways that a check can meet."""
import contextlib
import socket
import socketserver
import ssl
import threading
from typing import Callable, Iterator, Optional

from OpenSSL import SSL

from certbot_acme_alpn.addresses import Address
from challenge_certificates import Issued, context, issue, pem_file

Answer = Callable[[socket.socket], None]

NO_APPLICATION_PROTOCOL = b"\x15\x03\x03\x00\x02\x02\x78"
INTERNAL_ERROR = b"\x15\x03\x03\x00\x02\x02\x50"


@contextlib.contextmanager
def serving(answer: Answer, host: str = "127.0.0.1", port: int = 0) -> Iterator[Address]:
    """Run answer(connection) for each connection, in a thread of its own."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            answer(self.request)

    class Server(socketserver.ThreadingTCPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        request_queue_size = 64

    with Server((host, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield Address(host, server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def tls(context_for: Callable[[str], Optional[ssl.SSLContext]]) -> Answer:
    """Serve acme-tls/1 with the context for the SNI; without one, alert unrecognized_name."""

    def choose(connection: ssl.SSLObject, name: str, _: ssl.SSLContext) -> Optional[int]:
        chosen = context_for(name)
        if chosen is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = chosen
        return None

    base = context(issue(["base.example"], None))
    base.sni_callback = choose
    return handshaking(base)


def handshaking(server_context: ssl.SSLContext) -> Answer:
    """Serve as it says, for one handshake."""

    def answer(connection: socket.socket) -> None:
        # The client may well hang up or send an alert: the test looks at what the client says.
        with contextlib.suppress(OSError):
            with server_context.wrap_socket(connection, server_side=True) as tls_connection:
                tls_connection.recv(1)
    return answer


def choosing(protocol: bytes, issued: Issued) -> Answer:
    """A TLS server that chooses a protocol whether it was offered or not, as httpd does."""
    server_context = SSL.Context(SSL.TLS_METHOD)
    with pem_file(issued) as file:
        server_context.use_certificate_file(file)
        server_context.use_privatekey_file(file)
    server_context.set_alpn_select_callback(lambda connection, offered: protocol)

    def answer(connection: socket.socket) -> None:
        server = SSL.Connection(server_context, connection)
        server.set_accept_state()
        with contextlib.suppress(SSL.Error):
            server.do_handshake()
            server.recv(1)
    return answer


def sending(data: bytes) -> Answer:
    """Read the ClientHello, send the bytes, and hang up in an orderly way."""

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            silent(connection)
    return answer


def silent(connection: socket.socket) -> None:
    """Say nothing until the client hangs up."""
    with contextlib.suppress(ConnectionError):
        while connection.recv(65536):
            pass


@contextlib.contextmanager
def refusing() -> Iterator[Address]:
    """An address where nothing listens, and nothing else can."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield Address(*bound.getsockname())


@contextlib.contextmanager
def dropping() -> Iterator[Address]:
    """An address that answers no SYN: its queue of connections is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield Address(*listener.getsockname())
