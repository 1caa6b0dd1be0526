"""What certbot says after a failure at the CA: it looks again, and says what it sees now."""
import itertools
import pathlib

import pytest

from certbot_acme_alpn import error_log, hint, identifier
from certbot_acme_alpn.spool import Entry, Spool
from challenge_certificates import (
    KEY_AUTHORIZATION, OTHER_KEY_AUTHORIZATION, context, issue, value_for)
from conftest import RunInside
from loopback_servers import (
    NO_APPLICATION_PROTOCOL, handshaking, refusing, sending, serving, silent, tls)

ENTRY = Entry(identifier.parse("a.example"), KEY_AUTHORIZATION)
RIGHT = tls({"a.example": context(issue(["a.example"]))}.get)
ORDINARY = handshaking(context(issue(["a.example"], None), protocols=()))

# A server for each way to answer, at an address of the name each, on the CA's port.
PUBLIC = """
import contextlib, time
from test_hint import *
answers = {"203.0.113.5": ORDINARY, "203.0.113.6": RIGHT, "203.0.113.8": silent,
           "2001:db8::5": sending(NO_APPLICATION_PROTOCOL)}
with contextlib.ExitStack() as stack:
    for host, answer in answers.items():
        stack.enter_context(serving(answer, host, 443))
    before = time.monotonic()
    print(hint.text("acme-alpn", "the-store", Spool("/nowhere"), [ENTRY], []))
    assert time.monotonic() - before < 30
"""
HOSTS = "".join(f"{address} a.example\\n" for address in (
    "203.0.113.5", "203.0.113.6", "203.0.113.7", "203.0.113.8", "2001:db8::5"))
NETWORK = (
    "ip link set lo up; for i in 5 6 7 8; do ip addr add 203.0.113.$i/32 dev lo; done; "
    "ip -6 addr add 2001:db8::5/128 dev lo nodad; hosts=$(mktemp); "
    f"printf '{HOSTS}' >$hosts; mount --bind $hosts /etc/hosts; rm $hosts")


def test_every_address_of_a_name(in_mount_namespace: RunInside) -> None:
    text = in_mount_namespace(NETWORK, PUBLIC)
    for line in (
            "a.example at 203.0.113.5: an ordinary certificate: a proxy",
            "a.example at 203.0.113.6: answered correctly\n",
            "a.example at 203.0.113.7: nothing listens there (connection refused), seen from this",
            "a.example at 203.0.113.8: the server accepted the connection, but the TLS handshake",
            "a.example at 2001:db8::5: refused acme-tls/1: a proxy or other server answers"):
        assert f"\n- {line}" in text
    assert "its own public address" in text


def test_all_answers_are_right(in_mount_namespace: RunInside) -> None:
    text = in_mount_namespace(NETWORK.replace(HOSTS, "203.0.113.6 a.example\\n"), """
from test_hint import *
from certbot_acme_alpn.store import Store
with serving(RIGHT, "203.0.113.6", 443):
    print(hint.text("acme-alpn", "the-store", Store("redis://127.0.0.1"), [ENTRY], []))
""")
    assert "- a.example at 203.0.113.6: answered correctly\nThe CA seems to have reached another server. Check" in text


def test_silent_name_servers(in_mount_namespace: RunInside) -> None:
    """Which getaddrinfo alone would ask for half a minute."""
    text = in_mount_namespace(
        "ip link set lo up; f=$(mktemp); echo 'nameserver 127.0.0.1' >$f; "
        "mount --bind $f /etc/resolv.conf; rm $f",
        """
import socket, time
from test_hint import *
from certbot_acme_alpn import check
from certbot_acme_alpn.addresses import Address
silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(("127.0.0.1", 53))
before = time.monotonic()
print(hint.text("acme-alpn", "the-store", Spool("/nowhere"), [ENTRY], []))
print("hint", time.monotonic() - before < 10)
try:
    check.verify([ENTRY], "/the/spool", [Address("node.example", 443)], 3.0)
except Exception as error:
    print(error)
print("check", time.monotonic() - before < 20)
""")
    assert "- a.example: the name cannot be resolved from here (the name servers did not" in text
    assert "node.example:443: the host name cannot be resolved (the name servers did not" in text
    assert "hint True" in text and "check True" in text


