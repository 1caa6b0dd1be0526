#!/usr/bin/python3
"""Latency of a challenge handshake as its client sees it: from the spool, and relayed.

    test/bench/relay_latency.py [--count 1000]

The upstreams are another httpd with this module, and `openssl s_server`, which acme.sh runs. One
handshake after the other; the times are with the TCP connection. Set ACME_ALPN_MPM for the MPM.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "httpd"))

from harness import poll
from harness.load import Load
from harness.pki import Authority
from harness.server import MPM, Httpd
from harness.spool import KeyAuthorization
from harness.upstream import certificate

NAME = "relayed.test"


def measure(httpd: Httpd, value: KeyAuthorization, count: int, name: str = NAME) -> str:
    with Load(httpd.address(), [(name, value)], count=count, records=True) as load:
        summary = load.wait()
        assert summary.right == count, summary
        times = sorted((shake.end - shake.begin) * 1000 for shake in load.records())
    last = times[int(len(times) * 0.99)]
    return f"median {statistics.median(times):.2f} ms, 99 % {last:.2f} ms, worst {times[-1]:.2f} ms of {len(times)}"


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def node(authority: Authority, upstream: str = "") -> Httpd:
    httpd = Httpd()
    lines = [f"AcmeAlpnUpstream {upstream}"] if upstream else []
    httpd.vhost(NAME, credentials=[authority.issue(NAME)], lines=lines)
    return httpd.start()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=1000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as directory:
        authority, value = Authority(Path(directory)), KeyAuthorization.new()
        with node(authority) as responder:
            responder.spool.publish(NAME, value)
            print(f"mpm={MPM} spool:              {measure(responder, value, count)}")
            with node(authority, str(responder.listeners["main"])) as relaying:
                print(f"mpm={MPM} relay to httpd:     {measure(relaying, value, count)}")
            port = responder.address()[1]
        # The same port, which is free again.
        pem = Path(directory) / "challenge.pem"
        pem.write_bytes(certificate([NAME], value.digest))
        command = ["openssl", "s_server", "-quiet", "-www", "-cert", str(pem), "-key", str(pem), "-alpn", "acme-tls/1"]
        none = subprocess.DEVNULL
        process = subprocess.Popen([*command, "-accept", f"127.0.0.1:{port}"], stdin=none, stdout=none, stderr=none)
        try:
            poll.until(lambda: accepts(port), 10, "s_server listens")
            with node(authority, f"127.0.0.1:{port}") as relaying:
                print(f"mpm={MPM} relay to s_server:  {measure(relaying, value, count)}")
        finally:
            process.terminate()
            process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
