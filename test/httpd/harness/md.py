"""Servers with mod_md, and the challenges that it has put into its store."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import poll
from .acme import Pebble
from .pki import Authority
from .server import MODULES, Httpd
from .spool import KeyAuthorization
from .upstream import certificate

# The CA of a mod_md that asks none: its domains are renewed by hand.
NOWHERE = "https://127.0.0.1:1/directory"

# mod_md before or after this module in the configuration: hooks of one place run in the order of loading.
ORDERS = ("before", "after")

# What mod_md calls the two files of a challenge for each type of key (md_acme_authz.c, md_crypt.c).
CERTIFICATE, KEY = "acme-tls-alpn-01-pubcert{}.pem", "acme-tls-alpn-01-privkey{}.pem"
KINDS = {"rsa": "", "p256": ".secp256r1"}


class DualPebble(Pebble):
    """A Pebble that validates http-01 too."""

    def __init__(self, directory: Path, authority: Authority, tls_port: int, http_port: int) -> None:
        self._http_port = http_port
        super().__init__(directory, authority, tls_port)

    def _settings(self, authority: Authority, tls_port: int) -> dict[str, object]:
        return {**super()._settings(authority, tls_port), "httpPort": self._http_port}


@dataclass(frozen=True)
class Store:
    """mod_md's store of one server."""

    path: Path

    def put_challenge(self, name: str, pem: bytes, kind: str = "rsa") -> None:
        """A live challenge for the name, answered with this certificate and its key, which is of that kind."""
        directory = self.path / "challenges" / name
        directory.mkdir(mode=0o755)
        for file in (CERTIFICATE, KEY):
            path = directory / file.format(KINDS[kind])
            path.write_bytes(pem)
            path.chmod(0o644)

    def publish(self, name: str, kind: str = "rsa") -> KeyAuthorization:
        """A live challenge for the name, as mod_md makes it."""
        value = KeyAuthorization.new()
        self.put_challenge(name, certificate([name], value.digest, kind=kind), kind)
        return value

    def remove_challenge(self, name: str) -> None:
        directory = self.path / "challenges" / name
        for file in list(directory.iterdir()):
            file.unlink()
        directory.rmdir()


def trust_ca(httpd: Httpd, authority: Authority, port_map: str) -> None:
    """Let mod_md, which asks its CA as httpd's User, who may not look into pytest's directories, find the CA's
    certificate; and tell it (MDPortMap) which ports the CA validates."""
    trust = httpd.root / "ca.pem"
    trust.write_bytes(authority.root.read_bytes())
    httpd.server_lines += [f"MDCACertificateFile {trust}", f"MDPortMap {port_map}"]


def wait_for_certificate(httpd: Httpd, name: str, timeout: float = poll.DEADLINE) -> None:
    """Until mod_md has one that the next reload activates."""
    httpd.log.expect(pattern=f"AH10059: The Managed Domain {re.escape(name)} has been setup", timeout=timeout)


def load_mod_md(httpd: Httpd, order: str, names: Iterable[str], ca: str | None = None) -> Store:
    """Load it and give it these domains, which it renews by itself if it is told the CA's directory (a URL)."""
    store = Store(httpd.root / "md")
    load = f"LoadModule md_module {MODULES}/mod_md.so"
    if order == "before":
        httpd.modules.append("md")
        httpd.module_last = True
    else:
        httpd.server_lines.append(load)
    httpd.server_lines += [
        f"MDStoreDir {store.path}",
        f"MDCertificateAuthority {ca or NOWHERE}",
        "MDCertificateAgreement accepted",
        "MDContactEmail admin@example.test",
        f"MDRenewMode {'auto' if ca else 'manual'}",
        *(f"MDomain {name}" for name in names),
    ]
    return store
