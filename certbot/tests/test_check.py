"""The handshakes before the CA's, against servers that are right, wrong, late or silent."""
import itertools
import pathlib
import signal
import socket
import ssl
import threading
import time
from typing import Optional

import pytest
from certbot import errors

from certbot_acme_alpn import check, identifier
from certbot_acme_alpn.addresses import Address
from certbot_acme_alpn.spool import Entry
from challenge_certificates import (
    KEY_AUTHORIZATION, OTHER_KEY_AUTHORIZATION, common_name, context, issue, value_for)
from loopback_servers import (
    INTERNAL_ERROR, NO_APPLICATION_PROTOCOL, choosing, dropping, refusing, sending, serving,
    silent, tls, without_alpn)

NAMES = ["a.example", "b.example", "192.0.2.1", "2001:db8::1"]
ENTRIES = [Entry(identifier.parse(name), KEY_AUTHORIZATION) for name in NAMES]
RIGHT = {entry.identifier.server_name: context(issue([entry.identifier.text]))
         for entry in ENTRIES}
SHORT = 1.0


def failure(address: Address, entries=ENTRIES[:1], wait: float = SHORT) -> str:
    with pytest.raises(errors.PluginError) as raised:
        check.verify(entries, [address], wait)
    return str(raised.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_right_answers(host: str) -> None:
    with serving(tls(RIGHT.get), host) as address:
        check.verify(ENTRIES, [address], 10)


def test_tls_1_2() -> None:
    old = context(issue(["a.example"]))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(tls({"a.example": old}.get)) as address:
        check.verify(ENTRIES[:1], [address], 10)


def test_many_names_at_many_addresses() -> None:
    entries = [Entry(identifier.parse(f"n{i}.example"), KEY_AUTHORIZATION) for i in range(40)]
    contexts = {entry.identifier.text: context(issue([entry.identifier.text])) for entry in entries}
    with serving(tls(contexts.get)) as one, serving(tls(contexts.get)) as other:
        check.verify(entries, [one, other], 10)


def test_no_address_no_check() -> None:
    check.verify(ENTRIES, [], 10)


def test_one_address_of_two_fails() -> None:
    with serving(tls(RIGHT.get)) as right, refusing() as wrong:
        with pytest.raises(errors.PluginError) as raised:
            check.verify(ENTRIES[:2], [right, wrong], SHORT)
    assert f"- a.example, b.example at {wrong}: nothing listens there" in str(raised.value)
    assert str(right) not in str(raised.value)


def test_one_name_of_two_fails() -> None:
    contexts = {**RIGHT, "b.example": context(
        issue(["b.example"], value_for(OTHER_KEY_AUTHORIZATION)))}
    with serving(tls(contexts.get)) as address:
        text = failure(address, ENTRIES[:2])
    assert f"- b.example at {address}: the certificate served is for another key" in text
    assert "a.example" not in text


def test_an_answer_that_becomes_right_in_time() -> None:
    attempts = itertools.count(1)
    right, wrong = tls(RIGHT.get), sending(NO_APPLICATION_PROTOCOL)
    with serving(lambda c: (right if next(attempts) > 2 else wrong)(c)) as address:
        check.verify(ENTRIES[:1], [address], 10)
    assert next(attempts) == 4


def served(issued) -> object:
    return tls({"a.example": context(issued)}.get)


@pytest.mark.parametrize("answer, expected", [
    (sending(NO_APPLICATION_PROTOCOL),
     "httpd refused acme-tls/1 (TLS alert no_application_protocol)"),
    (choosing(b"http/1.1", issue(["a.example"], None)), "the server did not choose acme-tls/1"),
    (choosing(b"http/1.1", issue(["a.example"])), "the server did not choose acme-tls/1"),
    (without_alpn(issue(["a.example"])), "the server did not choose acme-tls/1"),
    (served(issue(["a.example"], None)), "an ordinary certificate was served over acme-tls/1"),
    (served(issue(["a.example"], value_for(OTHER_KEY_AUTHORIZATION))),
     "the certificate served is for another key authorization"),
    (served(issue(["b.example"])), "the subjectAltName of the certificate served is"),
    (served(issue(["a.example"], issuer=common_name("another"))),
     "the certificate served is not signed with its own"),
    (tls({}.get), "the TLS handshake failed (TLSV1_UNRECOGNIZED_NAME)"),
    (sending(INTERNAL_ERROR), "the TLS handshake failed (TLSV1_ALERT_INTERNAL_ERROR)"),
    (sending(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "what listens there does not speak TLS"),
    (sending(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), "what listens there does not speak TLS"),
    (sending(b""), "the connection was closed in the middle of the TLS handshake"),
    (lambda connection: None, "the connection was closed in the middle of the TLS handshake"),
    (silent, "the connection was accepted, but the TLS handshake did not end in time"),
])
def test_failures(answer, expected: str) -> None:
    with serving(answer) as address:
        text = failure(address)
    assert text.startswith("The CA was not asked to validate, because this would have made it "
                           "fail (tried for 1 seconds):\n")
    assert f"- a.example at {address}: {expected}" in text
    assert "\nWhat httpd logged about it: grep " in text


def test_refusal_may_be_a_proxys() -> None:
    """nginx's and Go's servers answer so, too, when acme-tls/1 is not theirs."""
    with serving(sending(NO_APPLICATION_PROTOCOL)) as address:
        text = failure(address)
    assert ("where there is no such line of that time, something in front of httpd (nginx, Caddy, "
            "a CDN) answered, and terminates TLS") in text


def test_nothing_listens() -> None:
    with refusing() as address:
        assert f"at {address}: nothing listens there (connection refused)" in failure(address)


def test_a_firewall_drops() -> None:
    with dropping() as address:
        text = failure(address)
    assert f"at {address}: no connection in time, as if a firewall dropped it" in text
    assert "name the address of its TLS vhosts with --acme-alpn-check HOST:PORT" in text


def test_a_host_that_cannot_be_resolved() -> None:
    # Longer than any name in the DNS: refused by the resolver itself, no server is asked.
    address = Address(".".join(["a" * 63] * 5), 443)
    assert "the host name cannot be resolved" in failure(address)


def resolving_to(*addresses: Address):
    """socket.getaddrinfo, where a host name stands for all of these."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address.host, address.port))
             for address in addresses]
    return lambda host, port, **_: found


def test_next_address_of_a_host_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with dropping() as one, refusing() as other, serving(tls(RIGHT.get)) as right:
        monkeypatch.setattr(socket, "getaddrinfo", resolving_to(one, other, right))
        check.verify(ENTRIES[:1], [Address("many.example", 443)], 6.0)


def test_addresses_of_a_host_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    before = time.monotonic()
    with dropping() as address:
        monkeypatch.setattr(socket, "getaddrinfo", resolving_to(*[address] * 40))
        assert "no connection in time" in failure(Address("many.example", 443), wait=1.0)
    # Not a second each.
    assert time.monotonic() - before < 30


def test_the_time_is_kept() -> None:
    before = time.monotonic()
    with serving(silent) as address:
        failure(address, ENTRIES, 1.0)
    assert 1.0 <= time.monotonic() - before < 30.0


def test_a_silent_address_hides_no_other() -> None:
    entries = [Entry(identifier.parse(f"n{i}.example"), KEY_AUTHORIZATION) for i in range(50)]
    contexts = {entry.identifier.text: context(issue([entry.identifier.text])) for entry in entries}
    with serving(silent) as wrong, serving(tls(contexts.get)) as right:
        # A busy machine takes longer for so many handshakes; one that is held up never ends.
        for wait in (3.0, 12.0, 48.0):
            with pytest.raises(errors.PluginError) as raised:
                check.verify(entries, [wrong, right], wait)
            text = str(raised.value)
            if str(right) not in text:
                break
    assert str(right) not in text
    assert "n3.example, n4.example and 45 more at" in text


def test_an_address_that_comes_last_holds_up_no_other() -> None:
    """One that says nothing until all names are right at the other, and is right then."""
    entries = [Entry(identifier.parse(f"n{i}.example"), KEY_AUTHORIZATION) for i in range(50)]
    contexts = {entry.identifier.text: context(issue([entry.identifier.text])) for entry in entries}
    seen, done = set(), threading.Event()

    def first(name: str) -> ssl.SSLContext:
        seen.add(name)
        if len(seen) == len(entries):
            done.set()
        return contexts[name]

    def last(connection: socket.socket) -> None:
        done.wait(120)
        tls(contexts.get)(connection)

    with serving(last) as late, serving(tls(first)) as early:
        check.verify(entries, [late, early], 120)


def test_wait_is_the_documented_one() -> None:
    manual = (pathlib.Path(__file__).parents[1] / "README.md").read_text()
    assert f"for\n   {check.WAIT:.0f} seconds at most" in manual and check.WAIT == 10


def test_an_interruption_is_obeyed() -> None:
    def interrupt(*_: object) -> None:
        raise InterruptedError

    previous = signal.signal(signal.SIGALRM, interrupt)
    before = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with refusing() as address, pytest.raises(InterruptedError):
            check.verify(ENTRIES, [address], 60)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert time.monotonic() - before < 30


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    with serving(sending(NO_APPLICATION_PROTOCOL)) as address:
        failure(address, ENTRIES)
    assert threading.active_count() == before


def test_nothing_is_sent_after_the_handshake() -> None:
    received = []

    def answer(connection) -> None:
        with RIGHT["a.example"].wrap_socket(connection, server_side=True) as server:
            received.append((server.selected_alpn_protocol(), _read(server)))

    with serving(answer) as address:
        check.verify(ENTRIES[:1], [address], 10)
    assert received == [("acme-tls/1", b"")]


def _read(server: ssl.SSLSocket) -> Optional[bytes]:
    try:
        return server.recv(100)
    except (ssl.SSLEOFError, ConnectionError):
        return b""
