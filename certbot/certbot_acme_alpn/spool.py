# SPDX-License-Identifier: Apache-2.0
"""The spool: one entry for each identifier, which mod_acme_alpn reads at each handshake."""
import contextlib
import errno
import hashlib
import os
import secrets
import stat
import tempfile
from dataclasses import dataclass
from typing import Optional

from certbot import errors

from certbot_acme_alpn.identifier import Identifier

OPTION = "--acme-alpn-spool"
DEFAULT = "/var/spool/acme-alpn"

# httpd's children read the entry as another user. chmod sets this mode whatever the umask.
FILE_MODE = 0o644

# httpd ignores files whose name starts with a dot.
PREFIX = ".certbot-"


@dataclass(frozen=True)
class Entry:
    """The challenge of one identifier."""

    identifier: Identifier
    key_authorization: str

    @property
    def content(self) -> bytes:
        """The content of the file: one line."""
        return self.key_authorization.encode("ascii") + b"\n"

    @property
    def digest(self) -> bytes:
        """What the challenge certificate carries (RFC 8737 §3)."""
        return hashlib.sha256(self.key_authorization.encode("ascii")).digest()


class Spool:
    """A directory that mod_acme_alpn reads."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def check(self) -> None:
        """Refuse a directory whose entries httpd would not find or not accept."""
        try:
            status = os.stat(self.directory)
        except FileNotFoundError as error:
            raise errors.NoInstallationError(
                f"the spool {self.directory} does not exist: install mod_acme_alpn, which creates "
                f"it, or name the directory of httpd's AcmeAlpnSpool with {OPTION} DIR") from error
        except OSError as error:
            raise errors.MisconfigurationError(
                f"certbot cannot access the spool {self.directory}: {error.strerror}") from error
        if not stat.S_ISDIR(status.st_mode):
            raise errors.MisconfigurationError(
                f"the spool {self.directory} is not a directory: name the directory of httpd's "
                f"AcmeAlpnSpool with {OPTION}")
        self._check_mode(status)
        self._check_owner(status)
        self._check_writable(status)

    def _check_mode(self, status: os.stat_result) -> None:
        # Root's group too: with an ACL the group bits are the mask for all users that it names.
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise errors.MisconfigurationError(
                f"the spool {self.directory} has mode {stat.S_IMODE(status.st_mode):04o}, so its "
                "group, others or users of its ACL can write to it. They could get certificates "
                "for every name of this server, so httpd ignores this spool. Run: chmod go-w "
                f"{self.directory}")

    def _check_owner(self, status: os.stat_result) -> None:
        user = os.geteuid()
        if user not in (0, status.st_uid):
            raise errors.MisconfigurationError(
                f"the spool {self.directory} belongs to uid {status.st_uid}, and certbot runs as "
                f"uid {user}: httpd accepts only files of root or of the owner of the directory. "
                "Run certbot as that owner, or chown the directory")

    def _check_writable(self, status: os.stat_result) -> None:
        """Try it: the mode does not show mounts, attributes and security modules."""
        try:
            os.unlink(self._write_aside(b""))
        except OSError as error:
            raise errors.MisconfigurationError(
                f"the spool {self.directory} (uid {status.st_uid}, mode "
                f"{stat.S_IMODE(status.st_mode):04o}) is not writable by the user that certbot "
                f"runs as (uid {os.geteuid()}): {self._cause(error)}") from error

    def _cause(self, error: OSError) -> str:
        """The system's error, and where it may come from."""
        cause = {
            errno.EROFS: " (a read-only mount, or ProtectSystem in certbot's systemd unit: then "
                         f"that unit needs ReadWritePaths={self.directory})",
            errno.EPERM: " (lsattr -d shows whether the spool or the file is immutable)",
        }.get(error.errno or 0, "")
        return f"{error.strerror}{cause}"

    def publish(self, entry: Entry) -> None:
        """Add the entry in one step: httpd sees all of it or nothing."""
        path = self._path(entry)
        try:
            temporary = self._write_aside(entry.content)
            try:
                os.rename(temporary, path)
            except OSError:
                os.unlink(temporary)
                raise
        except OSError as error:
            raise errors.PluginError(
                f"cannot write {path}: {self._cause(error)}") from error

    def _write_aside(self, content: bytes) -> str:
        # A name without the identifier, whose 253 bytes leave no room for a suffix.
        descriptor, temporary = tempfile.mkstemp(prefix=PREFIX, dir=self.directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), FILE_MODE)
        except BaseException:
            os.unlink(temporary)
            raise
        return temporary

    def withdraw(self, entry: Entry) -> None:
        """Remove the entry, unless another ACME client has removed or replaced it."""
        path = self._path(entry)
        try:
            if _holds(path, entry.content):
                self._remove_own(path, entry)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise errors.PluginError(
                f"cannot remove {path}: {self._cause(error)}") from error

    def _remove_own(self, path: str, entry: Entry) -> None:
        # Another client may rename its entry into place after the comparison: compare it again.
        # mkstemp would fail on a full file system, from which the entry must go, too.
        aside = os.path.join(self.directory, f"{PREFIX}{secrets.token_hex(8)}")
        os.rename(path, aside)
        is_own = False
        try:
            is_own = _holds(aside, entry.content)
        finally:
            if not is_own:
                _put_back(aside, path)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(aside)

    def state(self, entry: Entry) -> Optional[str]:
        """What happened to an entry after publish; None while it is in the spool."""
        path = self._path(entry)
        try:
            return None if _holds(path, entry.content) else (
                f"another ACME client has replaced {path}: use one ACME client for this name")
        except FileNotFoundError:
            return f"{path} is gone: another ACME client or a clean-up job has removed it"
        except OSError as error:
            return f"{path} cannot be read: {error.strerror}"

    def _path(self, entry: Entry) -> str:
        return os.path.join(self.directory, entry.identifier.text)


def _put_back(aside: str, path: str) -> None:
    try:
        os.link(aside, path, follow_symlinks=False)
    except FileExistsError:
        pass  # a third, newer entry: keep that
    except OSError:
        os.rename(aside, path)  # no links on this file system, or to another user's file


def _holds(path: str, content: bytes) -> bool:
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return False
    # Another process may replace the file now: follow no link, and wait for no FIFO's writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags), "rb") as file:
        return file.read(len(content) + 1) == content
