# SPDX-License-Identifier: Apache-2.0
"""The part of build/quickstart that runs httpd, a CA, certbot and an HTTPS client."""

from __future__ import annotations

import datetime
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "httpd"))

from cryptography import x509  # noqa: E402
from harness import client  # noqa: E402
from harness.acme import Certbot, Pebble, install_plugin  # noqa: E402
from harness.pki import Authority  # noqa: E402
from harness.server import Httpd, Vhost  # noqa: E402
from harness.traffic import Traffic  # noqa: E402

NAMES = ("www.example.test", "shop.example.test")
BOLD, GREEN, PLAIN = ("\033[1m", "\033[32m", "\033[0m") if sys.stdout.isatty() else ("", "", "")


class Failed(Exception):
    """The demonstration failed."""


@contextmanager
def step(title: str) -> Iterator[None]:
    print(f"  {title:<58}", end="", flush=True)
    start = time.monotonic()
    try:
        yield
    except BaseException:
        print("failed")
        raise
    print(f"{time.monotonic() - start:4.1f} s")


def say(text: str) -> None:
    print(f"      {text}")


def issuer(certificate: x509.Certificate) -> str:
    return certificate.issuer.rfc4514_string()


def expiry(certificate: x509.Certificate) -> datetime.datetime:
    """In UTC. Debian 12's cryptography lacks not_valid_after_utc; later ones deprecate the other."""
    if hasattr(certificate, "not_valid_after_utc"):
        return certificate.not_valid_after_utc
    return certificate.not_valid_after.replace(tzinfo=datetime.timezone.utc)


def serve_with(vhosts: list[Vhost], live: Path) -> None:
    for vhost in vhosts:
        vhost.credentials = ()
        vhost.lines = [
            f"SSLCertificateFile {live}/fullchain.pem",
            f"SSLCertificateKeyFile {live}/privkey.pem",
        ]


def obtain(certbot: Certbot, httpd: Httpd) -> None:
    done = certbot.certonly(
        NAMES,
        f"--acme-alpn-spool={httpd.spool.path}",
        f"--acme-alpn-check={httpd.listeners['main']}",
    )
    if done.returncode != 0:
        raise Failed(f"certbot failed:\n{done.stdout}")


def show_answers(httpd: Httpd) -> None:
    answers = httpd.log.find(tag="AALPN0101")
    say(f"httpd answered {len(answers)} challenge handshakes, the plugin's and the CA's; its log has for the last one:")
    say(answers[-1].text.split(": ", 2)[-1])


def served(httpd: Httpd, name: str, trust: Path) -> x509.Certificate:
    return x509.load_der_x509_certificate(client.https_get(httpd.address(), name, trust).certificate)


def demonstrate(directory: Path, stack: ExitStack) -> None:
    authority = Authority(directory)
    httpd = Httpd()
    stack.enter_context(httpd)
    vhosts = [httpd.vhost(name, credentials=[authority.issue(name)]) for name in NAMES]
    with step("Start httpd with mod_acme_alpn"):
        httpd.start()
    pid, children = httpd.pid, httpd.children()
    say(f"pid {pid} serves https://{httpd.listeners['main']} and has one directive of the module: AcmeAlpnSpool")

    with step("Start Pebble, Let's Encrypt's test CA"):
        pebble = stack.enter_context(Pebble(directory, authority, httpd.address()[1]))
    with step("Install the certbot plugin"):
        certbot = Certbot(directory / "certbot", install_plugin(directory), pebble)

    with Traffic(httpd.address(), NAMES[0], authority.root) as traffic:
        with step(f"Get a certificate for {len(NAMES)} names with certbot"):
            obtain(certbot, httpd)
    say(f"certbot certonly -a acme-alpn -d {' -d '.join(NAMES)}")
    show_answers(httpd)
    if (httpd.pid, httpd.children()) != (pid, children):
        raise Failed("httpd was restarted or reloaded")
    say("httpd still has the same processes: no restart and no reload")
    say(f"the plugin removed its entries: the spool has {len(httpd.spool.entries())}")
    traffic.assert_unharmed()
    say(f"a client made {traffic.succeeded} ordinary HTTPS requests meanwhile: {len(traffic.failures)} failed")

    with step("Reload httpd with the new certificate"):
        serve_with(vhosts, certbot.live(NAMES[0]))
        httpd.reload()
    trust = directory / "pebble-root.pem"
    trust.write_bytes(pebble.root())
    for name in NAMES:
        certificate = served(httpd, name, trust)
        say(f"https://{name}: trusted, issued by {issuer(certificate)}, valid until {expiry(certificate):%d %B %Y}")
    if httpd.pid != pid:
        raise Failed("httpd was restarted")


def main() -> int:
    start = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
            demonstrate(Path(directory), stack)
    except (Failed, AssertionError, OSError) as failure:
        print(f"\n  {BOLD}It did not work:{PLAIN} {failure}\n", file=sys.stderr)
        return 1
    took = time.monotonic() - start
    print(f"\n  {GREEN}{BOLD}Done in {took:.0f} s:{PLAIN} one certificate for {len(NAMES)} names, without downtime.")
    print("  Next: the README, section Install, has the commands for your own server.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
