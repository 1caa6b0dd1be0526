"""Handshakes for challenges at a fixed rate, whether or not there is an answer."""

from __future__ import annotations

from .client import Address
from .load import Load
from .pki import Authority
from .server import Httpd

SITE = "site.test"
# The server has these, and its upstreams are asked for them.
CONFIGURED = tuple(f"configured{number}.test" for number in range(20))
# A name of this vhost is asked for nowhere else.
ALONE = "alone.test"

# What may be under way at once; beyond that the rate falls.
MOST = 200


def server(httpd: Httpd, authority: Authority, directive: str) -> Httpd:
    """One that asks a store or an upstream for any name, but for what ends in the vhost ALONE."""
    httpd.log.allow("AALPN0102")
    httpd.vhost(SITE, *CONFIGURED, credentials=[authority.issue(SITE)], lines=[directive])
    httpd.vhost(ALONE, credentials=[authority.issue(ALONE)])
    return httpd.start()


def storm(address: Address, rate: int, seconds: int, names: str = "random", *, asked: bool = True) -> Load:
    """Random names, configured ones, or (not `asked`) one that is looked for in the spool alone."""
    if not asked:
        wanted = (ALONE,)
    elif names == "configured":
        wanted = CONFIGURED
    else:
        wanted = tuple(f"random{number}.test" for number in range(rate * seconds))
    return Load(address, [(name, None) for name in wanted], seconds=seconds, threads=MOST, rate=rate)


def ordinary(httpd: Httpd, authority: Authority, seconds: int, rate: int | None = None) -> Load:
    """Ordinary requests, at that rate or as many as there can be."""
    return Load(httpd.address(), [(SITE, None)], seconds=seconds, threads=2, rate=rate, trust=authority.root)
