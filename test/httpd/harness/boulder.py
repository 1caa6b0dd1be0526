"""Let's Encrypt's words: type and detail of what its validation server, Boulder, reports (va/tlsalpn.go, va/va.go)."""

from __future__ import annotations

import re
import socket
import ssl

from . import client
from .checker import PROTOCOL, SUBJECT_ALT_NAME, WrongAnswer, check_certificate

CONNECT = 10.0
HANDSHAKE = 10.0

ALERTS = {
    40: "handshake failure",
    70: "protocol version not supported",
    80: "internal error",
    client.NO_APPLICATION_PROTOCOL: "no application protocol",
}

# By the check of the checker that fails.
CERTIFICATES = {
    "issuer": "Received certificate which is not self-signed.",
    "signature": "Received certificate which is not self-signed.",
    "extensions": "Received certificate with unexpected extensions:",
    "repeated-extension": "Received certificate with unexpected extensions:",
    "san": "Received certificate with unexpected identifiers",
    "critical": "Received certificate with acmeValidationV1 extension that is not Critical.",
    "malformed": "Received certificate with malformed acmeValidationV1 extension value.",
    "digest": "Received certificate with acmeValidationV1 extension value",
    "absent": "Received certificate with no acmeValidationV1 extension.",
}

Verdict = tuple[str, str]


def validate(address: client.Address, name: str, digest: bytes, using: ssl.SSLContext | None = None) -> Verdict:
    """What the CA says of the failure. (A success fails the test that asks.)"""
    try:
        connection = socket.create_connection(address, CONNECT)
    except socket.timeout:
        return "connection", "Timeout during connect (likely firewall problem)"
    except ConnectionRefusedError:
        if ":" in address[0]:
            return "malformed", "no IPv4 addresses to try as fallback"
        return "connection", "Connection refused"
    except OSError:
        return "connection", "Network unreachable"
    with connection:
        connection.settimeout(HANDSHAKE)
        try:
            answer = client.handshake_over(connection, name, using or client.context())
        except socket.timeout:
            return "connection", "Timeout after connect (your server may be slow or overloaded)"
    return judge(answer, name, digest)


def judge(answer: client.Answer, name: str, digest: bytes) -> Verdict:
    return _failure(answer) or _unauthorized(answer, name, digest)


def _failure(answer: client.Answer) -> Verdict | None:
    error = answer.error.lower().replace("_", " ")
    if answer.alert is not None:
        return "tls", f"remote error: tls: {ALERTS[answer.alert]}"
    if "reset by peer" in error:
        return "connection", "Connection reset by peer"
    if "wrong version number" in error:
        return "malformed", "Server only speaks HTTP, not TLS"
    return ("connection", "Error getting validation data") if error else None


def _unauthorized(answer: client.Answer, name: str, digest: bytes) -> Verdict:
    if answer.alpn != PROTOCOL:
        return "unauthorized", f'Cannot negotiate ALPN protocol "{PROTOCOL}" for tls-alpn-01 challenge'
    if not answer.chain:
        return "unauthorized", "No certs presented for tls-alpn-01 challenge"
    try:
        check_certificate(answer.leaf, name, digest)
    except WrongAnswer as wrong:
        fault = CERTIFICATES[_kind(wrong)]
        return "unauthorized", f"Incorrect validation certificate for tls-alpn-01 challenge. {fault}"
    raise AssertionError("the CA finds nothing wrong")


def _kind(wrong: WrongAnswer) -> str:
    if str(wrong) == f"extensions: {SUBJECT_ALT_NAME}":
        return "absent"
    is_whole = re.match(r"digest: [0-9a-f]{68} instead", str(wrong))
    return "malformed" if wrong.check == "digest" and not is_whole else wrong.check
