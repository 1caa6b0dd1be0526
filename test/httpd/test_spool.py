"""What the spool's contract allows; test_spool.c has its rules one by one, test_status.py how a refusal is told."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Callable, Iterator

import pytest
from conftest import checked
from harness.challenge import assert_answered, assert_refused, publish_and_check
from harness.server import USER, Httpd
from harness.spool import KeyAuthorization, Spool, name_in_acl

NAME = "spool.test"
USUAL = KeyAuthorization(f"{'t' * 43}.{'E' * 43}")

HTTPD_GROUP = pwd.getpwnam(USER).pw_gid
CLIENT = pwd.getpwnam("daemon").pw_uid
STRANGER = pwd.getpwnam("nobody").pw_uid


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


# test_digest.c has each form and each wrong one, test_status.py what is said of the latter.
RIGHT_VALUES = {
    "key-authorization": USUAL.text + "\r\n",
    "base64url-digest": USUAL.digest_base64url,
    "hex": USUAL.digest.hex().upper() + "\n",
    "hex-colons": USUAL.digest.hex(":"),
}


@pytest.mark.parametrize("content", RIGHT_VALUES.values(), ids=RIGHT_VALUES)
def test_each_form_of_the_value_is_answered(httpd: Httpd, content: str) -> None:
    httpd.spool.write(NAME, content.encode())
    assert_answered(httpd, NAME, USUAL)


TEXT = USUAL.text.encode()
Make = Callable[[Spool], object]


def entry(mode: int = 0o644, uid: int = 0, gid: int = 0, age: float = 0) -> Make:
    """A right entry, but for its metadata."""

    def make(spool: Spool) -> None:
        os.chown(spool.write(NAME, TEXT, mode=mode, age=age), uid, gid)

    return make


MINUTE = 60
HOUR = 3600

# test_spool.c and test_status.py have those that are refused.
RIGHT_ENTRIES = {
    "read-only": entry(mode=0o444),
    "httpd-group-readable": entry(mode=0o640, gid=HTTPD_GROUP),
    "nearly-too-old": entry(age=23 * HOUR),
    "a-little-ahead": entry(age=-4 * MINUTE),
}


@pytest.mark.parametrize("make", RIGHT_ENTRIES.values(), ids=RIGHT_ENTRIES)
def test_right_entry_is_answered(httpd: Httpd, make: Make) -> None:
    make(httpd.spool)
    assert_answered(httpd, NAME, USUAL)


@pytest.mark.parametrize("reason, path, mode", [("spool-writable", ".", 0o755), ("entry-writable", NAME, 0o644)])
def test_what_an_acl_lets_others_write_is_refused_until_its_mode_is_right(
    reason: str, path: str, mode: int, httpd: Httpd
) -> None:
    entry()(httpd.spool)
    name_in_acl(httpd.spool.path / path, STRANGER, mode >> 6)
    assert_refused(httpd, NAME, reason)
    (httpd.spool.path / path).chmod(mode)
    assert_answered(httpd, NAME, USUAL)


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
