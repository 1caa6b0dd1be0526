"""The handshakes before the CA's, against servers that are right, wrong, late or silent."""
import contextlib
import itertools
import signal
import socket
import ssl
import threading
import time

import pytest
from certbot import errors

from certbot_acme_alpn import check, identifier
from certbot_acme_alpn.addresses import Address
from certbot_acme_alpn.spool import Entry
from challenge_certificates import (
    KEY_AUTHORIZATION, OTHER_KEY_AUTHORIZATION, context, issue, value_for)
from loopback_servers import (
    INTERNAL_ERROR, NO_APPLICATION_PROTOCOL, choosing, dropping, handshaking, refusing, sending,
    serving, silent, tls)


def entries_of(*names: str) -> list:
    return [Entry(identifier.parse(name), KEY_AUTHORIZATION) for name in names]


def contexts_of(entries: list) -> dict:
    """The right ones, by server name."""
    return {entry.identifier.server_name: context(issue([entry.identifier.text]))
            for entry in entries}


ENTRIES = entries_of("a.example", "b.example", "192.0.2.1", "2001:db8::1")
RIGHT = contexts_of(ENTRIES)
MANY = entries_of(*(f"n{number}.example" for number in range(50)))


def failure(*addresses: Address, entries=ENTRIES[:1], wait: float = 1.0) -> str:
    with pytest.raises(errors.PluginError) as raised:
        check.verify(entries, "/the/spool", addresses, wait)
    assert "of the challenges in /the/spool" in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_right_answers(host: str) -> None:
    with serving(tls(RIGHT.get), host) as address:
        check.verify(ENTRIES, "/the/spool", [address], 10)
    check.verify(ENTRIES, "/the/spool", [], 10)


def test_tls_1_2() -> None:
    old = context(issue(["a.example"]))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(tls({"a.example": old}.get)) as address:
        check.verify(ENTRIES[:1], "/the/spool", [address], 10)


def test_one_address_of_two_fails() -> None:
    with serving(tls(RIGHT.get)) as right, refusing() as wrong:
        text = failure(right, wrong, entries=ENTRIES[:2])
    assert f"- a.example, b.example at {wrong}: nothing listens there" in text
    assert str(right) not in text


def test_one_name_of_two_fails() -> None:
    other = context(issue(["b.example"], value_for(OTHER_KEY_AUTHORIZATION)))
    with serving(tls({**RIGHT, "b.example": other}.get)) as address:
        text = failure(address, entries=ENTRIES[:2])
    assert f"- b.example at {address}: the certificate served is for another key" in text
    assert "a.example" not in text


def test_an_answer_that_becomes_right_in_time() -> None:
    attempts = itertools.count(1)
    right, wrong = tls(RIGHT.get), sending(NO_APPLICATION_PROTOCOL)
    with serving(lambda c: (right if next(attempts) > 2 else wrong)(c)) as address:
        check.verify(ENTRIES[:1], "/the/spool", [address], 10)
    assert next(attempts) == 4


@pytest.mark.parametrize("answer, expected", [
    (sending(NO_APPLICATION_PROTOCOL),
     "httpd refused acme-tls/1 (TLS alert no_application_protocol)"),
    (choosing(b"http/1.1", issue(["a.example"])), "the server did not choose acme-tls/1"),
    (handshaking(context(issue(["a.example"]), protocols=())),
     "the server did not choose acme-tls/1"),
    (tls({"a.example": context(issue(["a.example"], None))}.get),
     "the server sent an ordinary certificate over acme-tls/1"),
    (tls({}.get), "the TLS handshake failed (TLSV1_UNRECOGNIZED_NAME)"),
    (sending(INTERNAL_ERROR), "the TLS handshake failed (TLSV1_ALERT_INTERNAL_ERROR)"),
    (sending(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "the server there does not speak TLS"),
    (sending(b""), "the server closed the connection during the TLS handshake"),
    (lambda connection: None, "the server closed the connection during the TLS handshake"),
    (silent, "the server accepted the connection, but the TLS handshake timed out"),
])
def test_failures(answer, expected: str) -> None:
    before = time.monotonic()
    with serving(answer) as address:
        text = failure(address)
    first, line, log = text.split("\n")
    assert first.startswith("The CA was not asked to validate") and "for 1 seconds" in first
    assert line.startswith(f"- a.example at {address}: {expected}")
    assert "grep " in log and "AALPN" in log
    assert time.monotonic() - before < 30


@pytest.mark.parametrize("server, expected", [
    (refusing(), "nothing listens there (connection refused)"),
    (dropping(), "connecting timed out, as if a firewall dropped it"),
    # Longer than any name in the DNS: refused by the resolver itself, no server is asked.
    (contextlib.nullcontext(Address(".".join(["a" * 63] * 5), 443)),
     "the host name cannot be resolved"),
])
def test_no_connection(server, expected: str) -> None:
    with server as address:
        text = failure(address, entries=MANY)
    assert f"n3.example, n4.example and 45 more at {address}: {expected}" in text
    assert "TLS vhosts with --acme-alpn-check HOST:PORT" in text


def resolving_to(*addresses: Address):
    """socket.getaddrinfo, where a host name stands for all of these."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address.host, address.port))
             for address in addresses]
    return lambda host, port, **_: found


def test_next_address_of_a_host_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with dropping() as one, refusing() as other, serving(tls(RIGHT.get)) as right:
        monkeypatch.setattr(socket, "getaddrinfo", resolving_to(one, other, right))
        check.verify(ENTRIES[:1], "/the/spool", [Address("many.example", 443)], 6.0)


def test_addresses_of_a_host_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    before = time.monotonic()
    with dropping() as address:
        monkeypatch.setattr(socket, "getaddrinfo", resolving_to(*[address] * 40))
        assert "connecting timed out" in failure(Address("many.example", 443))
    # Not a second each.
    assert time.monotonic() - before < 30


def test_an_address_that_comes_last_holds_up_no_other() -> None:
    """One that says nothing until all names are right at the other, and is right then."""
    contexts, seen, done = contexts_of(MANY), set(), threading.Event()

    def first(name: str) -> ssl.SSLContext:
        seen.add(name)
        if len(seen) == len(MANY):
            done.set()
        return contexts[name]

    def last(connection: socket.socket) -> None:
        done.wait(120)
        tls(contexts.get)(connection)

    with serving(last) as late, serving(tls(first)) as early:
        check.verify(MANY, "/the/spool", [late, early], 120)


def test_an_interruption_is_obeyed() -> None:
    def interrupt(*_: object) -> None:
        raise InterruptedError

    previous = signal.signal(signal.SIGALRM, interrupt)
    before = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with refusing() as address, pytest.raises(InterruptedError):
            check.verify(ENTRIES, "/the/spool", [address], 60)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert time.monotonic() - before < 30
