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
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from harness import client, poll
from harness.challenge import publish_and_check
from harness.ocsp import Responder, SigningAuthority
from harness.pki import Authority, Credential
from harness.server import MPM, PAGE, Httpd
from harness.twins import Twins
from harness.wire import CERTIFICATE_REQUEST, HELLO_REQUEST, Conversation, converse, converse_in_clear, get, messages_of

SITE, PAIR, LEGACY, NEWEST, TICKETLESS = "site.test", "pair.test", "legacy.test", "newest.test", "ticketless.test"
STRICT, ASKED, PRIVATE, STAPLED = "strict.test", "asked.test", "private.test", "stapled.test"
NAMES = (SITE, PAIR, LEGACY, NEWEST, TICKETLESS, STRICT, ASKED, PRIVATE, STAPLED)

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
    f"%{{{name}}}s"
    for name in (
        "SSL_PROTOCOL",
        "SSL_CIPHER",
        "SSL_CLIENT_VERIFY",
        "SSL_CLIENT_S_DN",
        "SSL_SERVER_S_DN",
        "SSL_SESSION_RESUMED",
        "SSL_TLS_SNI",
        "SSL_SECURE_RENEG",
    )
)
AUTHENTICATING = [
    "<Location /require>",
    "    SSLVerifyClient require",
    "</Location>",
    "<Location /optional>",
    "    SSLVerifyClient optional",
    "</Location>",
    "<Location /cipher>",
    "    SSLCipherSuite ECDHE-RSA-AES256-GCM-SHA384",
    "</Location>",
]


