"""What is not in Debian: other certbots, the newest Pebble and lego, from their registries, kept for the next run."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from . import commands
from .acme import skip_where_missing

CACHE = Path(os.environ.get("ACME_ALPN_VENVS", "/var/cache/acme-alpn-venvs"))
INSTALL_TIMEOUT = 400

# certbot 2 has no upper bounds on what it uses: 2.11 with what was there when it came out.
CERTBOTS = {
    "2.11": ("certbot==2.11.0", "acme==2.11.0", "josepy==1.14.0", "pyOpenSSL==24.1.0", "cryptography<43", "setuptools<80"),
    "4": ("certbot>=4,<5", "acme>=4,<5"),
    "5": ("certbot>=5.3,<6", "acme>=5.3,<6"),
}
ANSIBLE = ("ansible", "cryptography")
# What ACME_ALPN_WITHOUT calls it.
PYPI = "pypi"

LEGO = "github.com/go-acme/lego/v5@latest"
PEBBLE = "github.com/letsencrypt/pebble/v2/cmd/pebble@latest"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Tests run side by side, and each thing is made once."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: Sequence[str | Path], **environment: str) -> None:
    done = commands.run(command, INSTALL_TIMEOUT, env={**os.environ, **environment})
    if done.returncode != 0:
        raise OSError(done.stdout.strip()[-500:])


def _made(name: str, make: list[tuple[Sequence[str | Path], dict[str, str]]], target: Path, last: Path) -> Path:
    """`target`, made by these commands unless it is there; skips the test where they fail."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with locked(CACHE / f".{name}.lock"):
        if last.exists():
            return target
        shutil.rmtree(target, ignore_errors=True)
        try:
            for command, environment in make:
                _run(command, **environment)
        except (OSError, subprocess.TimeoutExpired) as error:
            shutil.rmtree(target, ignore_errors=True)
            pytest.skip(f"{name} could not be installed: {error}")
        last.touch()
    return target


def _venv(name: str, requirements: Sequence[str]) -> Path:
    """The programs that these packages bring, in a virtual environment of their own."""
    skip_where_missing(PYPI)
    target = CACHE / name
    python = target / "bin" / "python"
    make: list[tuple[Sequence[str | Path], dict[str, str]]] = [
        (["/usr/bin/python3", "-m", "venv", target], {}),
        ([python, "-m", "pip", "install", "--quiet", "--retries=1", "--disable-pip-version-check", *requirements], {}),
    ]
    return _made(name, make, target, target / "complete") / "bin"


def certbot(version: str) -> Path:
    """The program of the newest certbot of this version."""
    return _venv(f"certbot-{version}", CERTBOTS[version]) / "certbot"


def ansible_playbook() -> Path:
    """The newest one that goes with this Python, with its collections and what those of cryptography use."""
    return _venv("ansible", ANSIBLE) / "ansible-playbook"


def _go(what: str) -> str:
    go = shutil.which("go")
    if go is None:
        pytest.skip(f"{what} could not be built: go is not installed")
    return go


def _newest(name: str, package: str, target: Path) -> Path:
    """The program of a Go module's newest version, built with go where that is installed."""
    go = _go(f"the newest {name}")
    with tempfile.TemporaryDirectory() as work:
        environment = {"GOBIN": str(target), "GOPATH": work, "GOFLAGS": "-modcacherw -buildvcs=false"}
        return _made(name, [([go, "install", package], environment)], target, target / "complete") / name


def newest_pebble() -> Path:
    return _newest("pebble", PEBBLE, CACHE / "pebble")


def newest_lego() -> Path:
    return _newest("lego", LEGO, CACHE / "lego-5")


def build_go(directory: Path, source: str, package: str) -> Path:
    """The program of this source, which uses the package; skips the test where that cannot be had."""
    go, environment = _go(package), {"GOPATH": str(directory / "go"), "GOFLAGS": "-modcacherw -buildvcs=false"}
    (directory / "main.go").write_text(source)
    try:
        for command in (["mod", "init", "page"], ["get", f"{package}@latest"]):
            _run([go, "-C", directory, *command], **environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"{package} could not be fetched: {error}")
    _run([go, "-C", directory, "build"], **environment)
    return directory / "page"
