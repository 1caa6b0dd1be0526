#!/usr/bin/python3
"""Latency of a challenge handshake as its client sees it: from the spool, and from a store.

    test/bench/lookup_latency.py [--count 1000]

One handshake after the other, with the TCP connection; redis-server is a private one on loopback.
test/bench/relay_latency.py has the relay. Set ACME_ALPN_MPM for the MPM.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "httpd"))

from harness.pki import Authority
from harness.redis import Redis
from harness.server import MPM, Httpd
from relay_latency import NAME, measure


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=1000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as directory:
        authority = Authority(Path(directory))
        with Redis(authority=authority) as redis, Httpd() as httpd:
            identity = authority.issue("client.test")
            tls = f"cafile={authority.root} certfile={identity.certificate} keyfile={identity.key}"
            stores = {
                "tcp": redis.url,
                "socket": f"unix://{redis.socket}",
                "tls": f"rediss://localhost:{redis.tls_port} timeout=1s {tls}",
            }
            for name, store in {"spool": "none", **stores}.items():
                lines = [f"AcmeAlpnStore {store}"]
                httpd.vhost(f"{name}.{NAME}", credentials=[authority.issue(f"{name}.{NAME}")], lines=lines)
            httpd.start()
            print(f"mpm={MPM} spool:      {measure(httpd, httpd.spool.publish(f'spool.{NAME}'), count, f'spool.{NAME}')}")
            for name in stores:
                value = redis.publish(f"{name}.{NAME}")
                print(f"mpm={MPM} store, {name}: {measure(httpd, value, count, f'{name}.{NAME}')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
