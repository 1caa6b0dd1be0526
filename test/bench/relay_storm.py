#!/usr/bin/python3
"""Relay storm: handshakes for a hanging upstream at a fixed rate, and what ordinary requests notice of it.

    test/bench/relay_storm.py [--seconds 10] [--rate 500] [--names random|configured]

Ordinary requests are counted for as long without the storm and with it, and with handshakes at the
same rate that no upstream is asked for: what is lost against those is the relay's share. Set
ACME_ALPN_MPM for the MPM.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "httpd"))

from harness.pki import Authority
from harness.server import MPM, Httpd
from harness.load import Load
from harness.storm import SITE, server, storm
from harness.upstream import Upstream


def ordinary(httpd: Httpd, authority: Authority, seconds: int) -> float:
    """Ordinary requests a second, of which none may fail."""
    with Load(httpd.address(), [(SITE, None)], seconds=seconds, threads=2, trust=authority.root) as load:
        summary = load.wait()
    assert summary.right == summary.handshakes, summary
    return summary.per_second


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--names", choices=("random", "configured"), default="random")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, Upstream() as upstream:
        authority = Authority(Path(directory))
        with Httpd() as httpd:
            server(httpd, authority, upstream)
            quiet = ordinary(httpd, authority, given.seconds)
            with storm(httpd.address(), given.rate, given.seconds, relayed=False) as load:
                without = ordinary(httpd, authority, given.seconds)
                refused = load.wait()
            with storm(httpd.address(), given.rate, given.seconds, given.names) as load:
                during = ordinary(httpd, authority, given.seconds)
                relayed = load.wait()
    print(f"relay storm: mpm={MPM} rate={given.rate} names={given.names} reached={relayed.per_second:.0f}/s")
    print(f"ordinary requests a second: quiet {quiet:.0f}, refused without a relay {without:.0f}, storm {during:.0f}")
    print(f"ratio to quiet {during / quiet:.2f}, to refused at {refused.per_second:.0f}/s {during / without:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