def test_a_wildcard_of_the_search_list(in_mount_namespace: RunInside) -> None:
    """A name that the DNS lacks has no address, whatever the machine's own domain gives it."""
    text = in_mount_namespace(
        "ip link set lo up; f=$(mktemp); printf 'search corp.test\\nnameserver 127.0.0.1\\n' >$f; "
        "mount --bind $f /etc/resolv.conf; rm $f",
        r"""
import socketserver, threading
from test_hint import *
class Wildcard(socketserver.BaseRequestHandler):
    def handle(self):
        query, server = self.request
        head, found = (b"\x81\x80\0\1\0\1", bytes.fromhex("c00c00010001000000010004cb007109")) if (
            b"\4corp\4test\0\0\1" in query) else (b"\x81\x83\0\1\0\0", b"")
        server.sendto(query[:2] + head + bytes(4) + query[12:] + found, self.client_address)
server = socketserver.UDPServer(("127.0.0.1", 53), Wildcard)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(hint.text("acme-alpn", "the-store", Spool("/nowhere"), [ENTRY], []))
""")
    assert "- a.example: the name cannot be resolved from here (" in text and "203.0" not in text


@pytest.fixture(name="hint_for")
def fixture_hint_for(spool_directory: str, monkeypatch: pytest.MonkeyPatch):
    """The hint when httpd answers so, for a name that the DNS does not have."""
    monkeypatch.setattr(hint, "RESOLVE", 0.2)

    def hint_for(answer, *names: str) -> str:
        entries = [Entry(identifier.parse(name), KEY_AUTHORIZATION)
                   for name in names or ("a.example",)]
        with serving(answer) as at:
            return hint.text("acme-alpn", spool_directory, Spool(spool_directory), entries, [at])
    return hint_for


def test_what_was_right_and_is_no_longer(hint_for, spool_directory: str) -> None:
    attempts, refuse = itertools.count(), sending(NO_APPLICATION_PROTOCOL)
    text = hint_for(lambda connection: refuse(connection) if next(attempts) < 1 else None)
    assert next(attempts) == 1
    assert f"- a.example: {spool_directory}/a.example is gone: another ACME client" in text
    assert "httpd refused acme-tls/1" in text and "answered correctly\n" not in text
    pathlib.Path(spool_directory, "a.example").write_text(OTHER_KEY_AUTHORIZATION)
    other = context(issue(["a.example"], value_for(OTHER_KEY_AUTHORIZATION)))
    text = hint_for(tls({"a.example": other}.get))
    assert f"- a.example: another ACME client has replaced {spool_directory}/a.example:" in text
    assert "the certificate served is for another key authorization" in text


def test_what_is_still_right(hint_for, spool_directory: str, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(error_log, "DIRECTORIES", (f"{tmp_path}/no", str(tmp_path)))
    Spool(spool_directory).publish(ENTRY)
    text = hint_for(RIGHT)
    assert f"into {spool_directory}. " in text and "correctly at 127.0.0.1" in text
    assert ": answered correctly\n" in text and "is gone" not in text
    assert "A and AAAA records" in text and f"grep -rh AALPN {tmp_path} | tail\n- AALPN0102" in text
    assert "AALPN0101" in text and "acme_alpn:info" in text and "--dry-run" in text


def test_ip_address(hint_for, monkeypatch: pytest.MonkeyPatch) -> None:
    with refusing() as address:
        monkeypatch.setattr(hint, "PORT", address.port)
        text = hint_for(RIGHT, "127.0.0.1")
    assert "- 127.0.0.1 at 127.0.0.1: nothing listens there (connection refused), seen from" in text
    assert 'Correct what does not say "answered correctly". Check' in text
    assert "records" not in text and "the address leads to this httpd" in text


def test_many_names(hint_for) -> None:
    text = hint_for(RIGHT, *(f"n{number}.example" for number in range(20)))
    assert "the first 5" in text
    assert "n4.example at" in text and "n5.example" not in text
