"""mod_md gets its certificates from a real CA, the first and then another, whatever its keys and the vhost are."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import StartHttpd
from harness.acme import Pebble
from harness.challenge import ANSWERED
from harness.md import ORDERS, load_mod_md, trust_ca, wait_for_certificate
from harness.pki import Authority
from harness.server import Httpd

ECDSA, RSA = (f"SSLCipherSuite ECDHE-{kind}-AES128-GCM-SHA256" for kind in ("ECDSA", "RSA"))

# The keys of the certificates that the vhosts have before.
EXISTING: dict[str, tuple[str, ...]] = {
    "none": (),
    "rsa": ("rsa",),
    "p256": ("p256",),
    "p384": ("p384",),
    "both": ("rsa", "p256"),
}
SETTINGS: dict[str, tuple[str, ...]] = {
    "default": (),
    "tls12": ("SSLProtocol TLSv1.2",),
    "tls13": ("SSLProtocol TLSv1.3",),
    "ecdsa12": ("SSLProtocol TLSv1.2", ECDSA),
}

# MDPrivateKeys: of what mod_md makes its keys and its challenges.
KEYS = ("rsa2048", "rsa3072", "secp256r1", "secp384r1", "rsa2048 secp256r1")

# What the address's first vhost has.
FIRST: dict[str, tuple[str, ...]] = {"wide": (), "ecdsa": (ECDSA,), "rsa": (RSA,)}

# All that mod_md asks for, and that a configuration without a first certificate makes httpd say.
EXPECTED = "AH01909|AH10085|AH10084|AH10059"
LONGEST = 120


Row = tuple[str, str]
ALL: list[Row] = list(itertools.product(EXISTING, SETTINGS))


def name_of(row: Row) -> str:
    return f"{'-'.join(row)}.test"


def set_up(httpd: Httpd, authority: Authority, ca: str, order: str, keys: str, first: str, rows: Iterable[Row]) -> None:
    load_mod_md(httpd, order, [name_of(row) for row in rows], ca)
    trust_ca(httpd, authority, f"http:- https:{httpd.listeners['main'].port}")
    httpd.server_lines += [
        f"MDPrivateKeys {keys}",
        # Longer than any certificate is valid: each is to be renewed at once.
        "MDRenewWindow 36500d",
    ]
    httpd.vhost("first.test", credentials=[authority.issue("first.test", kind="rsa" if first == "rsa" else "p256")], lines=FIRST[first])
    for row in rows:
        credentials = [authority.issue(name_of(row), kind=kind) for kind in EXISTING[row[0]]]
        httpd.vhost(name_of(row), credentials=credentials, lines=["Protocols http/1.1 acme-tls/1", *SETTINGS[row[1]]])
    httpd.log.allow(pattern=EXPECTED)


def first_and_renewed(
    httpd: Httpd, authority: Authority, directory: Path, order: str, keys: str, first: str, rows: list[Row]
) -> None:
    httpd.listeners["main"].choose_port()
    with Pebble(directory, authority, httpd.listeners["main"].port) as pebble:
        set_up(httpd, authority, pebble.url, order, keys, first, rows)
        httpd.start()
        for row in rows:
            wait_for_certificate(httpd, name_of(row), LONGEST)
            httpd.log.expect(ANSWERED, f"identifier={re.escape(name_of(row))} .* source=module ")
        httpd.reload()
        # Pebble, which may take an authorization for valid again, says whether it was answered.
        for row in rows:
            wait_for_certificate(httpd, name_of(row), LONGEST)
        # mod_md talks to its CA to the end.
        httpd.stop()


@pytest.mark.long
@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("keys", KEYS)
def test_all(keys: str, order: str, first: str, make_httpd: StartHttpd, authority: Authority, tmp_path: Path) -> None:
    first_and_renewed(make_httpd(), authority, tmp_path, order, keys, first, ALL)


# Of all these some that this module did not repair while it left such handshakes to mod_md.
HARD = {
    ("rsa2048", "ecdsa"): [("rsa", "ecdsa12"), ("p256", "tls12"), ("p256", "ecdsa12"), ("p384", "tls12"),
                           ("p384", "ecdsa12"), ("both", "ecdsa12")],
    ("secp256r1", "rsa"): [("none", "tls12"), ("rsa", "tls12"), ("p256", "tls12"), ("p256", "ecdsa12"),
                           ("p384", "tls12"), ("both", "tls12")],
}  # fmt: skip


@pytest.mark.parametrize("keys, first", HARD)
def test_hard(keys: str, first: str, make_httpd: StartHttpd, authority: Authority, tmp_path: Path) -> None:
    first_and_renewed(make_httpd(), authority, tmp_path, ORDERS[0], keys, first, HARD[keys, first])
