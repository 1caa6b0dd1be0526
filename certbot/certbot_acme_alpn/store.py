# SPDX-License-Identifier: Apache-2.0
"""The store that a fleet shares. acme-alpn(1) connects to it, and reads its URL as httpd does."""
import os
import shutil
import subprocess
from typing import Optional

from certbot import errors

from certbot_acme_alpn.spool import OPTION, Entry

PROGRAM = "acme-alpn"
# Searched after PATH: cron's PATH may lack the second.
DIRECTORIES = ("/usr/bin", "/usr/local/bin")

# Seconds. The program obeys the URL's time-out, which is at most 60 s.
TIMEOUT = 90

WRONG_USAGE = 2
OTHER_VALUE = 1


def is_url(text: str) -> bool:
    """Whether this is the URL of a store rather than a path."""
    return text.startswith(("redis://", "rediss://", "unix://"))


class Store:
    """The counterpart of Spool for a store."""

    def __init__(self, url: str) -> None:
        self._url = url

    def check(self) -> None:
        """Find out whether the store accepts commands, by removing an entry that cannot exist."""
        self._run("remove", "acme-alpn.invalid", "0" * 64)

    def publish(self, entry: Entry) -> None:
        """Add the entry with an expiry, and replace an older one."""
        self._run("add", entry.identifier.text, entry.key_authorization)

    def withdraw(self, entry: Entry) -> None:
        """Remove the entry, unless another ACME client has removed or replaced it."""
        self._run("remove", entry.identifier.text, entry.key_authorization, passes=OTHER_VALUE)

    def state(self, entry: Entry) -> Optional[str]:
        """None: httpd's answer shows what the store has."""

    def _run(self, *arguments: str, passes: int = 0) -> None:
        command = [_program(), "--spool", self._url, *arguments]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=TIMEOUT, encoding="utf-8", errors="replace", check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise errors.PluginError(f"the store: {PROGRAM} failed: {error}") from error
        if done.returncode in (0, passes):
            return
        text = done.stdout.strip().replace(f"{PROGRAM}: ", "")
        if done.returncode == WRONG_USAGE:
            raise errors.MisconfigurationError(f"{OPTION}: {text}")
        subject = "" if text.startswith("the store's ") else "the store "
        raise errors.PluginError(f"{subject}{text or f'failed (code {done.returncode})'}")


def _program() -> str:
    # An empty part of PATH would be the working directory.
    given = os.environ.get("PATH", "").split(os.pathsep)
    path = os.pathsep.join(filter(None, (*given, *DIRECTORIES)))
    program = shutil.which(PROGRAM, path=path)
    if program is None:
        raise errors.NoInstallationError(
            f"{OPTION} names a store, for which the plugin needs the program {PROGRAM}: run "
            f"apt-get install {PROGRAM}, or make install in mod_acme_alpn's sources")
    return program