def configure(httpd: Httpd, authority: Authority, stapling: Credential, responder: Responder, ca: Path) -> None:
    rsa = authority.issue(SITE, kind="rsa")
    verifying = [f"SSLCACertificateFile {authority.root}"]
    httpd.server_lines += [
        f"Header always set X-TLS \"{SEEN}\"",
        f"SSLStaplingCache shmcb:{httpd.root}/run/stapling(32768)",
        "LimitRequestFieldSize 1000",
    ]
    vhosts: dict[str, tuple[list[Credential], list[str]]] = {
        SITE: ([rsa], ["Protocols h2 http/1.1"]),
        PAIR: ([authority.issue(PAIR, kind="rsa"), authority.issue(PAIR)], ["Protocols http/1.1"]),
        LEGACY: ([rsa], ["SSLProtocol TLSv1.2", "SSLCipherSuite ECDHE-RSA-AES256-GCM-SHA384", "SSLHonorCipherOrder on"]),
        NEWEST: ([authority.issue(NEWEST)], ["SSLProtocol TLSv1.3", "SSLOpenSSLConfCmd Curves P-384:P-521"]),
        TICKETLESS: ([rsa], ["SSLSessionTickets off"]),
        STRICT: ([authority.issue(STRICT, kind="rsa")], [*verifying, "SSLVerifyClient require"]),
        ASKED: ([rsa], [*verifying, "SSLVerifyClient optional"]),
        PRIVATE: ([rsa], [*verifying, *AUTHENTICATING]),
        STAPLED: (
            [stapling],
            ["SSLUseStapling on", f"SSLStaplingForceURL {responder.url}", f"SSLCACertificateFile {ca}"],
        ),
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
    proxy_to_itself(httpd, authority)


def proxy_to_itself(httpd: Httpd, authority: Authority) -> None:
    """A vhost that fetches pages from the one with client authentication, over TLS and with a certificate."""
    backend = httpd.listeners["main"]
    backend.choose_port()
    identity = authority.issue("client.test")
    machine = httpd.root / "machine.pem"
    # mod_ssl with OpenSSL 1.1.1 does not find a key in PKCS #8 here.
    key = load_pem_private_key(identity.key.read_bytes(), None)
    traditional = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    machine.write_bytes(identity.certificate.read_bytes() + traditional)
    lines = [
        "SSLProxyEngine on",
        f"SSLProxyCACertificateFile {authority.root}",
        f"SSLProxyMachineCertificateFile {machine}",
        "ProxyPreserveHost On",
        f"ProxyPass / https://127.0.0.1:{backend.port}/",
    ]
    httpd.listen("proxy")
    httpd.vhost(STRICT, credentials=[authority.issue(STRICT)], lines=lines, listener="proxy")


def listener_of(key: str, *, tls: bool) -> str:
    """Where the vhosts with one way of Protocols are."""
    return f"{'tls' if tls else 'plain'}-{key}"


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> SigningAuthority:
    return SigningAuthority(tmp_path_factory.mktemp("signing"))


@pytest.fixture(scope="module")
def responder(signing: SigningAuthority) -> Iterator[Responder]:
    with Responder(signing, signing.issue(STAPLED, kind="rsa")) as responder:
        yield responder


@pytest.fixture(scope="module")
def running(
    make_shared_httpd: StartHttpd, authority: Authority, signing: SigningAuthority, responder: Responder
) -> Twins:
    modules = ["http2", "headers", "proxy", "proxy_http"]
    twins = Twins(make_shared_httpd(modules=modules), make_shared_httpd(modules=modules, with_module=False))
    for httpd in twins:
        configure(httpd, authority, signing.issue(STAPLED, kind="rsa"), responder, signing.root)
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
@pytest.mark.parametrize("name", [SITE, PAIR, TICKETLESS, "nobody.test", "SITE.test", None])
@pytest.mark.parametrize("offer", OFFERS)
def test_offers_and_names(twins: Twins, offer: tuple[str, ...], name: str | None, version: str) -> None:
    chosen = "http/1.1" if offer and name in (PAIR, TICKETLESS) else OFFERS[offer]
    agree(twins, negotiated(version, chosen, offer), name, using=client.context(offer, version))


def negotiated(version: str, chosen: str | None, offer: tuple[str, ...]) -> str:
    """httpd answers http/1.1 to whatever it does not know, and OpenSSL's client takes only what it offered."""
    return f"TLSv{version} {chosen}" if chosen is None or chosen in offer else r".*bad extension.*"


CIPHERS = {
    "ECDHE-RSA-AES128-GCM-SHA256": "TLSv1.2 None",
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256": "TLSv1.2 None",
    "ECDHE-RSA-CHACHA20-POLY1305": "TLSv1.2 None",
    "ECDHE-RSA-AES128-SHA": "TLSv1.2 None",
    "DHE-RSA-AES128-GCM-SHA256": "TLSv1.2 None",
    "AES128-GCM-SHA256": "TLSv1.2 None",
    "ECDHE-ECDSA-AES128-GCM-SHA256": "TLSv1.2 None|alert fatal 40",
}


@pytest.mark.parametrize("name", [SITE, PAIR, LEGACY])
@pytest.mark.parametrize("ciphers", CIPHERS)
def test_ciphers(twins: Twins, ciphers: str, name: str) -> None:
    expected = CIPHERS[ciphers]
    if name == LEGACY and "AES256" not in ciphers:
        expected = "alert fatal 40"
    agree(twins, expected, name, using=client.context((), "1.2", ciphers=ciphers))


@pytest.mark.parametrize("name, version", [(LEGACY, "1.3"), (NEWEST, "1.2")])
def test_version_that_the_vhost_lacks(twins: Twins, name: str, version: str) -> None:
    agree(twins, "alert fatal 70", name, using=client.context(("http/1.1",), version))


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
    "status": ["-status"],
}
REFUSED_BY = {
    "rare-group": {NEWEST},
    "pss": {NEWEST},
    "ecdsa": {SITE},
    "pkcs1": {NEWEST},
    # OpenSSL 3 wants TLS 1.2 at the security level that these vhosts have.
    "old": {SITE, PAIR, NEWEST} if ssl.OPENSSL_VERSION_INFO >= (3,) else {PAIR, NEWEST},
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


@pytest.mark.parametrize("name", [SITE, PAIR, NEWEST])
@pytest.mark.parametrize("kind", S_CLIENT)
def test_groups_and_signatures(twins: Twins, kind: str, name: str) -> None:
    with_module, without = twins.ask(lambda httpd: s_client(httpd, name, "-alpn", "http/1.1", *S_CLIENT[kind]))
    assert with_module == without
    refused = name in REFUSED_BY.get(kind, ())
    assert re.search(r"Cipher is \(NONE\)" if refused else r"Cipher is [A-Z]+", without), without


# Client authentication


def issued(authority: Authority) -> tuple[Path, Path]:
    credential = authority.issue("client.test")
    return credential.certificate, credential.key


@pytest.fixture(params=["good", "bad", "none"])
def who(request: pytest.FixtureRequest, authority: Authority, signing: SigningAuthority) -> tuple[str, tuple[Path, Path] | None]:
    """A client with a certificate of the right CA, of another one, or without."""
    return request.param, {"good": issued(authority), "bad": issued(signing), "none": None}[request.param]


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
    assert messages_of(CERTIFICATE_REQUEST, heard.messages)
    assert (b"client.test" in heard.response) == (kind == "good")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", ["/require", "/optional"])
def test_client_certificate_of_a_directory(
    twins: Twins, path: str, who: tuple[str, tuple[Path, Path] | None], version: str
) -> None:
    """TLS 1.2 renegotiates for it, TLS 1.3 has post-handshake authentication (RFC 8446 section 4.6.2)."""
    kind, credential = who
    using = client.context(("http/1.1",), version, client=credential)
    using.post_handshake_auth = True
    allowed = kind == "good" or (kind == "none" and path == "/optional")
    expected = "404" if allowed else f"403|{REFUSED}"
    heard = agree(twins, expected, PRIVATE, get(PRIVATE, path), using=using)
    again = HELLO_REQUEST if version == "1.2" else CERTIFICATE_REQUEST
    assert messages_of(again, heard.messages), heard.messages
    assert (b"client.test" in heard.response) == (kind == "good")


def test_cipher_of_a_directory(twins: Twins) -> None:
    using = client.context((), "1.2", ciphers="ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384")
    heard = agree(twins, "404", PRIVATE, get(PRIVATE, "/cipher"), using=using)
    assert b"AES256" in heard.response and messages_of(HELLO_REQUEST, heard.messages)


def test_directory_without_post_handshake_authentication(twins: Twins) -> None:
    agree(twins, "403", PRIVATE, get(PRIVATE, "/require"), using=client.context(("http/1.1",), "1.3"))


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


@pytest.mark.parametrize("version", VERSIONS)
def test_resumption_without_tickets_of_the_server(twins: Twins, version: str) -> None:
    def observe(httpd: Httpd) -> list[Conversation]:
        using = client.context(("http/1.1",), version)
        ordinary = converse(httpd.address(), TICKETLESS, get(TICKETLESS), using=using)
        return [ordinary, converse(httpd.address(), TICKETLESS, get(TICKETLESS), using=using, session=ordinary.session)]

    with_module, without = twins.ask(observe)
    assert with_module == without
    assert without[1].resumed and without[1].outcome == "200"


# Stapling


@pytest.mark.parametrize("version", VERSIONS)
def test_stapled_status(twins: Twins, responder: Responder, version: str) -> None:
    option = "-tls" + version.replace(".", "_")
    with_module, without = twins.ask(lambda httpd: s_client(httpd, STAPLED, "-status", option))
    assert with_module == without
    assert "Cert Status: good" in without and responder.asked


# HTTP

REQUESTS = {
    "page": (get(SITE), "200"),
    "missing": (get(SITE, "/missing"), "404"),
    "head": (get(SITE, method="HEAD"), "200"),
    "options": (get(SITE, "/", method="OPTIONS"), "200"),
    "options-star": (get(SITE, "*", method="OPTIONS"), "200"),
    "trace": (get(SITE, method="TRACE"), "200"),
    "post": (get(SITE, "/index.html", "Content-Length: 2", method="POST") + b"ab", "200|405"),
    "kept-alive": (get(SITE, close=False) + get(SITE, "/missing"), "200"),
    "other-host": (get("other.test"), "200"),
    "http-1.0": (b"GET /index.html HTTP/1.0\r\n\r\n", "200|400"),
    "malformed": (b"GET /index.html\x01 HTTP/1.1\r\n\r\n", "400"),
    "long-header": (get(SITE, "/index.html", "X-Long: " + "x" * 2000), "400"),
    "to-acme": (get(SITE, "/index.html", "Upgrade: acme-tls/1", "Connection: Upgrade", close=False) + get(SITE), "200"),
    "to-acme-or-http": (get(SITE, "/index.html", "Upgrade: acme-tls/1, http/1.1", "Connection: Upgrade", close=False) + get(SITE), "200"),
    "to-websocket": (get(SITE, "/index.html", "Upgrade: websocket", "Connection: Upgrade", close=False) + get(SITE), "200"),
    "star-to-acme": (get(SITE, "*", "Upgrade: acme-tls/1", "Connection: Upgrade", method="OPTIONS", close=False) + get(SITE), "200"),
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
    request, expected = REQUESTS[kind]
    heard = agree(twins, expected, SITE, request, listener=listener_of(key, tls=True), using=client.context(("http/1.1",)))
    assert_announces(heard.response, key, kind)


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize("key", PROTOCOLS)
def test_responses_in_clear(twins: Twins, key: str, kind: str) -> None:
    request, expected = REQUESTS[kind]
    with_module, without = twins.ask(lambda httpd: converse_in_clear(httpd.address(listener_of(key, tls=False)), request))
    assert with_module == without
    assert re.fullmatch(expected, without.split()[1].decode()), without
    assert_announces(without, key, kind)


@pytest.mark.parametrize("offer", [(), ("h2",), ("h2", "http/1.1"), ("http/1.1", "h2"), ("acme-tls/1", "h2")])
@pytest.mark.parametrize("key", PROTOCOLS)
def test_each_offer_for_each_protocols_line(twins: Twins, key: str, offer: tuple[str, ...]) -> None:
    takes_h2 = "h2" in offer and key in ANNOUNCED
    if key == "both-off" and offer[:1] == ("http/1.1",):
        takes_h2 = False
    chosen = H2 if takes_h2 else "http/1.1" if offer else None
    agree(twins, negotiated("1.3", chosen, offer), SITE, listener=listener_of(key, tls=True), using=client.context(offer))


def curl(httpd: Httpd, scheme: str, listener: str, name: str, *options: str) -> tuple[str, str]:
    """All responses' heads, bodies, and what curl says of the connection."""
    host, port = httpd.address(listener)
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--insecure", "--include", "--connect-to", f"::{host}:{port}"]
        + ["--write-out", "%{http_version} %{http_code} %{num_connects}", *options, f"{scheme}://{name}/index.html"],
        capture_output=True,
        text=True,
        timeout=client.TIMEOUT * poll.FACTOR,
        check=False,
    )
    return re.sub(r"(?im)^date: .*\n", "", done.stdout), done.stderr


@pytest.mark.parametrize("key", PROTOCOLS)
@pytest.mark.parametrize(
    "scheme, option", [("https", "--http2"), ("http", "--http2"), ("http", "--http2-prior-knowledge")]
)
def test_http2(twins: Twins, key: str, scheme: str, option: str) -> None:
    listener = listener_of(key, tls=scheme == "https")
    with_module, without = twins.ask(lambda httpd: curl(httpd, scheme, listener, SITE, option))
    assert with_module == without
    known = option == "--http2-prior-knowledge"
    if key in ANNOUNCED and (known or H2 == "h2"):
        assert without[0].endswith("2 200 1"), without
    elif known:
        assert without[1], without
    else:
        assert without[0].endswith("1.1 200 1"), without


def test_proxy_is_a_tls_client(twins: Twins) -> None:
    heard = agree(twins, "200", STRICT, get(STRICT), listener="proxy")
    assert heard.response.endswith(PAGE.encode())


def test_challenges_are_live(twins: Twins) -> None:
    """What the cases above ran beside."""
    for name in NAMES:
        publish_and_check(twins.with_module, name)
        twins.with_module.spool.publish(name)
