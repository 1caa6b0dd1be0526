"""Ordinary clients see no difference between httpd with the module and without it, while challenges are live.

Each case says what has to come of it, so that two servers which both fail are no agreement.
"""

from __future__ import annotations

import re
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import StartHttpd
from harness import client, poll
from harness.challenge import publish_and_check
from harness.pki import Authority, Credential
from harness.server import MPM, Httpd
from harness.twins import Twins
from harness.wire import CERTIFICATE_REQUEST, Conversation, converse, converse_in_clear, get

SITE, PAIR, NEWEST, STRICT, ASKED = (f"{name}.test" for name in ("site", "pair", "newest", "strict", "asked"))
NAMES = (SITE, PAIR, NEWEST, STRICT, ASKED)

VERSIONS = ("1.2", "1.3")

# mod_http2 declines with prefork.
H2 = "h2" if MPM != "prefork" else "http/1.1"

# How a vhost's Protocols can stand; `Upgrade` announces some of it.
PROTOCOLS: dict[str, list[str]] = {
    "absent": [],
    "absent-off": ["ProtocolsHonorOrder Off"],
    "h2": ["Protocols h2 h2c"],
    "h2-off": ["Protocols h2 h2c", "ProtocolsHonorOrder Off"],
    "both": ["Protocols h2 h2c http/1.1"],
    "both-off": ["Protocols h2 h2c http/1.1", "ProtocolsHonorOrder Off"],
    "http1": ["Protocols http/1.1"],
    "listed": ["Protocols http/1.1 acme-tls/1"],
}

# What the server knows of the TLS connection, on each response.
SEEN = " ".join(
    f"%{{SSL_{name}}}s"
    for name in "PROTOCOL CIPHER CLIENT_VERIFY CLIENT_S_DN SERVER_S_DN SESSION_RESUMED TLS_SNI SECURE_RENEG".split()
)


def configure(httpd: Httpd, authority: Authority) -> None:
    rsa = authority.issue(SITE, kind="rsa")
    verifying = [f"SSLCACertificateFile {authority.root}"]
    httpd.server_lines.append(f"Header always set X-TLS \"{SEEN}\"")
    vhosts: dict[str, tuple[list[Credential], list[str]]] = {
        SITE: ([rsa], ["Protocols h2 http/1.1"]),
        PAIR: ([authority.issue(PAIR, kind="rsa"), authority.issue(PAIR)], ["Protocols http/1.1"]),
        NEWEST: ([authority.issue(NEWEST)], ["SSLProtocol TLSv1.3", "SSLOpenSSLConfCmd Curves P-384:P-521"]),
        STRICT: ([authority.issue(STRICT, kind="rsa")], [*verifying, "SSLVerifyClient require"]),
        ASKED: ([rsa], [*verifying, "SSLVerifyClient optional"]),
    }
    for name, (credentials, lines) in vhosts.items():
        httpd.vhost(name, credentials=credentials, lines=lines)
    for key, lines in PROTOCOLS.items():
        other = PROTOCOLS["both" if key == "absent" else "absent"]
        for tls in (True, False):
            listener = listener_of(key, tls=tls)
            httpd.listen(listener)
            for name, own in ((SITE, lines), ("other.test", other)):
                httpd.vhost(name, credentials=[rsa] if tls else [], lines=own, tls=tls, listener=listener)


def listener_of(key: str, *, tls: bool) -> str:
    """Where the vhosts with one way of Protocols are."""
    return f"{'tls' if tls else 'plain'}-{key}"


@pytest.fixture(scope="module")
def running(make_shared_httpd: StartHttpd, authority: Authority) -> Twins:
    modules = ["http2", "headers"]
    twins = Twins(make_shared_httpd(modules=modules), make_shared_httpd(modules=modules, with_module=False))
    for httpd in twins:
        configure(httpd, authority)
    twins.start()
    for name in NAMES:
        twins.with_module.spool.publish(name)
    return twins


@pytest.fixture
def twins(running: Twins) -> Iterator[Twins]:
    """Every name has a live challenge; afterwards both have logged the same."""
    yield running
    running.settle()


def agree(twins: Twins, expected: str, name: str | None, request: bytes = b"", **options: object) -> Conversation:
    """Both converse alike, with this outcome."""
    listener = str(options.pop("listener", "main"))
    with_module, without = twins.ask(lambda httpd: converse(httpd.address(listener), name, request, **options))  # type: ignore[arg-type]
    assert with_module == without
    assert re.fullmatch(expected, without.outcome), without
    return without


# Handshakes

