"""The spool on a real directory."""
import itertools
import os
import pathlib
import shutil
import stat
import subprocess
import threading
from typing import Optional

import pytest
from certbot import errors

from certbot_acme_alpn import identifier, spool as spool_module
from certbot_acme_alpn.spool import Entry, Spool
from challenge_certificates import KEY_AUTHORIZATION, OTHER_KEY_AUTHORIZATION
from conftest import RunInside

ENTRY = Entry(identifier.parse("a.example"), KEY_AUTHORIZATION)
NOBODY = 65534


def path_in(directory: str) -> pathlib.Path:
    return pathlib.Path(directory, ENTRY.identifier.text)


def test_paths(spool_directory: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "link").symlink_to(spool_directory)
    (tmp_path / "file").write_text("")
    Spool(str(tmp_path / "link")).check()
    with pytest.raises(errors.NoInstallationError, match="no does not exist.*-spool DIR"):
        Spool(str(tmp_path / "no")).check()
    with pytest.raises(errors.MisconfigurationError, match="/file is not a directory"):
        Spool(str(tmp_path / "file")).check()
    with pytest.raises(errors.MisconfigurationError, match="below: Not a directory"):
        Spool(str(tmp_path / "file" / "below")).check()


@pytest.mark.parametrize("mode, group, accepted", [
    (0o755, NOBODY, True),
    (0o775, 0, False),
    (0o775, NOBODY, False),
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
    with pytest.raises(errors.MisconfigurationError, match=f"has mode {mode:04o}.* go-w "):
        Spool(spool_directory).check()


def test_an_ordinary_user(spool_directory: str, as_nobody) -> None:
    spool, path = Spool(spool_directory), path_in(spool_directory)
    spool.publish(ENTRY)
    with as_nobody():
        with pytest.raises(errors.MisconfigurationError, match="belongs to uid 0, .* uid 65534"):
            spool.check()
        with pytest.raises(errors.PluginError, match=f"cannot write {path}: Permission denied"):
            spool.publish(ENTRY)
        with pytest.raises(errors.PluginError, match=f"cannot remove {path}: Permission denied"):
            spool.withdraw(ENTRY)
    assert os.listdir(spool_directory) == ["a.example"]
    os.chown(spool_directory, NOBODY, NOBODY)
    with as_nobody():
        spool.check()
        spool.publish(ENTRY)
    assert path.stat().st_uid == NOBODY
    spool.check()


def test_read_only(in_mount_namespace: RunInside, spool_directory: str) -> None:
    text = in_mount_namespace(
        f"mount --bind {spool_directory} {spool_directory}; "
        f"mount -o remount,bind,ro {spool_directory}",
        f"from certbot_acme_alpn.spool import Spool; Spool({spool_directory!r}).check()")
    assert "is not writable by the user that certbot runs as (uid 0): Read-only file system" in text
    assert f"ReadWritePaths={spool_directory})" in text


def test_withdraw_from_a_full_file_system(
        in_mount_namespace: RunInside, spool_directory: str) -> None:
    assert "['x']\n" == in_mount_namespace(
        f"mount -t tmpfs -o nr_inodes=3,mode=0755 spool {spool_directory}; cd {spool_directory}",
        "import os; from test_spool import ENTRY, Spool; spool = Spool(os.getcwd()); "
        "spool.publish(ENTRY); open('x', 'w').close(); spool.withdraw(ENTRY); print(os.listdir())")


def test_immutable(root: None, spool_directory: str) -> None:
    if not shutil.which("chattr") or subprocess.run(
            ["chattr", "+i", spool_directory], check=False).returncode:
        pytest.skip("there is no chattr, or this file system has no immutable directories")
    try:
        with pytest.raises(errors.MisconfigurationError, match="uid 0.: Operation not permit"):
            Spool(spool_directory).check()
        with pytest.raises(errors.PluginError, match="/a.example: Operation not permitted .lsattr"):
            Spool(spool_directory).publish(ENTRY)
    finally:
        subprocess.run(["chattr", "-i", spool_directory], check=True)
    Spool(spool_directory).check()
    assert os.listdir(spool_directory) == []


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_publish(spool_directory: str, umask: int) -> None:
    before = os.umask(umask)
    try:
        Spool(spool_directory).publish(ENTRY)
    finally:
        os.umask(before)
    assert os.listdir(spool_directory) == ["a.example"]
    assert path_in(spool_directory).stat().st_mode == stat.S_IFREG | 0o644
    assert path_in(spool_directory).read_bytes() == KEY_AUTHORIZATION.encode() + b"\n"


@pytest.mark.parametrize("name", ["2001:db8::1", ".".join(["a" * 63] * 3 + ["b" * 61])])
def test_file_names(spool_directory: str, name: str) -> None:
    entry = Entry(identifier.parse(name), KEY_AUTHORIZATION)
    Spool(spool_directory).publish(entry)
    assert os.listdir(spool_directory) == [name]
    Spool(spool_directory).withdraw(entry)
    assert os.listdir(spool_directory) == []


def test_a_reader_sees_all_or_nothing(spool_directory: str) -> None:
    names = [f"n{number}.example" for number in range(400)]

    def publish_many() -> None:
        for name in names:
            Spool(spool_directory).publish(Entry(identifier.parse(name), KEY_AUTHORIZATION))

    writer = threading.Thread(target=publish_many)
    writer.start()
    seen = set()
    is_over = False
    while not is_over:
        is_over = not writer.is_alive()
        for entry in os.scandir(spool_directory):
            if entry.name not in seen and not entry.name.startswith("."):
                assert stat.S_IMODE(entry.stat().st_mode) == 0o644
                assert pathlib.Path(entry.path).read_bytes() == ENTRY.content
                seen.add(entry.name)
    assert seen == set(names)


def test_a_failed_publish_leaves_nothing(spool_directory: str) -> None:
    path = path_in(spool_directory)
    path.mkdir()
    with pytest.raises(errors.PluginError, match=f"cannot write {path}: Is a"):
        Spool(spool_directory).publish(ENTRY)
    assert os.listdir(spool_directory) == ["a.example"]
    with pytest.raises(errors.PluginError, match=f"cannot write {path}/a.example/a.exa.*: No such"):
        Spool(f"{path}/a.example").publish(ENTRY)


def test_withdraw_removes_only_its_own(spool_directory: str) -> None:
    spool, path = Spool(spool_directory), path_in(spool_directory)
    spool.withdraw(ENTRY)
    for foreign in (f"{OTHER_KEY_AUTHORIZATION}\n", f"{KEY_AUTHORIZATION}A\n",
                    f"{KEY_AUTHORIZATION}\n" * 2):
        path.write_text(foreign)
        spool.withdraw(ENTRY)
        assert path.read_text() == foreign
    spool.publish(ENTRY)
    spool.withdraw(ENTRY)
    assert os.listdir(spool_directory) == []


@pytest.mark.parametrize("links, newest", [
    (True, None), (True, f"{KEY_AUTHORIZATION}B\n"), (False, None)])
def test_an_entry_that_comes_while_one_is_withdrawn_stays(
        spool_directory: str, monkeypatch: pytest.MonkeyPatch, links: bool,
        newest: Optional[str]) -> None:
    """Another client's between comparison and removal, and a third one's before that is put back."""
    spool, path = Spool(spool_directory), path_in(spool_directory)
    holds, comparisons = spool_module._holds, itertools.count()  # pylint: disable=protected-access

    def compare(compared: str, content: bytes) -> bool:
        result = holds(compared, content)
        rival = [f"{OTHER_KEY_AUTHORIZATION}\n", newest][min(next(comparisons), 1)]
        if rival is not None:
            (path.parent / ".rival").write_text(rival)
            os.rename(path.parent / ".rival", path)
        return result

    def refused(*_: object, **__: object) -> None:
        raise PermissionError

    spool.publish(ENTRY)
    monkeypatch.setattr(spool_module, "_holds", compare)
    if not links:
        monkeypatch.setattr(os, "link", refused)
    spool.withdraw(ENTRY)
    assert path.read_text() == (newest or f"{OTHER_KEY_AUTHORIZATION}\n")
    assert os.listdir(spool_directory) == ["a.example"]


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
