"""The store's password: refused where httpd and the tool refuse it."""
import os
import pathlib
from typing import Callable, ContextManager

import pytest
from certbot import errors

from certbot_acme_alpn import password_file

OPEN = "give it mode 0600 or 0640"


def write(path: pathlib.Path, content: bytes = b"s3cret\n", mode: int = 0o600) -> str:
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def problem(path: str) -> str:
    with pytest.raises(errors.MisconfigurationError) as raised:
        password_file.read(path)
    text = str(raised.value)
    intro, found, words = text.partition(f"passwordfile {path}: ")
    assert not intro and found and "s3" not in words
    return words


@pytest.mark.parametrize("content, password, mode", [
    (b"s3cret\n", "s3cret", 0o600), (b"s3cret", "s3cret", 0o640),
    (b"s3 cret\r\n", "s3 cret", 0o400), (b"x" * 1024, "x" * 1024, 0o600)])
def test_right(tmp_path: pathlib.Path, content: bytes, password: str, mode: int) -> None:
    assert password_file.read(write(tmp_path / "file", content, mode)) == password


@pytest.mark.parametrize("content, mode, expected", [
    (b"", 0o600, "one line"), (b"\n", 0o600, "one line"), (b"s3cret\nmore\n", 0o600, "one line"),
    (b"s3\0cret\n", 0o600, "NUL"), (b"s3\xff\n", 0o600, "UTF-8"),
    (b"x" * 1025, 0o600, "more than 1024 bytes"),
    *[(b"s3cret\n", mode, OPEN) for mode in (0o604, 0o602, 0o601, 0o620)]])
def test_wrong(tmp_path: pathlib.Path, content: bytes, mode: int, expected: str) -> None:
    assert expected in problem(write(tmp_path / "file", content, mode))


def test_owner(tmp_path: pathlib.Path, root: None) -> None:
    path = write(tmp_path / "file")
    os.chown(path, 4711, 4711)
    assert "neither to root nor to this user" in problem(path)


def test_owner_who_is_not_root(
        spool_directory: str, as_nobody: Callable[..., ContextManager[None]]) -> None:
    path = write(pathlib.Path(spool_directory) / "file")
    os.chown(path, 65534, 65534)
    with as_nobody():
        assert password_file.read(path) == "s3cret"


def test_no_regular_file(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path in (str(tmp_path / "fifo"), str(tmp_path), "/dev/null"):
        assert "not a regular file" in problem(path)


def test_nothing_there(tmp_path: pathlib.Path) -> None:
    assert "No such file" in problem(str(tmp_path / "none"))
