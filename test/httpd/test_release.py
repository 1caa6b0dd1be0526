"""build/release writes a version into every file that carries one, and finds a file that has another."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from harness.server import REPOSITORY

PATTERNS = {
    "include/acme_version.h": r'^#define ACME_VERSION "(.*)"$',
    "CHANGES": r"^Changes with mod_acme_alpn (.*)$",
    "certbot/setup.cfg": r"^version = (.*)$",
    "debian/changelog": r"^mod-acme-alpn \((.*)\) unstable; urgency=medium$",
    "docs/acme-alpn.1": r'^\.TH ACME-ALPN 1 \S+ "mod_acme_alpn (.*)" "',
    "docs/mod_acme_alpn.8": r'^\.TH MOD_ACME_ALPN 8 \S+ "mod_acme_alpn (.*)" "',
}
SPEC = "rpm/mod_acme_alpn.spec.in"
CARRIERS = list(PATTERNS)
NEXT = "12.0.34"


def versions(tree: Path) -> dict[str, list[str]]:
    return {name: re.findall(pattern, (tree / name).read_text(), re.M) for name, pattern in PATTERNS.items()}


(VERSION,) = versions(REPOSITORY)[CARRIERS[0]]


def release(tree: Path, *arguments: str) -> tuple[int, str]:
    """On 9 February 2031, shortly before midnight in UTC."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1928447999", "TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8"}
    command = [tree / "build/release", *arguments]
    done = subprocess.run(command, cwd="/", env=environment, stderr=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stderr


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in [*CARRIERS, SPEC, "build/release"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, tmp_path / name)
    return tmp_path


def test_new_version_comes_into_every_file(tree: Path) -> None:
    assert release(tree, NEXT) == (0, "")
    earlier = versions(REPOSITORY)
    expected = {name: [NEXT] for name in CARRIERS}
    for name in ("CHANGES", "debian/changelog"):
        expected[name] += earlier[name]
        assert (tree / name).read_text().endswith((REPOSITORY / name).read_text())
    assert versions(tree) == expected


def test_date_comes_into_every_file_and_a_second_run_adds_nothing(tree: Path) -> None:
    for _ in range(2):
        assert release(tree, VERSION) == (0, "")
    assert versions(tree) == versions(REPOSITORY)
    for name in ("docs/acme-alpn.1", "docs/mod_acme_alpn.8"):
        assert (tree / name).read_text().splitlines()[0].split()[3] == "2031-02-09"
    changelog = re.findall(r"(?m)^ -- .* <\S+@\S+>  (.*)$", (tree / "debian/changelog").read_text())
    assert changelog[0] == "Sun, 09 Feb 2031 23:59:59 +0000"
    entries = re.findall(r"(?m)^\* (.*)$", (tree / SPEC).read_text())
    assert re.fullmatch(r"Sun Feb 09 2031 .* <\S+@\S+> - @PACKAGE_VERSION@-1", entries[0])


def test_what_reads_the_files_takes_the_version(tree: Path) -> None:
    assert release(tree, NEXT) == (0, "")
    setup = configparser.ConfigParser()
    setup.read(tree / "certbot/setup.cfg")
    assert setup["metadata"]["version"] == NEXT
    if parse := shutil.which("dpkg-parsechangelog"):
        command = [parse, "--file", tree / "debian/changelog", "--show-field", "Version"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == (f"{NEXT}\n", "")


def test_autoconf_notices_a_new_version(tree: Path) -> None:
    """It keeps what it has read in autom4te.cache."""
    shutil.copytree(REPOSITORY / "build/m4", tree / "build/m4")
    for name in ("aclocal.m4", "configure.ac"):
        shutil.copy2(REPOSITORY / name, tree / name)
    for version, seconds in ((VERSION, -10), (NEXT, 10)):  # autoconf compares whole seconds
        assert release(tree, version) == (0, "")
        header = tree / CARRIERS[0]
        os.utime(header, times=(header.stat().st_mtime + seconds,) * 2)
        subprocess.run(["autoconf", f"--output={version}"], cwd=tree, check=True)
        assert f"\nPACKAGE_VERSION='{version}'\n" in (tree / version).read_text()


@pytest.mark.parametrize("name", CARRIERS[1:])
def test_check_names_the_file_with_another_version(name: str, tree: Path) -> None:
    assert release(tree, "--check") == (0, "")
    (tree / name).write_text((tree / name).read_text().replace(VERSION, NEXT, 1))
    code, said = release(tree, "--check")
    assert code == 1 and said.startswith(f"{name} ") and NEXT in said and f"build/release {VERSION}" in said
    assert len(said.splitlines()) == 1


def test_check_finds_a_new_version_in_the_header_alone(tree: Path) -> None:
    header = tree / CARRIERS[0]
    header.write_text(header.read_text().replace(VERSION, NEXT))
    code, said = release(tree, "--check")
    assert code == 1 and {line.split()[0] for line in said.splitlines()} == set(CARRIERS[1:])


@pytest.mark.parametrize("arguments", [(), ("1.2",), ("1.2.3.4",), ("1.2.3-rc1",), ("v1.2.3",), ("1.2.3", "now")])
def test_what_is_no_version_changes_nothing(arguments: tuple[str, ...], tree: Path) -> None:
    code, said = release(tree, *arguments)
    assert code == 2 and said.startswith("usage: build/release VERSION")
    assert versions(tree) == versions(REPOSITORY)


def test_no_other_file_carries_the_version() -> None:
    """But for what was run by hand and a sample line, which are of some version; and tests, which have addresses."""
    command = ["git", "-C", REPOSITORY, "ls-files", "--cached", "--others", "--exclude-standard", ":!test", ":!*/tests"]
    files = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    written = re.compile(rf"(?<![\w.]){re.escape(VERSION)}(?![\w.])".encode())
    texts = {name: (REPOSITORY / name).read_bytes() for name in files if (REPOSITORY / name).is_file()}
    assert {name for name in texts if written.search(texts[name])} == {
        *CARRIERS, "docs/compatibility.md", "docs/messages.md",
    }
