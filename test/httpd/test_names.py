"""What a client may name, byte by byte: answered, refused with a reason, or stopped by OpenSSL before that."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from conftest import StartHttpd, checked
from harness.challenge import Handshake, assert_incomplete, assert_refused, publish_and_check
from harness.clienthello import SERVER_NAME, Hello, prefixed, shake
from harness.pki import Authority
from harness.server import Httpd

NAME = "names.test"
DECODE_ERROR, UNRECOGNIZED_NAME = 50, 112

IP6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
ADDRESSES = ("192.0.2.7", "2001:db8::1", "::", "0.0.0.0")


@pytest.fixture(scope="module")
def server(make_shared_httpd: StartHttpd, authority: Authority) -> Httpd:
    httpd = make_shared_httpd()
    httpd.vhost(NAME, credentials=[authority.issue(NAME)])
    return httpd.start()


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


RIGHT = {
    "NAMES.TEST": NAME,
    "nAmEs.tEsT": NAME,
    "localhost": "localhost",
    "a": "a",
    "7.example": "7.example",
    "123.example": "123.example",
    "a--b.example": "a--b.example",
    "XN--BCHER-KVA.example": "xn--bcher-kva.example",
    "a" * 63 + ".example": "a" * 63 + ".example",
    ".".join("a" * 127): ".".join("a" * 127),
    "in-addr.arpa.example": "in-addr.arpa.example",
    "7.2.0.192.in-addr.arpa": "192.0.2.7",
    "7.2.0.192.IN-ADDR.ARPA": "192.0.2.7",
    "255.255.255.255.in-addr.arpa": "255.255.255.255",
    "0.0.0.0.in-addr.arpa": "0.0.0.0",
    f"{IP6}.ip6.arpa": "2001:db8::1",
    f"{IP6.upper()}.IP6.ARPA": "2001:db8::1",
    "0." * 32 + "ip6.arpa": "::",
    "f." * 32 + "ip6.arpa": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("name", RIGHT, ids=[name[:40] for name in RIGHT])
def test_right_name_is_answered(httpd: Httpd, name: str, version: str) -> None:
    publish_and_check(httpd, RIGHT[name], naming(httpd, name.encode(), version))


WRONG_REVERSE = [
    "2.0.192.in-addr.arpa",
    "1.7.2.0.192.in-addr.arpa",
    "256.2.0.192.in-addr.arpa",
    "07.2.0.192.in-addr.arpa",
    "+7.2.0.192.in-addr.arpa",
    "-7.2.0.192.in-addr.arpa",
    "0x7.2.0.192.in-addr.arpa",
    "7.2.0.192..in-addr.arpa",
    "names.test.in-addr.arpa",
    "a.in-addr.arpa",
    f"{IP6[2:]}.ip6.arpa",
    f"0.{IP6}.ip6.arpa",
    f"g{IP6[1:]}.ip6.arpa",
    f"10{IP6[3:]}.ip6.arpa",
    f"{IP6[:-1]}.ip6.arpa",
    f"{IP6.replace('.', '')}.ip6.arpa",
    "7.2.0.192.ip6.arpa",
    f"{IP6}.in-addr.arpa",
    "a.ip6.arpa",
]
WRONG_ADDRESS = ["192.0.2.7", "0.0.0.0", "2001:db8::1", "[2001:db8::1]", "::", "192.0.2.7.", "3221225991"]
WRONG_CHARACTERS = {
    "space": b"names .test",
    "tab": b"names\t.test",
    "line": b"names.test\n",
    "utf-8": "nämes.test".encode(),
    "latin-1": "nämes.test".encode("latin-1"),
    "full-width": "ｎames.test".encode(),
    "all-ones": b"\xff" * 8,
    "control": b"\x01\x1b[0mnames.test",
    "wildcard": b"*.names.test",
    "underscore": b"_acme.names.test",
    "backslash": rb"..\names.test",
    "above": b"..",
    "percent": b"%6eames.test",
    "colon": b"names.test:443",
}
WRONG_FORMS = {
    "empty": b"",
    "dot": b".",
    "dots": b"..." * 3,
    "dot-first": b".names.test",
    "dot-last": b"names.test.",
    "number-last": b"names.1",
    "hyphen-first": b"-names.test",
    "hyphen-last": b"names-.test",
    "label-of-64": b"a" * 64 + b".test",
    "one-label-of-253": b"a" * 253,
    "254-bytes": b".".join([b"a" * 63] * 3 + [b"a" * 62]),
    "255-bytes": b".".join([b"a" * 63] * 4),
}
WRONG = {
    **{name: name.encode() for name in WRONG_REVERSE + WRONG_ADDRESS},
    **WRONG_CHARACTERS,
    **WRONG_FORMS,
}


@pytest.mark.parametrize("name", WRONG, ids=[name[:40] for name in WRONG])
def test_wrong_name_never_reaches_the_spool(httpd: Httpd, name: str) -> None:
    record = assert_refused(httpd, None, "name-invalid", naming(httpd, WRONG[name]))
    assert re.search(r" file=-(?: suppressed=\d+)?: ", record.text)
    assert str(httpd.spool.path) not in record.text and " identifier=" not in record.text


SPOOFS = {
    b'x" reason=ok file=-: answered': "x%22+reason%3dok+file%3d-%3a+answered",
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
    assert found and re.fullmatch(r"[A-Za-z0-9%+._-]+", found[1]), record.text
    assert SPOOFS[name] in (None, found[1])
    # But for what the watch says of other tests' entries, whenever it comes to that.
    after = [line.line for line in httpd.log.refresh()[len(before) :] if not line.tag.startswith("AALPN021")]
    assert after == [record.line]


# What OpenSSL itself refuses: the extension's content, and the alert.
REFUSED_BY_OPENSSL = {
    "nul-last": (prefixed(b"\0" + prefixed(b"names.test\0")), UNRECOGNIZED_NAME),
    "nul-first": (prefixed(b"\0" + prefixed(b"\0names.test")), UNRECOGNIZED_NAME),
    "nul-within": (prefixed(b"\0" + prefixed(b"names.test\0.other.test")), UNRECOGNIZED_NAME),
    "256-bytes": (prefixed(b"\0" + prefixed(b"a" * 256)), UNRECOGNIZED_NAME),
    "8000-bytes": (prefixed(b"\0" + prefixed(b"a." * 4000)), UNRECOGNIZED_NAME),
    "no-content": (b"", DECODE_ERROR),
    "empty-list": (prefixed(b""), DECODE_ERROR),
    "other-type": (prefixed(b"\1" + prefixed(b"names.test")), DECODE_ERROR),
    "two-names": (prefixed(b"\0" + prefixed(b"names.test") + b"\0" + prefixed(b"other.test")), DECODE_ERROR),
    "name-longer-than-list": (b"\0\x06\0\0\x06nam", DECODE_ERROR),
    "byte-after-list": (prefixed(b"\0" + prefixed(b"names.test")) + b"x", DECODE_ERROR),
}


@pytest.mark.parametrize("content", REFUSED_BY_OPENSSL)
def test_malformed_extension_gets_nothing(httpd: Httpd, content: str) -> None:
    extension, alert = REFUSED_BY_OPENSSL[content]
    hello = Hello(None, extra=((SERVER_NAME, extension),))
    answer = assert_incomplete(httpd, lambda: shake(httpd.address(), hello))
    assert answer.alert == alert
