"""certbot as a user who is not root."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .acme import CERTBOT, Certbot, Pebble
from .hooks import as_user


class StrangersCertbot(Certbot):
    """Debian's certbot run as `uid`; `home` is made for it, in a place that every user can reach."""

    def __init__(self, home: Path, plugin: Path, pebble: Pebble, uid: int) -> None:
        home.mkdir(mode=0o755)
        site = shutil.copytree(plugin, home / "site")
        super().__init__(home / "certbot", site, pebble, [*as_user(uid), CERTBOT])
        self.trust = Path(shutil.copy(pebble.trust, home / "trust.pem"))
        self.directory.mkdir()
        os.chown(self.directory, uid, uid)
