"""The packages themselves: how they were built, and what lintian says about them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import PACKAGES, Built
from machine import REPOSITORY


def test_build_runs_the_unit_tests(built: Built) -> None:
    passed, failed = (re.search(rf"(?m)^# {kind}: +(\d+)", built.log) for kind in ("PASS", "FAIL"))
    assert passed and int(passed[1]) > 0
    assert failed and int(failed[1]) == 0


def test_lintian_finds_no_error_and_no_warning(built: Built, tmp_path: Path) -> None:
    (changes,) = built.directory.glob("*.changes")
    command = ["lintian", "--allow-root", "--fail-on=error,warning", changes]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # it leaves files there
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert (done.returncode, re.findall(r"(?m)^[EW]: .*", done.stdout)) == (0, []), done.stdout


def test_version_is_the_same_everywhere(built: Built) -> None:
    header = (REPOSITORY / "include" / "acme_version.h").read_text()
    (version,) = re.findall(r'(?m)^#define ACME_VERSION "(.*)"$', header)
    (plugin,) = re.findall(r"(?m)^version = (.*)$", (REPOSITORY / "certbot" / "setup.cfg").read_text())
    assert plugin == version
    assert {built.field(package, "Version") for package in PACKAGES} == {version}


def test_module_depends_on_the_openssl_that_httpd_has(built: Built) -> None:
    depends = built.field("libapache2-mod-acme-alpn", "Depends")
    assert re.search(r"apache2-api-\d+-openssl", depends) and "libssl3" in depends


def test_plugins_sdist_builds_the_wheel_and_runs_its_tests(tmp_path: Path) -> None:
    """On this machine, offline; the whole suite runs from the tree."""
    setuptools = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    leftovers = shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(REPOSITORY / "certbot", tmp_path / "certbot", ignore=leftovers)
    subprocess.run([sys.executable, "-c", setuptools, tmp_path], cwd=tmp_path / "certbot", check=True)
    (sdist,) = tmp_path.glob("*.tar.gz")
    shutil.unpack_archive(sdist, tmp_path / "sdist")
    (source,) = (tmp_path / "sdist").iterdir()
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "wheel", "zip")
    (installed,) = (tmp_path / "wheel").rglob("LICENSE")
    assert (source / "LICENSE").read_text() == installed.read_text() == (REPOSITORY / "LICENSE").read_text()
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    for arguments in (["--collect-only"], ["tests/test_certificate.py"], ["tests/test_certbot.py", "-k", "shows"]):
        subprocess.run([*pytest, *arguments], cwd=source, check=True)
