# SPDX-License-Identifier: Apache-2.0
"""The store that a fleet shares. acme-alpn(1) speaks with it, and reads its URL as httpd does."""
import os
import shutil
import subprocess
from typing import Optional

from certbot import errors

from certbot_acme_alpn.spool import OPTION, Entry

PROGRAM = "acme-alpn"
# Besides certbot's PATH: cron's may lack the second.
DIRECTORIES = ("/usr/bin", "/usr/local/bin")

# Seconds. The program has a time-out of its own: the URL's, which is at most 60 s.
TIMEOUT = 90

WRONG_USAGE = 2
OTHER_VALUE = 1


def is_url(text: str) -> bool:
    """Whether this is meant as the URL of a store, rather than as a path."""
    return text.startswith(("redis://", "rediss://", "unix://"))


class Store:
    """What Spool is for a directory."""

    def __init__(self, url: str) -> None:
        self._url = url

    def check(self) -> None:
        """See now whether the store lets us in, by removing what no client can have put there."""
        self._run("remove", "acme-alpn.invalid", "0" * 64)

    def publish(self, entry: Entry) -> None:
        """Put the entry there, in place of any that there is, with an expiry."""
        self._run("add", entry.identifier.text, entry.key_authorization)

    def withdraw(self, entry: Entry) -> None:
        """Remove the entry, unless it is gone or another client's has taken its place."""
        self._run("remove", entry.identifier.text, entry.key_authorization, passes=OTHER_VALUE)

    def state(self, entry: Entry) -> Optional[str]:
        """Nothing: what httpd answers shows what is in the store."""

    def _run(self, *arguments: str, passes: int = 0) -> None:
        command = [_program(), "--spool", self._url, *arguments]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=TIMEOUT, encoding="utf-8", errors="replace", check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise errors.PluginError(f"{PROGRAM}, which speaks with the store: {error}") from error
        if done.returncode in (0, passes):
            return
        text = done.stdout.strip().replace(f"{PROGRAM}: ", "")
        if done.returncode == WRONG_USAGE:
            raise errors.MisconfigurationError(f"{OPTION}: {text}")
        subject = "" if text.startswith("the store's ") else "the store "
        raise errors.PluginError(f"{subject}{text or f'failed (code {done.returncode})'}")


def _program() -> str:
    # Without empty parts, which stand for the working directory.
    given = os.environ.get("PATH", "").split(os.pathsep)
    path = os.pathsep.join(filter(None, (*given, *DIRECTORIES)))
    program = shutil.which(PROGRAM, path=path)
    if program is None:
        raise errors.NoInstallationError(
            f"{OPTION} names a store, and {PROGRAM}, which speaks with it, is not installed: "
            f"apt-get install {PROGRAM}, or make install in mod_acme_alpn's sources")
    return program