OFFERS: dict[tuple[str, ...], str | None] = {
    (): None,
    ("http/1.1",): "http/1.1",
    ("h2",): H2,
    ("h2", "http/1.1"): H2,
    ("http/1.1", "h2"): H2,
    ("http/1.0", "spdy/3"): "http/1.1",
    ("acme-tls/1", "http/1.1"): "http/1.1",
    ("h2", "acme-tls/1"): H2,
    ("acme-tls/2",): "http/1.1",
    ("acme-tls/1", "acme-tls/1"): "http/1.1",
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [SITE, PAIR, "nobody.test", None])
@pytest.mark.parametrize("offer", OFFERS)
def test_offers_and_names(twins: Twins, offer: tuple[str, ...], name: str | None, version: str) -> None:
    chosen = "http/1.1" if offer and name == PAIR else OFFERS[offer]
    agree(twins, negotiated(version, chosen, offer), name, using=client.context(offer, version))


def negotiated(version: str, chosen: str | None, offer: tuple[str, ...]) -> str:
    """httpd answers http/1.1 to whatever it does not know, and OpenSSL's client takes only what it offered."""
    return f"TLSv{version} {chosen}" if chosen is None or chosen in offer else r".*bad extension.*"


# What the client may send a key share of, and this server cannot take in TLS 1.3.
FOREIGN_GROUP = "ffdhe2048" if ssl.OPENSSL_VERSION_INFO >= (3,) else "brainpoolP256r1"

S_CLIENT = {
    "groups": ["-groups", "P-521:X25519"],
    "hello-retry": ["-groups", f"{FOREIGN_GROUP}:P-384"],
    "rare-group": ["-tls1_2", "-groups", "brainpoolP256r1"],
    "pss": ["-sigalgs", "RSA-PSS+SHA384:ECDSA+SHA384"],
    "ecdsa": ["-sigalgs", "ECDSA+SHA256"],
    "pkcs1": ["-tls1_2", "-sigalgs", "RSA+SHA256"],
    "suites": ["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
    "old": ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"],
    "rsa-cipher": ["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256"],
    "ecdsa-cipher": ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
    "dhe-cipher": ["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"],
    "status": ["-status"],
}
VARYING = re.compile(
    r"^ *(?:[0-9A-F]+:error:|[0-9a-f]{4} - |Session-ID: |Master-Key: |Start Time: |SSL handshake has read ).*$",
    re.MULTILINE,
)


def s_client(httpd: Httpd, name: str, *options: str) -> str:
    """All that `openssl s_client` says up to the end of the handshake; what follows it comes in time or not."""
    host, port = httpd.address()
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{host}:{port}", "-servername", name, "-showcerts", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=client.TIMEOUT * poll.FACTOR,
        check=False,
    )
    output = re.split(r"---\n(?:Post-Handshake|read R BLOCK)", done.stdout)[0]
    return VARYING.sub("", output) + ",".join(re.findall(r"SSL alert number \d+", done.stderr))


@pytest.mark.parametrize("kind", S_CLIENT)
def test_ciphers_groups_and_signatures(twins: Twins, kind: str) -> None:
    """One of the vhosts takes what the client has, unless no server would."""
    told = []
    for name in (SITE, PAIR, NEWEST):
        with_module, without = twins.ask(lambda httpd: s_client(httpd, name, "-alpn", "http/1.1", *S_CLIENT[kind]))
        assert with_module == without
        told.append(without)
    assert kind == "old" or re.search(r"Cipher is [A-Z]+", "".join(told)), told


# Client authentication


def issued(authority: Authority) -> tuple[Path, Path]:
    credential = authority.issue("client.test")
    return credential.certificate, credential.key


@pytest.fixture(params=["good", "bad", "none"])
def who(request: pytest.FixtureRequest, authority: Authority, tmp_path: Path) -> tuple[str, tuple[Path, Path] | None]:
    """A client with a certificate of the right CA, of another one, or without."""
    return request.param, {"good": issued(authority), "bad": issued(Authority(tmp_path)), "none": None}[request.param]


REFUSED = "alert fatal (40|48|51|116)"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [STRICT, ASKED])
def test_client_certificate_of_the_vhost(
    twins: Twins, name: str, who: tuple[str, tuple[Path, Path] | None], version: str
) -> None:
    kind, credential = who
    using = client.context(("http/1.1",), version, client=credential)
    allowed = kind == "good" or (kind == "none" and name == ASKED)
    heard = agree(twins, "200" if allowed else REFUSED, name, get(name), using=using)
    assert CERTIFICATE_REQUEST in heard.messages
    assert (b"client.test" in heard.response) == (kind == "good")


