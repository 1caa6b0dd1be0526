"""The spool's contract: what is answered from, what is refused, and that each refusal says why."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import StartHttpd, checked
from harness.challenge import assert_answered, assert_refused, publish_and_check
from harness.pki import Authority
from harness.server import USER, Httpd
from harness.spool import KeyAuthorization, Spool

NAME = "spool.test"
THUMBPRINT = "E" * 43
SHORTEST = KeyAuthorization(f"{'t' * 22}.{THUMBPRINT}")
LONGEST = KeyAuthorization(f"{'t' * (1023 - 1 - 43)}.{THUMBPRINT}")
USUAL = KeyAuthorization(f"{'t' * 43}.{THUMBPRINT}")
LIMIT = 1024

HTTPD_GROUP = pwd.getpwnam(USER).pw_gid
CLIENT = pwd.getpwnam("daemon").pw_uid
STRANGER = pwd.getpwnam("nobody").pw_uid


@pytest.fixture(scope="module")
def server(make_shared_httpd: StartHttpd, authority: Authority) -> Httpd:
    httpd = make_shared_httpd()
    httpd.vhost(NAME, credentials=[authority.issue(NAME)])
    return httpd.start()


@pytest.fixture
def httpd(server: Httpd) -> Iterator[Httpd]:
    """A server with a fresh spool; whatever the test made of it is removed."""
    with checked(server):
        yield server
    path = server.spool.path
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
    server.spool.create()


def colons(digits: str) -> str:
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))


HEX = USUAL.digest.hex()

RIGHT_VALUES = {
    "key-authorization": (USUAL.text, USUAL),
    "lf": (USUAL.text + "\n", USUAL),
    "crlf": (USUAL.text + "\r\n", USUAL),
    "shortest-token": (SHORTEST.text, SHORTEST),
    "longest-line": (LONGEST.text + "\n", LONGEST),
    "base64url-digest": (USUAL.digest_base64url, USUAL),
    "hex": (HEX, USUAL),
    "hex-upper-case-lf": (HEX.upper() + "\n", USUAL),
    "hex-colons": (colons(HEX), USUAL),
    "hex-colons-upper-case-crlf": (colons(HEX).upper() + "\r\n", USUAL),
}


@pytest.mark.parametrize("content, key_authorization", RIGHT_VALUES.values(), ids=RIGHT_VALUES)
def test_each_form_of_the_value_is_answered(httpd: Httpd, content: str, key_authorization: KeyAuthorization) -> None:
    httpd.spool.write(NAME, content.encode())
    assert_answered(httpd, NAME, key_authorization)


TEXT = USUAL.text.encode()

WRONG_VALUES = {
    "empty": (b"", "value-empty"),
    "only-lf": (b"\n", "value-empty"),
    "two-lines": (TEXT + b"\n" + TEXT + b"\n", "value-lines"),
    "two-lf": (TEXT + b"\n\n", "value-lines"),
    "two-mib": (b"t" * (2 << 20), "entry-too-large"),
    "one-byte-too-large": (b"t" * (LIMIT + 1), "entry-too-large"),
    "nul": (TEXT[:10] + b"\0" + TEXT[11:], "value-malformed"),
    "non-ascii": ("é".encode() + TEXT, "value-malformed"),
    "space-before": (b" " + TEXT, "value-malformed"),
    "space-after": (TEXT + b" \n", "value-malformed"),
    "cr-alone": (TEXT + b"\r", "value-malformed"),
    "short-token": (SHORTEST.text[1:].encode(), "value-malformed"),
    "short-thumbprint": (SHORTEST.text[:-1].encode(), "value-malformed"),
    "long-thumbprint": (SHORTEST.text.encode() + b"E", "value-malformed"),
    "no-thumbprint": (b"t" * 44, "value-malformed"),
    "two-dots": (SHORTEST.text.encode() + b"." + THUMBPRINT.encode(), "value-malformed"),
    "padded-digest": (USUAL.digest_base64url.encode() + b"=", "value-malformed"),
    "short-hex": (HEX[:-1].encode(), "value-malformed"),
    "hex-with-wrong-colons": (colons(HEX).encode()[:-3] + b"ff:", "value-malformed"),
}


@pytest.mark.parametrize("content, reason", WRONG_VALUES.values(), ids=WRONG_VALUES)
def test_wrong_value_is_refused(httpd: Httpd, content: bytes, reason: str) -> None:
    httpd.spool.write(NAME, content)
    record = assert_refused(httpd, NAME, reason)
    assert f"file={httpd.spool.path}/{NAME}" in record.text
    publish_and_check(httpd, NAME)


Make = Callable[[Spool], object]


def entry(mode: int = 0o644, uid: int = 0, gid: int = 0, age: float = 0) -> Make:
    """A right entry, but for its metadata."""

    def make(spool: Spool) -> None:
        os.chown(spool.write(NAME, TEXT, mode=mode, age=age), uid, gid)

    return make


def symlink(spool: Spool) -> None:
    spool.write(".target", TEXT)
    (spool.path / NAME).symlink_to(".target")


def unix_socket(spool: Spool) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(spool.path / NAME))


def device(spool: Spool) -> None:
    os.mknod(spool.path / NAME, 0o020644, os.makedev(1, 3))


MINUTE = 60
HOUR = 3600

WRONG_ENTRIES: dict[str, tuple[Make, str]] = {
    "symlink": (symlink, "entry-symlink"),
    "fifo": (lambda spool: os.mkfifo(spool.path / NAME), "entry-not-regular"),
    "directory": (lambda spool: (spool.path / NAME).mkdir(), "entry-not-regular"),
    "socket": (unix_socket, "entry-not-regular"),
    "device": (device, "entry-not-regular"),
    "stranger": (entry(uid=STRANGER), "entry-owner"),
    "httpd-user": (entry(uid=pwd.getpwnam(USER).pw_uid), "entry-owner"),
    "world-writable": (entry(mode=0o646), "entry-writable"),
    "group-writable": (entry(mode=0o664, gid=HTTPD_GROUP), "entry-writable"),
    "unreadable": (entry(mode=0o600), "entry-unreadable"),
    "too-old": (entry(age=25 * HOUR), "entry-too-old"),
    "epoch": (lambda spool: os.utime(spool.write(NAME, TEXT), (0, 0)), "entry-too-old"),
    "future": (entry(age=-6 * MINUTE), "entry-future"),
}


@pytest.mark.parametrize("make, reason", WRONG_ENTRIES.values(), ids=WRONG_ENTRIES)
def test_wrong_entry_is_refused(httpd: Httpd, make: Make, reason: str) -> None:
    make(httpd.spool)
    record = assert_refused(httpd, NAME, reason)
    assert f"file={httpd.spool.path}/{NAME}" in record.text


RIGHT_ENTRIES = {
    "read-only": entry(mode=0o444),
    "root-group-writable": entry(mode=0o664),
    "httpd-group-readable": entry(mode=0o640, gid=HTTPD_GROUP),
    "nearly-too-old": entry(age=23 * HOUR),
    "a-little-ahead": entry(age=-4 * MINUTE),
}


@pytest.mark.parametrize("make", RIGHT_ENTRIES.values(), ids=RIGHT_ENTRIES)
def test_right_entry_is_answered(httpd: Httpd, make: Make) -> None:
    make(httpd.spool)
    assert_answered(httpd, NAME, USUAL)


def remove(spool: Spool) -> None:
    shutil.rmtree(spool.path)


def replace_by_file(spool: Spool) -> None:
    remove(spool)
    spool.path.write_bytes(b"")


def replace_by_dangling_link(spool: Spool) -> None:
    remove(spool)
    spool.path.symlink_to("nowhere")


def mode(bits: int, gid: int = 0) -> Make:
    def change(spool: Spool) -> None:
        os.chown(spool.path, 0, gid)
        spool.path.chmod(bits)

    return change


WRONG_SPOOLS: dict[str, tuple[Make, str]] = {
    "missing": (remove, "spool-missing"),
    "file": (replace_by_file, "spool-not-directory"),
    "dangling-link": (replace_by_dangling_link, "spool-missing"),
    "world-writable": (mode(0o777), "spool-writable"),
    "sticky": (mode(0o1777), "spool-writable"),
    "group-writable": (mode(0o775, HTTPD_GROUP), "spool-writable"),
    "unreadable": (mode(0o700), "spool-unreadable"),
}


@pytest.mark.parametrize("spoil, reason", WRONG_SPOOLS.values(), ids=WRONG_SPOOLS)
def test_wrong_spool_is_refused_until_it_is_mended(httpd: Httpd, spoil: Make, reason: str) -> None:
    httpd.spool.publish(NAME)
    spoil(httpd.spool)
    record = assert_refused(httpd, NAME, reason)
    assert str(httpd.spool.path) in record.text
    if httpd.spool.path.is_dir():
        mode(0o755)(httpd.spool)
    else:
        httpd.spool.path.unlink(missing_ok=True)
        httpd.spool.create()
    publish_and_check(httpd, NAME)


@pytest.mark.parametrize("bits", [0o755, 0o775, 0o711 | 0o044])
def test_spool_of_the_root_group_is_answered_from(httpd: Httpd, bits: int) -> None:
    mode(bits)(httpd.spool)
    publish_and_check(httpd, NAME)


def test_spool_may_be_a_symlink_that_changes(httpd: Httpd) -> None:
    path = httpd.spool.path
    path.rmdir()
    for name in ("first", "second"):
        elsewhere = Spool(path.parent / name).create()
        path.unlink(missing_ok=True)
        path.symlink_to(name)
        publish_and_check(httpd, NAME, spool=elsewhere)
        assert_refused(httpd, NAME, "no-entry")
        shutil.rmtree(elsewhere.path)


def test_spool_of_a_client_that_is_not_root(httpd: Httpd) -> None:
    os.chown(httpd.spool.path, CLIENT, CLIENT)
    for owner in (CLIENT, 0):
        entry(uid=owner)(httpd.spool)
        assert_answered(httpd, NAME, USUAL)
    entry(uid=STRANGER)(httpd.spool)
    assert_refused(httpd, NAME, "entry-owner")


def test_names_that_start_with_a_dot_are_no_entries(httpd: Httpd) -> None:
    httpd.spool.write(f".{NAME}", TEXT)
    assert_refused(httpd, NAME, "no-entry")


def test_other_entries_do_not_matter(httpd: Httpd) -> None:
    for number in range(200):
        httpd.spool.publish(f"{number}.test")
    publish_and_check(httpd, NAME)
    publish_and_check(httpd, "7.test")


def test_entry_in_upper_case_is_never_found(httpd: Httpd, tmp_path: Path) -> None:
    httpd.spool.publish(NAME.upper())
    assert_refused(httpd, NAME, "no-entry")
    assert_refused(httpd, NAME.upper(), "no-entry")
