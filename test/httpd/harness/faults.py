"""Functions of libraries that fail in a server's module while a test wants them to (faults/faults.c)."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .server import REPOSITORY, Httpd

SOURCE = REPOSITORY / "test" / "httpd" / "faults" / "faults.c"


class Faults:
    """Make it before the server starts; the faults count at once."""

    def __init__(self, httpd: Httpd) -> None:
        self._directory = httpd.root / "faults"
        self._directory.mkdir(mode=0o755)
        library = httpd.root / "faults.so"
        _compile(library)
        # A sanitizer has to stay the first.
        before = httpd.variables().get("LD_PRELOAD", "")
        httpd.environment["LD_PRELOAD"] = f"{before}:{library}" if before else str(library)
        httpd.environment["ACME_ALPN_FAULTS"] = str(self._directory)

    def begin(self, *functions: str) -> None:
        for function in functions:
            (self._directory / function).touch()

    def end(self) -> None:
        for file in self._directory.iterdir():
            file.unlink()


def _compile(library: Path) -> None:
    flags = subprocess.run(
        ["pkg-config", "--cflags", "apr-1", "openssl"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.split()
    subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, SOURCE, *flags, "-ldl"], check=True)
