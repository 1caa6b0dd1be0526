"""A server in a mount namespace of its own, where a test mounts what nobody else shall see."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .server import Httpd
from .spool import Spool

WRAPPER = "ACME_ALPN_HTTPD_WRAPPER"


class Namespace:
    """The mount namespace of a server that `start` has started; it ends with the server."""

    def __init__(self, httpd: Httpd) -> None:
        self._httpd = httpd

    @classmethod
    def start(cls, httpd: Httpd, monkeypatch: pytest.MonkeyPatch) -> Namespace:
        monkeypatch.setenv(WRAPPER, f"unshare --mount {os.environ.get(WRAPPER, '')}")
        httpd.start()
        return cls(httpd)

    def _run(self, *command: str) -> None:
        subprocess.run(["nsenter", f"--mount=/proc/{self._httpd.pid}/ns/mnt", *command], check=True)

    def mount_tmpfs(self, path: Path, options: str) -> Spool:
        """Mount an empty file system; the spool that is returned reaches into the namespace."""
        self._run("mount", "-t", "tmpfs", "-o", f"{options},mode=755", "tmpfs", str(path))
        return Spool(Path(f"/proc/{self._httpd.pid}/root{path}"))

    def unmount(self, path: Path) -> None:
        self._run("umount", str(path))


