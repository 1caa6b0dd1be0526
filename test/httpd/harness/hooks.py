"""Debian's ACME clients that are given hooks: dehydrated and uacme, as root or as another user."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import commands, poll
from .acme import Pebble
from .server import REPOSITORY

TOOL = Path(os.environ.get("ACME_ALPN_TOOL", REPOSITORY / "acme-alpn"))
HOOKS = REPOSITORY / "conf" / "hooks"
CLIENT_TIMEOUT = 300.0

# libcurl trusts what the system trusts. The client sees the CA of the tests in its place, and nobody else does.
_SYSTEM_TRUST = "/etc/ssl/certs/ca-certificates.crt"
_TRUSTING = ("unshare", "--mount", "sh", "-c", f'mount --bind "$0" {_SYSTEM_TRUST} && exec "$@"')


def as_user(uid: int) -> list[str]:
    """The beginning of a command that root runs as this user, in no group but its own."""
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]


def path_with(directory: Path) -> str:
    return f"{directory}:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class HookClient:
    """A client with its own directory, in which the tool and the hook are too: `uid` may be anybody. What each can do:
    `register`, `issue` names, and tell where a `certificate` is."""

    home: Path
    pebble: Pebble
    spool: Path
    check: str
    uid: int = 0
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home.mkdir(mode=0o755)
        programs = self.home / "bin"
        programs.mkdir(mode=0o755)
        for program in (TOOL, HOOKS / self.name):
            Path(shutil.copy(program, programs)).chmod(0o755)
        os.chown(self.home, self.uid, self.uid)

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    @property
    def hook(self) -> Path:
        return self.home / "bin" / self.name

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the client; stdout and stderr come back as one text."""
        return commands.run(
            [*_TRUSTING, self.pebble.trust, *as_user(self.uid), f"/usr/bin/{self.name}", *arguments],
            CLIENT_TIMEOUT * poll.FACTOR,
            cwd=self.home,
            env={
                "HOME": str(self.home),
                "TMPDIR": str(self.home),  # dehydrated leaves files there
                "PATH": path_with(self.home / "bin"),
                "ACME_ALPN_SPOOL": str(self.spool),
                "ACME_ALPN_CHECK": self.check,
                **self.environment,
            },
        )


@dataclass
class Dehydrated(HookClient):
    """dehydrated; with `chain` it calls the hook once for all names."""

    chain: bool = False

    def register(self) -> None:
        settings = {
            "CA": self.pebble.url,
            "CHALLENGETYPE": "tls-alpn-01",
            "HOOK": str(self.hook),
            "HOOK_CHAIN": "yes" if self.chain else "no",
            "BASEDIR": str(self.home),
            "KEY_ALGO": "prime256v1",
            # Of the account's key, which some versions take for the certificate's alone. 4096 bits take ten seconds.
            "ACCOUNT_KEYSIZE": "2048",
            "KEYSIZE": "2048",
        }
        (self.home / "config").write_text("".join(f'{key}="{value}"\n' for key, value in settings.items()))
        done = self._dehydrated("--register", "--accept-terms")
        assert done.returncode == 0, done.stdout

    def _dehydrated(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("--config", str(self.home / "config"), *arguments)

    def issue(self, names: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return self._dehydrated("--cron", "--force", "--domain", " ".join(names))

    def certificate(self, name: str) -> Path:
        return self.home / "certs" / name / "cert.pem"


@dataclass
class Uacme(HookClient):
    """uacme, which says which challenges it hands to the hook."""

    def register(self) -> None:
        done = self._uacme("--yes", "new")
        assert done.returncode == 0, done.stdout

    def _uacme(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        common = ["--verbose", "--acme-url", self.pebble.url, "--confdir", str(self.home / "uacme")]
        return self.run(*common, "--type", "EC", *arguments)

    def issue(self, names: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return self._uacme("--force", "--hook", str(self.hook), "issue", *names)

    def certificate(self, name: str) -> Path:
        return self.home / "uacme" / name / "cert.pem"
