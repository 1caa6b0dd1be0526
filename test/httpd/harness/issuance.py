"""What holds while a certificate is issued, whichever the client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509

from .acme import VALIDATIONS, Certbot
from .challenge import ANSWERED
from .pki import Authority
from .server import Httpd
from .traffic import Traffic

# The vhost that the ordinary requests are for, and the time between two of them.
SITE = "site.test"
PAUSE = 0.02

NAMES = ("one.test", "two.test", "three.test")
# In a vhost with a spool that belongs to STRANGER: no system has that user.
OWNED = "owned.test"
STRANGER = 61234
# In a vhost in which the module is off.
OFF = "off.test"
# The checks find it like the others, and the CA finds nobody.
ASTRAY = "astray.test"
NOBODY_THERE = "127.0.0.2"

_RESTARTED = "resuming normal operations"


@contextmanager
def undisturbed(httpd: Httpd, authority: Authority) -> Iterator[None]:
    """Neither a restart nor a reload, no ordinary request failed, nothing left in the spool."""
    pid, children = httpd.pid, httpd.children()
    starts = len(httpd.log.find(pattern=_RESTARTED))
    with Traffic(httpd.address(), SITE, authority.root, PAUSE) as traffic:
        yield
    traffic.assert_unharmed()
    assert (httpd.pid, httpd.children()) == (pid, children)
    assert len(httpd.log.find(pattern=_RESTARTED)) == starts
    assert httpd.spool.entries() == []


def assert_validated(
    httpd: Httpd, names: Iterable[str], checks: int, validated: Mapping[str, int] | None = None
) -> None:
    """httpd's own log agrees with what the client's checks and the CA did: once, or for several orders as often as the
    CA was asked to validate each name (see Pebble.validated)."""
    for name in names:
        times = 1 if validated is None else validated[name]
        assert times, f"{name} was not validated"
        httpd.log.expect(ANSWERED, f"identifier={name} ", count=times * (VALIDATIONS + checks))


def options(httpd: Httpd, *listeners: str) -> list[str]:
    """The plugin's options for this server."""
    checks = [f"--acme-alpn-check={httpd.listeners[listener]}" for listener in listeners]
    return [f"--acme-alpn-spool={httpd.spool.path}", *checks]


def issued(certbot: Certbot, name: str) -> x509.Certificate:
    return load(certbot.live(name) / "cert.pem")


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def names_of(certificate: x509.Certificate) -> set[str]:
    """The DNS names and the IP addresses."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return {*names.get_values_for_type(x509.DNSName), *addresses}
