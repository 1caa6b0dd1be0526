"""What a CA's client prefers, and what the vhosts are limited to, decides nothing: a challenge is answered, and a name
without one is refused with alert 120."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import StartHttpd
from harness import client, clienthello, poll
from harness.challenge import assert_incomplete, assert_refused, publish_and_check
from harness.client import Answer
from harness.clienthello import Hello
from harness.load import LONG
from harness.pki import Authority
from harness.server import Httpd

ECDHE_ECDSA, ECDHE_RSA = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"

# What an address's first vhost has; what OpenSSL has before the SNI has chosen a vhost is from there.
FIRST = {
    "ecdsa": ("p256", (f"SSLCipherSuite {ECDHE_ECDSA}",)),
    "rsa": ("rsa", (f"SSLCipherSuite {ECDHE_RSA}",)),
    "one-suite": ("p256", ("SSLCipherSuite TLSv1.3 TLS_CHACHA20_POLY1305_SHA256",)),
    "p521": ("p256", ("SSLOpenSSLConfCmd Groups P-521",)),
    "off": ("rsa", ("AcmeAlpnEngine Off",)),
}

# The vhosts that the SNI chooses, on each of those addresses.
VHOSTS = {
    "wide": ("rsa", ()),
    "rsa12": ("rsa", ("SSLProtocol TLSv1.2",)),
    "ecdsa12": ("p256", ("SSLProtocol TLSv1.2", f"SSLCipherSuite {ECDHE_ECDSA}")),
    "cbc12": ("rsa", ("SSLProtocol TLSv1.2", "SSLCipherSuite ECDHE-RSA-AES256-SHA")),
    "p384": ("p384", ("SSLProtocol TLSv1.2", "SSLCipherSuite ECDHE-ECDSA-AES256-GCM-SHA384")),
    "tls13": ("p256", ("SSLProtocol TLSv1.3",)),
    "signatures": ("p384", ("SSLOpenSSLConfCmd SignatureAlgorithms ECDSA+SHA384",)),
    "level4": ("p384", ("SSLCipherSuite DEFAULT@SECLEVEL=4",)),
    "level0": ("rsa", ("SSLCipherSuite DEFAULT@SECLEVEL=0",)),
}

# s_client's options for a client that offers little, all of TLS 1.2.
CLIENTS_12 = {
    "rsa": ("-cipher", ECDHE_RSA),
    "ecdsa": ("-cipher", ECDHE_ECDSA),
    "cbc": ("-cipher", "ECDHE-RSA-AES128-SHA"),
    "static-rsa": ("-cipher", "AES128-GCM-SHA256"),
    "dhe": ("-cipher", "DHE-RSA-AES128-GCM-SHA256"),
    "ccm": ("-cipher", "ECDHE-ECDSA-AES256-CCM"),
    "brainpool": ("-groups", "brainpoolP256r1"),
    "sha512": ("-sigalgs", "RSA+SHA512"),
}
CLIENTS_13 = {
    "x448": ("-groups", "X448"),
    "p521": ("-groups", "P-521"),
    "ffdhe": ("-groups", "ffdhe2048"),
    "ffdhe-8192": ("-groups", "ffdhe8192"),
    "aes-256": ("-ciphersuites", "TLS_AES_256_GCM_SHA384"),
    "ccm": ("-ciphersuites", "TLS_AES_128_CCM_SHA256"),
    "rsa-pss": ("-sigalgs", "RSA-PSS+SHA384"),
    "ecdsa-384": ("-sigalgs", "ECDSA+SHA384"),
}
CASES = [("-tls1_2", name, options) for name, options in CLIENTS_12.items()]
CASES += [("-tls1_3", name, options) for name, options in CLIENTS_13.items()]


def name_of(vhost: str) -> str:
    return f"{vhost}.test"


@pytest.fixture(scope="module")
def server(make_shared_httpd: StartHttpd, authority: Authority) -> Httpd:
    httpd = make_shared_httpd()
    for first, (kind, lines) in FIRST.items():
        httpd.listen(first)
        httpd.vhost(f"first-{first}.test", credentials=[authority.issue("first.test", kind=kind)], lines=lines, listener=first)
        for vhost, (own, settings) in VHOSTS.items():
            credentials = [authority.issue(name_of(vhost), kind=own)]
            httpd.vhost(name_of(vhost), credentials=credentials, lines=settings, listener=first)
    httpd.vhost("main.test", credentials=[authority.issue("main.test")])
    return httpd.start()


def shaking(httpd: Httpd, first: str, vhost: str, *options: str) -> Callable[[], Answer]:
    return lambda: client.s_client(httpd.address(first), name_of(vhost), *options)


def speaks(vhost: str, version: str) -> bool:
    limits = " ".join(VHOSTS[vhost][1])
    return "SSLProtocol" not in limits or ("TLSv1.2" in limits) == (version == "-tls1_2")


def addresses(case: int, vhost: int) -> Iterable[str]:
    """All, or in the short form each in turn."""
    return FIRST if LONG else [list(FIRST)[(case + vhost) % len(FIRST)]]


@pytest.mark.parametrize("case", range(len(CASES)), ids=[f"{version}-{name}" for version, name, _ in CASES])
def test_answered_with_a_challenge_and_refused_without(httpd: Httpd, case: int) -> None:
    version, _, offer = CASES[case]
    if "ffdhe" in " ".join(offer) and ssl.OPENSSL_VERSION_INFO < (3,):
        pytest.skip("OpenSSL 1.1.1 has no such group")
    for number, vhost in enumerate(vhost for vhost in VHOSTS if speaks(vhost, version)):
        for first in addresses(case, number):
            shake = shaking(httpd, first, vhost, version, *offer)
            publish_and_check(httpd, name_of(vhost), shake)
            assert_refused(httpd, name_of(vhost), "no-entry", shake)


# Clients of TLS 1.2 that leave out what it lets them, and then have the defaults.
BARE = {
    "groups": Hello(b"", version="1.2", groups=(), ciphers=(clienthello.ECDHE_ECDSA, clienthello.DHE_RSA)),
    "algorithms": Hello(b"", version="1.2", algorithms=()),
}
# For signatures without a word the default is SHA-1, which OpenSSL 3 has at this level alone.
ALLOWED = {"groups": VHOSTS, "algorithms": ("level0",)}


@pytest.mark.parametrize("bare", BARE)
def test_client_with_defaults(httpd: Httpd, bare: str) -> None:
    for number, vhost in enumerate(vhost for vhost in ALLOWED[bare] if speaks(vhost, "-tls1_2")):
        for first in addresses(0, number):
            hello = replace(BARE[bare], name=name_of(vhost).encode())
            shake = lambda: clienthello.shake(httpd.address(first), hello)
            publish_and_check(httpd, name_of(vhost), shake)
            assert_refused(httpd, name_of(vhost), "no-entry", shake)


# Where OpenSSL ends the handshake before anything else, since the vhost does not have the version.


@pytest.mark.parametrize("first", FIRST)
def test_version_is_the_vhosts(httpd: Httpd, first: str) -> None:
    answer = assert_incomplete(httpd, shaking(httpd, first, "tls13", "-tls1_2"), name_of("tls13"))
    assert answer.alert == client.PROTOCOL_VERSION


# Post-quantum groups

HYBRIDS = ("X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024")
needs_post_quantum = pytest.mark.skipif(
    HYBRIDS[0] not in client.groups(), reason="OpenSSL before 3.5 has no post-quantum groups"
)


@needs_post_quantum
@pytest.mark.parametrize("offer", [*HYBRIDS, "X25519MLKEM768:X25519"])
def test_post_quantum_groups(httpd: Httpd, offer: str) -> None:
    for first in FIRST:
        publish_and_check(httpd, name_of("wide"), shaking(httpd, first, "wide", "-tls1_3", "-groups", offer))


FIPS_MODULE = next(Path("/usr/lib").glob("*/ossl-modules/fips.so"), None)
FIPS = """
openssl_conf = all
.include {installed}
[all]
providers = providers
alg_section = algorithms
[providers]
fips = fips_sect
base = base
[base]
activate = 1
[algorithms]
default_properties = fips=yes
"""


@needs_post_quantum
@pytest.mark.skipif(FIPS_MODULE is None, reason="OpenSSL has no FIPS provider (Debian: openssl-provider-fips)")
def test_fips_mode(make_httpd: StartHttpd, authority: Authority) -> None:
    """X25519 is not allowed there, but the group that mixes it with ML-KEM is."""
    httpd = make_httpd()
    installed, config = httpd.root / "fipsmodule.cnf", httpd.root / "openssl.cnf"
    command = ["openssl", "fipsinstall", "-quiet", "-module", str(FIPS_MODULE), "-out", str(installed)]
    subprocess.run(command, check=True, timeout=poll.DEADLINE * poll.FACTOR)
    config.write_text(FIPS.format(installed=installed))
    httpd.environment["OPENSSL_CONF"] = str(config)
    httpd.vhost("fips.test", credentials=[authority.issue("fips.test")])
    httpd.start()

    def shake(groups: str, *alpn: str) -> Answer:
        return client.s_client(httpd.address(), "fips.test", "-groups", groups, alpn=alpn or client.ACME)

    assert shake("X25519", "http/1.1").alert == client.HANDSHAKE_FAILURE
    # The stars are for a key share of each, which is what Go's clients send.
    for groups in ("X25519MLKEM768", "X25519MLKEM768:X25519", "*X25519MLKEM768:*X25519", "P-256"):
        publish_and_check(httpd, "fips.test", lambda: shake(groups))
