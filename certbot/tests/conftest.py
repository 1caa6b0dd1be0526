"""Fixtures shared by the tests."""
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import Callable, ContextManager, Iterator

import pytest

# Runs shell commands as root in a mount namespace of its own, then Python; returns what both print.
RunInside = Callable[[str, str], str]

SOURCE = pathlib.Path(__file__).parent.parent
NOBODY = 65534


@pytest.fixture(name="spool_directory")
def fixture_spool_directory() -> Iterator[str]:
    """A spool that any user can reach; pytest's own tmp_path is closed to others."""
    with tempfile.TemporaryDirectory(prefix="spool-") as directory:
        os.chmod(directory, 0o755)
        yield directory


@pytest.fixture(name="root")
def fixture_root() -> None:
    """For tests that give files away or become somebody else."""
    if os.geteuid() != 0:
        pytest.skip("only root can change owners and users")


@pytest.fixture(name="as_nobody")
def fixture_as_nobody(root: None) -> Callable[..., ContextManager[None]]:
    """A context in which this process has the rights of an ordinary user."""

    @contextlib.contextmanager
    def become(group: int = NOBODY) -> Iterator[None]:
        groups = os.getgroups()
        os.setgroups([])
        os.setegid(group)
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)
    return become


@pytest.fixture(name="in_mount_namespace")
def fixture_in_mount_namespace(root: None) -> RunInside:
    """What is mounted there is mounted nowhere else."""

    def run(commands: str, python: str) -> str:
        done = subprocess.run(
            ["unshare", "--mount", "--net", "sh", "-ec", f'{commands}; exec "$0" -c "$1"',
             sys.executable, python], text=True, timeout=300, check=False, cwd=SOURCE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": f"{SOURCE}:{SOURCE}/tests"})
        if done.stdout.startswith("unshare:"):
            pytest.skip(done.stdout)
        return done.stdout
    return run


@pytest.fixture(name="installed", scope="session")
def fixture_installed(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The plugin as pip installs it, in a directory of its own. A copy is built: pip leaves marks."""
    source = tmp_path_factory.mktemp("source") / "certbot"
    target = tmp_path_factory.mktemp("installed")
    shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
         "--no-build-isolation", "--root-user-action=ignore", "--target", target, source],
        check=True)
    return target
