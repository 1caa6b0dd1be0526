"""The spool on a real directory."""
import os
import pathlib
import stat
import threading

import pytest
from certbot import errors

from certbot_acme_alpn import identifier
from certbot_acme_alpn.spool import Entry, Spool
from challenge_certificates import KEY_AUTHORIZATION, OTHER_KEY_AUTHORIZATION

ENTRY = Entry(identifier.parse("a.example"), KEY_AUTHORIZATION)


def path_in(directory: str, entry: Entry = ENTRY) -> pathlib.Path:
    return pathlib.Path(directory, entry.identifier.text)


def test_a_fresh_spool_is_accepted(spool_directory: str) -> None:
    Spool(spool_directory).check()


def test_a_link_to_a_spool_is_accepted(spool_directory: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "link").symlink_to(spool_directory)
    Spool(str(tmp_path / "link")).check()


def test_missing(tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.NoInstallationError) as raised:
        Spool(str(tmp_path / "no")).check()
    assert f"the spool {tmp_path}/no does not exist" in str(raised.value)
    assert "--acme-alpn-spool DIR" in str(raised.value)


def test_not_a_directory(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.MisconfigurationError, match="/file is not a directory"):
        Spool(str(tmp_path / "file")).check()
    with pytest.raises(errors.MisconfigurationError, match="cannot be looked at: Not a directory"):
        Spool(str(tmp_path / "file" / "below")).check()


@pytest.mark.parametrize("mode, group, accepted", [
    (0o755, 65534, True),
    (0o775, 0, True),
    (0o775, 65534, False),
    (0o757, 0, False),
    (0o1777, 0, False),
])
def test_modes(
        root: None, spool_directory: str, mode: int, group: int, accepted: bool) -> None:
    os.chown(spool_directory, 0, group)
    os.chmod(spool_directory, mode)
    if accepted:
        Spool(spool_directory).check()
        return
    with pytest.raises(errors.MisconfigurationError) as raised:
        Spool(spool_directory).check()
    assert f"has mode {mode:04o}" in str(raised.value)
    assert f"chmod go-w {spool_directory}" in str(raised.value)


def test_an_ordinary_user_with_a_spool_of_its_own(spool_directory: str, as_nobody) -> None:
    os.chown(spool_directory, 65534, 65534)
    with as_nobody():
        Spool(spool_directory).check()
        Spool(spool_directory).publish(ENTRY)
    assert path_in(spool_directory).stat().st_uid == 65534
    Spool(spool_directory).check()


def test_an_ordinary_user_and_the_spool_of_root(spool_directory: str, as_nobody) -> None:
    spool = Spool(spool_directory)
    spool.publish(ENTRY)
    path = path_in(spool_directory)
    with as_nobody():
        with pytest.raises(errors.MisconfigurationError, match=r"not writable .* \(uid 65534\)"):
            spool.check()
        with pytest.raises(errors.PluginError, match=f"cannot write {path}: Permission denied"):
            spool.publish(ENTRY)
        with pytest.raises(errors.PluginError, match=f"cannot remove {path}: Permission denied"):
            spool.withdraw(ENTRY)
    assert os.listdir(spool_directory) == ["a.example"]


def test_writable_but_of_another_owner(spool_directory: str, as_nobody) -> None:
    os.chown(spool_directory, 12345, 0)
    os.chmod(spool_directory, 0o775)
    Spool(spool_directory).check()
    with as_nobody():
        with pytest.raises(errors.MisconfigurationError, match="not writable"):
            Spool(spool_directory).check()
    with as_nobody(group=0):
        with pytest.raises(errors.MisconfigurationError, match="belongs to uid 12345, .* uid 65534"):
            Spool(spool_directory).check()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_publish(spool_directory: str, umask: int) -> None:
    before = os.umask(umask)
    try:
        Spool(spool_directory).publish(ENTRY)
    finally:
        os.umask(before)
    assert os.listdir(spool_directory) == ["a.example"]
    status = path_in(spool_directory).stat()
    assert stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o644
    assert path_in(spool_directory).read_bytes() == KEY_AUTHORIZATION.encode() + b"\n"


@pytest.mark.parametrize("text, name", [
    ("A.Example.", "a.example"),
    ("2001:DB8::0:1", "2001:db8::1"),
    (".".join(["a" * 63] * 3 + ["b" * 61]), ".".join(["a" * 63] * 3 + ["b" * 61])),
])
def test_file_names(spool_directory: str, text: str, name: str) -> None:
    entry = Entry(identifier.parse(text), KEY_AUTHORIZATION)
    Spool(spool_directory).publish(entry)
    assert os.listdir(spool_directory) == [name]
    Spool(spool_directory).withdraw(entry)
    assert os.listdir(spool_directory) == []


def test_a_reader_sees_all_or_nothing(spool_directory: str) -> None:
    spool = Spool(spool_directory)
    done = threading.Event()

    def publish_many() -> None:
        try:
            for number in range(400):
                spool.publish(Entry(identifier.parse(f"n{number}.example"), KEY_AUTHORIZATION))
        finally:
            done.set()

    writer = threading.Thread(target=publish_many)
    writer.start()
    seen = set()
    while True:
        last = done.is_set()
        for entry in os.scandir(spool_directory):
            if entry.name in seen or entry.name.startswith("."):
                continue
            assert stat.S_IMODE(entry.stat().st_mode) == 0o644
            assert pathlib.Path(entry.path).read_bytes() == ENTRY.content
            seen.add(entry.name)
        if last:
            break
    writer.join()
    assert len(seen) == 400


def test_a_failed_publish_leaves_nothing(spool_directory: str) -> None:
    path_in(spool_directory).mkdir()
    with pytest.raises(errors.PluginError, match=f"cannot write {path_in(spool_directory)}: Is a"):
        Spool(spool_directory).publish(ENTRY)
    assert os.listdir(spool_directory) == ["a.example"]


def test_publish_into_a_vanished_spool(tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.PluginError, match=f"cannot write {tmp_path}/no/a.example: No such"):
        Spool(str(tmp_path / "no")).publish(ENTRY)


def test_withdraw_removes_only_its_own(spool_directory: str) -> None:
    spool = Spool(spool_directory)
    other = Entry(ENTRY.identifier, OTHER_KEY_AUTHORIZATION)
    longer = Entry(ENTRY.identifier, KEY_AUTHORIZATION + "A")
    spool.withdraw(ENTRY)
    for foreign in (other, longer):
        spool.publish(foreign)
        spool.withdraw(ENTRY)
        assert path_in(spool_directory).read_bytes() == foreign.content
    path_in(spool_directory).write_bytes(ENTRY.content + ENTRY.content)
    spool.withdraw(ENTRY)
    assert path_in(spool_directory).exists()
    spool.publish(ENTRY)
    spool.withdraw(ENTRY)
    assert os.listdir(spool_directory) == []


def test_withdraw_leaves_what_is_no_file(spool_directory: str, tmp_path: pathlib.Path) -> None:
    spool, path = Spool(spool_directory), path_in(spool_directory)
    os.mkfifo(path)
    spool.withdraw(ENTRY)
    assert stat.S_ISFIFO(path.stat().st_mode)
    path.unlink()
    path.mkdir()
    spool.withdraw(ENTRY)
    assert path.is_dir()
    path.rmdir()
    (tmp_path / "target").write_bytes(ENTRY.content)
    path.symlink_to(tmp_path / "target")
    spool.withdraw(ENTRY)
    assert path.is_symlink() and (tmp_path / "target").exists()
