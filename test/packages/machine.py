"""A Debian of its own: a throw-away copy of a root, with processes and mounts of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "test" / "httpd"))

from harness import commands, poll  # noqa: E402

ROOTS = REPOSITORY / "test" / "roots"
LIFETIME = 600
COMMAND_TIMEOUT = 300.0

ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
}


class Machine:
    """`directory` on this side is /results in there; the network is that of whoever started it."""

    def __init__(self, root: str, directory: Path, sources: Path | None = None) -> None:
        self.directory = directory
        self.environment = dict(ENVIRONMENT)
        tarball = directory / "source.tar"
        if sources:
            tarball.write_bytes(sources.read_bytes())
        else:
            tarfile.open(tarball, "w").close()
        # The first process reaps what daemons leave behind, and makes what each start of a Debian makes.
        stay = "mkdir -m 1777 /run/lock && touch /results/ready; while sleep 60; do :; done"
        self._command: list[str | Path] = ["bash", "-c", '. "$0" && isolated "$@"', ROOTS / "isolated.sh", str(LIFETIME)]
        self._command += ["env", "-i", *self._variables(), ROOTS / "enter", root, directory, "/bin/sh", "-c", stay]
        self._process: subprocess.Popen[bytes] | None = None
        self._init = 0

    def _variables(self) -> list[str]:
        return [f"{name}={value}" for name, value in self.environment.items()]

    def __enter__(self) -> Machine:
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
        poll.until(self._started, poll.DEADLINE, "the machine starts")
        return self

    def __exit__(self, *_: object) -> None:
        # Whatever is in there dies with it.
        assert self._process
        self._process.kill()
        self._process.wait()

    def _started(self) -> bool:
        assert self._process
        if self._process.poll() is not None:
            raise ChildProcessError(f"the machine ended with {self._process.returncode}")
        if not (self.directory / "ready").exists():
            return False
        self._init = _first_in_another_namespace(self._process.pid)
        return bool(self._init)

    def attempt(self, script: str, directory: str = "/root") -> subprocess.CompletedProcess[str]:
        """Run a shell script in there; stdout and stderr come back as one text."""
        return commands.run(
            ["nsenter", f"--target={self._init}", "--mount", "--pid", "env", "-i", *self._variables()]
            + ["/bin/sh", "-c", 'cd "$0" && eval "$1"', directory, script],
            COMMAND_TIMEOUT * poll.FACTOR,
        )

    def run(self, script: str, directory: str = "/root") -> str:
        """Run a shell script that has to succeed; returns what it printed."""
        done = self.attempt(script, directory)
        assert done.returncode == 0, f"exit code {done.returncode} of {script!r}:\n{done.stdout[-8000:]}"
        return done.stdout

    def write(self, path: str, text: str) -> None:
        (self.directory / "file").write_text(text)
        self.run(f'mkdir -p "$(dirname {path})" && cp /results/file {path}')


def _first_in_another_namespace(pid: int) -> int:
    own = os.stat("/proc/self/ns/pid")
    waiting = [pid]
    while waiting:
        pid = waiting.pop()
        if not os.path.samestat(own, os.stat(f"/proc/{pid}/ns/pid")):
            return pid
        waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return 0
