"""Handshakes for challenges at a fixed rate, whether or not there is an answer."""

from __future__ import annotations

from .client import Address
from .load import Load
from .pki import Authority
from .server import Httpd
from .upstream import Upstream

SITE = "site.test"
# The server has these, and the upstream is asked for them.
CONFIGURED = tuple(f"configured{number}.test" for number in range(20))
# A name of this vhost is asked for nowhere else.
ALONE = "alone.test"

# What may be under way at once; beyond that the rate falls.
MOST = 200


def server(httpd: Httpd, authority: Authority, upstream: Upstream) -> Httpd:
    """One whose upstream is asked for any name, but for what ends in the vhost ALONE."""
    httpd.log.allow("AALPN0102")
    directive = f"AcmeAlpnUpstream {upstream} timeout=1s any-name"
    httpd.vhost(SITE, *CONFIGURED, credentials=[authority.issue(SITE)], lines=[directive])
    httpd.vhost(ALONE, credentials=[authority.issue(ALONE)])
    return httpd.start()


def storm(address: Address, rate: int, seconds: int, names: str = "random", *, relayed: bool = True) -> Load:
    """Random names, configured ones, or (not `relayed`) one that no upstream is asked for."""
    if not relayed:
        asked = (ALONE,)
    elif names == "configured":
        asked = CONFIGURED
    else:
        asked = tuple(f"random{number}.test" for number in range(rate * seconds))
    return Load(address, [(name, None) for name in asked], seconds=seconds, threads=MOST, rate=rate)
