"""What an ACME client does with the spool: write a dot-file, rename it, later unlink it."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from unittest import SkipTest


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True)
class KeyAuthorization:
    """A key authorization (RFC 8555, section 8.1) as some ACME client would get it."""

    text: str

    @classmethod
    def new(cls) -> KeyAuthorization:
        return cls(f"{_base64url(secrets.token_bytes(32))}.{_base64url(secrets.token_bytes(32))}")

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.text.encode()).digest()

    @property
    def digest_base64url(self) -> str:
        return _base64url(self.digest)


def name_in_acl(path: Path, uid: int, permissions: int) -> None:
    """What `setfacl --modify user:UID:PERMISSIONS` does with a file that has a mode alone: owner, user, group, mask, and
    other. stat shows the mask in place of the group's bits."""
    mode = path.stat().st_mode
    rights = [(1, mode >> 6), (2, permissions), (4, mode >> 3), (16, mode >> 3 | permissions), (32, mode)]
    value = b"".join(struct.pack("<HHI", tag, bits & 7, uid if tag == 2 else 0xFFFFFFFF) for tag, bits in rights)
    try:
        os.setxattr(path, "system.posix_acl_access", struct.pack("<I", 2) + value)
    except OSError as error:
        raise SkipTest(f"no ACLs at {path}: {error.strerror}") from error


class Spool:
    """A spool directory, made with the permissions that the contract asks for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self) -> Spool:
        self.path.mkdir()
        self.path.chmod(0o755)
        return self

    def publish(self, identifier: str, key_authorization: KeyAuthorization | None = None) -> KeyAuthorization:
        """Publish a (new) key authorization for the identifier and return it."""
        value = key_authorization or KeyAuthorization.new()
        self.write(identifier, value.text.encode() + b"\n")
        return value

    def write(self, identifier: str, content: bytes, *, mode: int = 0o644, age: float = 0) -> Path:
        """Put any content in place at once: what a reader sees is the old file or the new one."""
        descriptor, name = tempfile.mkstemp(prefix=".", dir=self.path)
        with open(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(descriptor, mode)
        if age:
            then = os.stat(name).st_mtime - age
            os.utime(name, (then, then))
        target = self.path / identifier
        os.rename(name, target)
        return target

    def withdraw(self, identifier: str) -> None:
        (self.path / identifier).unlink()

    def entries(self) -> list[str]:
        return sorted(entry.name for entry in self.path.iterdir())
