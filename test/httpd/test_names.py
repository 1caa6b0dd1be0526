"""What a client may name, byte by byte: answered, refused with a reason, or stopped by OpenSSL before that."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from conftest import checked
from harness.challenge import Handshake, assert_refused, publish_and_check
from harness.clienthello import Hello, shake
from harness.server import Httpd

NAME = "names.test"
DECODE_ERROR, UNRECOGNIZED_NAME = 50, 112

IP6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
ADDRESSES = ("192.0.2.7", "2001:db8::1", "::")


@pytest.fixture
def httpd(server: Httpd) -> Iterator[Httpd]:
    """With live challenges that no wrong name must reach."""
    for identifier in (NAME, *ADDRESSES):
        server.spool.publish(identifier)
    with checked(server):
        yield server
    for identifier in (NAME, *ADDRESSES):
        if identifier in server.spool.entries():
            server.spool.withdraw(identifier)


def naming(httpd: Httpd, name: bytes, version: str = "1.3") -> Handshake:
    return lambda: shake(httpd.address(), Hello(name, version=version))


# test_identifier.c has each byte and each form; these are some of each kind.
RIGHT = {
    "nAmEs.tEsT": NAME,
    "localhost": "localhost",
    "XN--BCHER-KVA.example": "xn--bcher-kva.example",
    ".".join("a" * 127): ".".join("a" * 127),
    "7.2.0.192.IN-ADDR.ARPA": "192.0.2.7",
    f"{IP6}.ip6.arpa": "2001:db8::1",
    "0." * 32 + "ip6.arpa": "::",
}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("name", RIGHT, ids=[name[:40] for name in RIGHT])
def test_right_name_is_answered(httpd: Httpd, name: str, version: str) -> None:
    publish_and_check(httpd, RIGHT[name], naming(httpd, name.encode(), version))


WRONG = {
    "reverse-name": b"256.2.0.192.in-addr.arpa",
    "reverse-name-of-six": f"g{IP6[1:]}.ip6.arpa".encode(),
    "address": b"192.0.2.7",
    "address-of-six": b"2001:db8::1",
    "utf-8": "nämes.test".encode(),
    "control": b"\x01\x1b[0mnames.test",
    "wildcard": b"*.names.test",
    "underscore": b"_acme.names.test",
    "above": b"..",
    "path": b"../names.test",
    "empty": b"",
    "dot-first": b".names.test",
    "dot-last": b"names.test.",
    "label-of-64": b"a" * 64 + b".test",
    "255-bytes": b".".join([b"a" * 63] * 4),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_name_never_reaches_the_spool(httpd: Httpd, name: str) -> None:
    record = assert_refused(httpd, None, "name-invalid", naming(httpd, WRONG[name]))
    assert re.search(r" file=-(?: suppressed=\d+)?: ", record.text)
    assert str(httpd.spool.path) not in record.text and " identifier=" not in record.text


SPOOFS = {
    b'x" reason=ok file=-: answered': "x%22%20reason%3dok%20file%3d-:%20answered",
    b"x\r\n[Mon Nov 23 18:18:45.112800 2026] [core:emerg] spoofed": None,
    b"x\x1b[31mred\x07": "x%1b%5b31mred%07",
    b"%n%s%00": "%25n%25s%2500",
    b"x\\x0ay": "x%5cx0ay",
    b"x\x7f\x80\xe2\x80\xa8y": "x%7f%80%e2%80%a8y",
}


@pytest.mark.parametrize("name", SPOOFS, ids=repr)
def test_name_cannot_forge_the_log(httpd: Httpd, name: bytes) -> None:
    before = list(httpd.log.refresh())
    record = assert_refused(httpd, None, "name-invalid", naming(httpd, name))
    found = re.fullmatch(
        r"\[client [\d.:]+\] AALPN0102: refused: sni=(\S*) peer=[\d.]+:\d+ vhost=names\.test tls=TLSv1\.3 "
        r"duration=\d+\.\d{3}ms source=none reason=name-invalid file=-(?: suppressed=\d+)?: the name is .*",
        record.text,
    )
    assert found and re.fullmatch(r"[A-Za-z0-9%._~:/*-]+", found[1]), record.text
    assert SPOOFS[name] in (None, found[1])
    # But for what the watch says of other tests' entries, whenever it comes to that.
    after = [line.line for line in httpd.log.refresh()[len(before) :] if not line.tag.startswith("AALPN021")]
    assert after == [record.line]
