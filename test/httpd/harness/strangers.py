"""Users who are not root, and certbot as one of them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .acme import CERTBOT, Certbot, Pebble
from .hooks import TOOL, as_user
from .server import PARENT


@contextmanager
def public_directory() -> Iterator[Path]:
    """A directory that every user can reach, as a checkout or pytest's own need not be."""
    with tempfile.TemporaryDirectory(prefix="acme-alpn-public-", dir=PARENT) as text:
        directory = Path(text)
        directory.chmod(0o755)
        yield directory


def public_tool(directory: Path) -> Path:
    """A copy of the tool, in a directory that every user can reach."""
    copy = Path(shutil.copy(TOOL, directory / "tool"))
    copy.chmod(0o755)
    return copy


class StrangersCertbot(Certbot):
    """Debian's certbot run as `uid`; `home` is made for it, in a place that every user can reach."""

    def __init__(self, home: Path, plugin: Path, pebble: Pebble, uid: int) -> None:
        home.mkdir(mode=0o755)
        site = shutil.copytree(plugin, home / "site")
        super().__init__(home / "certbot", site, pebble, [*as_user(uid), CERTBOT])
        self.trust = Path(shutil.copy(pebble.trust, home / "trust.pem"))
        self.directory.mkdir()
        os.chown(self.directory, uid, uid)