# Resumption


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ticket", [True, False], ids=["ticket", "session-id"])
@pytest.mark.parametrize("first, then, resumes", [(SITE, SITE, True), (STRICT, STRICT, True), (SITE, PAIR, False), (STRICT, SITE, False)])
def test_resumption(
    twins: Twins, authority: Authority, first: str, then: str, resumes: bool, ticket: bool, version: str
) -> None:
    def observe(httpd: Httpd) -> list[Conversation]:
        using = client.context(("http/1.1",), version, client=issued(authority))
        if not ticket:
            using.options |= ssl.OP_NO_TICKET
        ordinary = converse(httpd.address(), first, get(first), using=using)
        assert ordinary.session is not None and ordinary.session.has_ticket == (ticket or version == "1.3")
        again = converse(httpd.address(), then, get(then), using=using, session=ordinary.session)
        return [ordinary, again]

    with_module, without = twins.ask(observe)
    assert with_module == without
    assert [heard.outcome for heard in without] == ["200", "200"]
    assert without[1].resumed == resumes


# HTTP

UPGRADE = ("Connection: Upgrade",)
REQUESTS = {
    "page": get(SITE),
    "options": get(SITE, "/", method="OPTIONS"),
    "options-star": get(SITE, "*", method="OPTIONS"),
    "kept-alive": get(SITE, close=False) + get(SITE, "/missing"),
    "other-host": get("other.test"),
    "to-acme": get(SITE, "/index.html", "Upgrade: acme-tls/1", *UPGRADE, close=False) + get(SITE),
    "to-acme-or-http": get(SITE, "/index.html", "Upgrade: acme-tls/1, http/1.1", *UPGRADE, close=False) + get(SITE),
    "star-to-acme": get(SITE, "*", "Upgrade: acme-tls/1", *UPGRADE, method="OPTIONS", close=False) + get(SITE),
}

# What the first response over http/1.1 announces.
ANNOUNCED = {"h2": b"h2,h2c", "h2-off": b"h2,h2c", "both": b"h2,h2c", "both-off": b"h2,h2c"}
ANNOUNCING = ("page", "options", "options-star", "kept-alive")


def assert_announces(response: bytes, key: str, kind: str) -> None:
    head = response.split(b"\r\n\r\n")[0]
    announced = re.findall(rb"(?m)^Upgrade: (.*)\r$", head + b"\r\n")
    assert b"acme" not in b"".join(announced)
    if kind in ANNOUNCING:
        assert announced == ([ANNOUNCED[key]] if key in ANNOUNCED else [])


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize("key", PROTOCOLS)
def test_responses_over_tls(twins: Twins, key: str, kind: str) -> None:
    listener = listener_of(key, tls=True)
    heard = agree(twins, "200", SITE, REQUESTS[kind], listener=listener, using=client.context(("http/1.1",)))
    assert_announces(heard.response, key, kind)


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize("key", PROTOCOLS)
def test_responses_in_clear(twins: Twins, key: str, kind: str) -> None:
    address = listener_of(key, tls=False)
    with_module, without = twins.ask(lambda httpd: converse_in_clear(httpd.address(address), REQUESTS[kind]))
    assert with_module == without and without.split()[1] == b"200"
    assert_announces(without, key, kind)


@pytest.mark.parametrize("offer", [(), ("h2",), ("h2", "http/1.1"), ("http/1.1", "h2"), ("acme-tls/1", "h2")])
@pytest.mark.parametrize("key", PROTOCOLS)
def test_each_offer_for_each_protocols_line(twins: Twins, key: str, offer: tuple[str, ...]) -> None:
    takes_h2 = "h2" in offer and key in ANNOUNCED
    if key == "both-off" and offer[:1] == ("http/1.1",):
        takes_h2 = False
    chosen = H2 if takes_h2 else "http/1.1" if offer else None
    agree(twins, negotiated("1.3", chosen, offer), SITE, listener=listener_of(key, tls=True), using=client.context(offer))


@pytest.mark.parametrize("key", PROTOCOLS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_http2(twins: Twins, key: str, scheme: str) -> None:
    listener = listener_of(key, tls=scheme == "https")

    def curl(httpd: Httpd) -> tuple[str, str]:
        host, port = httpd.address(listener)
        command = ["curl", "-sSki", "--http2", "--connect-to", f"::{host}:{port}", "-w", "%{http_version} %{http_code}"]
        done = subprocess.run([*command, f"{scheme}://{SITE}/index.html"], capture_output=True, text=True, check=False)
        return re.sub(r"(?im)^date: .*\n", "", done.stdout), done.stderr

    with_module, without = twins.ask(curl)
    assert with_module == without
    assert without[0].endswith("2 200" if key in ANNOUNCED and H2 == "h2" else "1.1 200"), without


def test_challenges_are_live(twins: Twins) -> None:
    """What the cases above ran beside."""
    for name in NAMES:
        publish_and_check(twins.with_module, name)
        twins.with_module.spool.publish(name)
