"""TLS clients that report what the server did, and never judge it."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from . import poll

Address = tuple[str, int]

ACME = ("acme-tls/1",)
# Of each step of a connection, all of which end at an event.
TIMEOUT = 60.0
# Alerts (RFC 8446 section 6).
HANDSHAKE_FAILURE, PROTOCOL_VERSION, INTERNAL_ERROR = 40, 70, 80
CERTIFICATE_REQUIRED, NO_APPLICATION_PROTOCOL = 116, 120

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass
class Answer:
    """What one handshake brought: the certificates served, or the fatal alert received."""

    alpn: str | None = None
    chain: tuple[bytes, ...] = ()
    version: str = ""
    cipher: str = ""
    resumed: bool = False
    alert: int | None = None
    error: str = ""
    session: ssl.SSLSession | None = None
    data: bytes = b""

    @property
    def leaf(self) -> bytes:
        return self.chain[0] if self.chain else b""


class NotOffered(ssl.SSLError):
    """The server chose a protocol that the client did not offer."""


class _Context(ssl.SSLContext):
    """Sends any ASCII server name as it is, so that the server's own rules are what is tested.

    Takes only a protocol that it offered, as OpenSSL's client does by itself from 3.0 on.
    """

    offered: tuple[str, ...] = ()

    def _encode_hostname(self, hostname: str | None) -> str | None:
        return hostname

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        self.offered = tuple(alpn_protocols)
        super().set_alpn_protocols(self.offered)

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        tls = super().wrap_socket(*arguments, **options)
        chosen = tls.selected_alpn_protocol()
        if chosen is not None and chosen not in self.offered:
            tls.close()
            raise NotOffered(f"bad extension: the server chose {chosen}")
        return tls


def context(
    alpn: Sequence[str] = ACME,
    version: str | None = None,
    *,
    ciphers: str | None = None,
    client: tuple[Path, Path] | None = None,
) -> ssl.SSLContext:
    """A context that accepts every certificate (the checker judges it), as a CA's validator does."""
    made = _Context(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if alpn:
        made.set_alpn_protocols(list(alpn))
    if version:
        made.minimum_version = made.maximum_version = VERSIONS[version]
    if ciphers:
        made.set_ciphers(ciphers)
    if client:
        made.load_cert_chain(*client)
    return made


def handshake(
    address: Address,
    name: str | None,
    *,
    alpn: Sequence[str] = ACME,
    version: str | None = None,
    using: ssl.SSLContext | None = None,
    session: ssl.SSLSession | None = None,
    send: bytes = b"",
    source: str | None = None,
) -> Answer:
    """One handshake with Python's own TLS. With `send`, also what the server said to that."""
    bind = (source, 0) if source else None
    with socket.create_connection(address, TIMEOUT * poll.FACTOR, bind) as connection:
        return handshake_over(connection, name, using or context(alpn, version), session, send)


def handshake_over(
    connection: socket.socket,
    name: str | None,
    using: ssl.SSLContext,
    session: ssl.SSLSession | None = None,
    send: bytes = b"",
) -> Answer:
    """The same on a connection that is there; its time-out is one of the handshake."""
    answer = Answer()
    _record_messages(using, answer)
    try:
        with using.wrap_socket(connection, server_hostname=name, session=session) as tls:
            _record(tls, answer)
            if send:
                _exchange(tls, send, answer)
                # TLS 1.3 tickets come after the handshake.
                answer.session = tls.session
    except NotOffered as error:
        answer.chain, answer.error = (), str(error)
    except (ssl.SSLError, ConnectionError) as error:
        answer.error = str(error)
    return answer


def _record(tls: ssl.SSLSocket, answer: Answer) -> None:
    answer.alpn = tls.selected_alpn_protocol()
    answer.version = tls.version() or ""
    answer.cipher = (tls.cipher() or ("",))[0]
    answer.resumed = bool(tls.session_reused)
    answer.session = tls.session


def _record_messages(tls_context: ssl.SSLContext, answer: Answer) -> None:
    """Note what Python does not tell: the number of each alert received, and the chain (before 3.13)."""

    def callback(_: object, direction: str, version: int, content_type: int, message: int, data: bytes) -> None:
        warning_close_notify = b"\x01\x00"
        if direction != "read":
            return
        if content_type == 21 and data != warning_close_notify:
            answer.alert = data[1]
        elif content_type == 22 and message == 11:
            answer.chain = certificates(data[4:], version == ssl.TLSVersion.TLSv1_3)

    tls_context._msg_callback = callback  # type: ignore[attr-defined]


def certificates(body: bytes, tls13: bool) -> tuple[bytes, ...]:
    """What a Certificate message holds: RFC 5246, section 7.4.2, or RFC 8446, section 4.4.2."""
    if tls13:
        body = body[1 + body[0] :]
    rest, found = body[3:], []
    while rest:
        certificate, rest = _split(rest, 3)
        found.append(certificate)
        if tls13:
            _, rest = _split(rest, 2)
    return tuple(found)


def _split(data: bytes, width: int) -> tuple[bytes, bytes]:
    """A vector with a length of `width` bytes, and what follows it."""
    end = width + int.from_bytes(data[:width], "big")
    return data[width:end], data[end:]


def _exchange(tls: ssl.SSLSocket, send: bytes, answer: Answer) -> None:
    """What the server says up to its close; a time-out is an error of the server's. One that has closed a connection
    for a challenge resets it when more comes."""
    try:
        tls.sendall(send)
        while chunk := tls.recv(65536):
            answer.data += chunk
    except ConnectionError:
        if (answer.alpn,) != ACME:
            raise


def s_client(address: Address, name: str | None, *options: str, alpn: Sequence[str] = ACME, send: str = "") -> Answer:
    """One handshake with `openssl s_client`, which can choose groups, signature algorithms and more."""
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    server_name = ["-servername", name] if name is not None else ["-noservername"]
    command = ["openssl", "s_client", "-connect", f"{host}:{address[1]}", "-showcerts", *server_name]
    if alpn:
        command += ["-alpn", ",".join(alpn)]
    done = subprocess.run(
        [*command, *options],
        input=send.encode(),
        capture_output=True,
        timeout=TIMEOUT * poll.FACTOR,
        check=False,
    )
    return _parse_s_client(done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def groups() -> str:
    """The names of TLS 1.3's groups that this OpenSSL has, or nothing where it is too old to tell."""
    command = ["openssl", "list", "-tls1_3", "-tls-groups"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _parse_s_client(output: str, errors: str) -> Answer:
    def first(pattern: str, text: str = output) -> str:
        found = re.search(pattern, text, re.MULTILINE)
        return found[1] if found else ""

    alert = first(r"SSL alert number (\d+)", errors)
    blocks = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", output, re.DOTALL)
    # After the chain, s_client prints the server's certificate alone once more.
    served = output.split("\nServer certificate\n")[0].count("-----BEGIN CERTIFICATE-----")
    return Answer(
        alpn=first(r"^ALPN protocol: (.*)$") or None,
        chain=tuple(map(_pem_to_der, blocks[:served])),
        version=first(r"^(?:New|Reused), (TLSv[\d.]+), Cipher"),
        cipher=first(r"^(?:New|Reused), TLSv[\d.]+, Cipher is (\S+)$"),
        resumed=bool(first(r"^(Reused), ")),
        alert=int(alert) if alert else None,
        error=first(r"^[0-9A-F]+:(error:.*)$", errors),
    )


def _pem_to_der(pem: str) -> bytes:
    return x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)


@dataclass(frozen=True)
class Response:
    """An ordinary HTTPS request's response, with the certificate that came with it."""

    status: int
    body: bytes
    certificate: bytes


def https_get(address: Address, name: str, trust: Path, path: str = "/index.html") -> Response:
    """An ordinary request that verifies the server as a browser would."""
    verifying = ssl.create_default_context(cafile=str(trust))
    with socket.create_connection(address, TIMEOUT * poll.FACTOR) as connection:
        with verifying.wrap_socket(connection, server_hostname=name) as tls:
            # The response closes the connection, after which it is not known any more.
            certificate = tls.getpeercert(binary_form=True) or b""
            request = http.client.HTTPConnection(name)
            request.sock = tls
            request.request("GET", path, headers={"Connection": "close"})
            response = request.getresponse()
            return Response(response.status, response.read(), certificate)
