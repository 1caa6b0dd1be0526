"""Whatever a vhost's TLS settings are, a challenge is answered; and each setting still counts for everybody else."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import StartHttpd
from harness import client
from harness.challenge import assert_answered, assert_refused, publish_and_check
from harness.client import CERTIFICATE_REQUIRED, HANDSHAKE_FAILURE, Answer
from harness.clienthello import Hello, HelloAnswer, shake
from harness.md import load_mod_md
from harness.pki import Authority
from harness.server import PAGE, Httpd
from harness.spool import Spool
from harness.wire import get

RSA_ONLY = ("-sigalgs", "RSA-PSS+SHA256:RSA+SHA256")
ECDHE_RSA = "ECDHE-RSA-AES128-GCM-SHA256"


@dataclass(frozen=True)
class Setting:
    """A vhost's lines, and an ordinary client (s_client's options) that they turn away."""

    lines: tuple[str, ...]
    kinds: tuple[str, ...] = ("p256",)
    turned_away: tuple[str, ...] = ()


# {root} stands for the CA's certificate.
SETTINGS = {
    "verify-client": Setting(("SSLVerifyClient require", "SSLCACertificateFile {root}")),
    "static-rsa": Setting(
        ("SSLCipherSuite AES128-GCM-SHA256",), ("rsa",), turned_away=("-tls1_2", "-cipher", ECDHE_RSA)
    ),
    "suite-of-1-3": Setting(
        ("SSLCipherSuite TLSv1.3 TLS_CHACHA20_POLY1305_SHA256",),
        turned_away=("-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"),
    ),
    "ecdsa-signatures": Setting(
        ("SSLOpenSSLConfCmd SignatureAlgorithms ECDSA+SHA256:ECDSA+SHA384",), turned_away=RSA_ONLY
    ),
    "strict-sni": Setting(("SSLStrictSNIVHostCheck on",)),
    "chain": Setting(("SSLCertificateChainFile {root}",)),
    "stapling": Setting(
        ("SSLUseStapling on", "SSLStaplingForceURL http://127.0.0.1:1/", "SSLCertificateChainFile {root}")
    ),
    "security-4": Setting(
        ("SSLCipherSuite DEFAULT@SECLEVEL=4",), ("p384",), turned_away=("-groups", "X25519")
    ),
    "http2-only": Setting(("Protocols h2",)),
    "acme-listed": Setting(("Protocols acme-tls/1 http/1.1",)),
    "acme-alone": Setting(("Protocols acme-tls/1",)),
    "per-directory": Setting(("<Location />", "SSLVerifyClient require", "</Location>", "SSLCACertificateFile {root}")),
}

# The first vhost of an address gives its groups to all.
ALL = {**SETTINGS, "p521-groups": Setting(("SSLOpenSSLConfCmd Groups P-521",), turned_away=("-groups", "X25519"))}

# An address where the vhost with the setting is the first, and "main", where the SNI has to select it.
PLACES = [(name, name) for name in ALL] + [(name, "main") for name in SETTINGS]


def host(name: str) -> str:
    return f"{name}.test"


@pytest.fixture(scope="module")
def server(make_shared_httpd: StartHttpd, authority: Authority) -> Httpd:
    httpd = make_shared_httpd(modules=["http2"])
    httpd.server_lines.append("SSLStaplingCache shmcb:run/stapling(32768)")
    httpd.vhost("default.test", credentials=[authority.issue("default.test", kind="rsa")])
    for name, place in PLACES:
        if place not in httpd.listeners:
            httpd.listen(place)
        setting = ALL[name]
        lines = [line.format(root=authority.root) for line in setting.lines]
        credentials = [authority.issue(host(name), kind=kind) for kind in setting.kinds]
        httpd.vhost(host(name), credentials=credentials, lines=lines, listener=place)
    return httpd.start()


def openssl(httpd: Httpd, name: str, *options: str, alpn: tuple[str, ...] = client.ACME) -> Callable[[], Answer]:
    return lambda: client.s_client(httpd.address(name), host(name), *options, alpn=alpn)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("name, place", PLACES)
def test_challenge_is_answered(httpd: Httpd, name: str, place: str, version: str) -> None:
    shake_hands = lambda: client.handshake(httpd.address(place), host(name), version=version)
    answer = publish_and_check(httpd, host(name), shake_hands)
    assert answer.version == f"TLSv{version}"


@pytest.mark.parametrize("name", [name for name, setting in ALL.items() if setting.turned_away])
def test_setting_counts_for_others(httpd: Httpd, name: str) -> None:
    """But for a challenge that very client gets its answer."""
    turned_away = ALL[name].turned_away
    assert openssl(httpd, name, *turned_away, alpn=("http/1.1",))().alert == HANDSHAKE_FAILURE
    publish_and_check(httpd, host(name), openssl(httpd, name, *turned_away))


@pytest.mark.parametrize("version, alert", [("1.2", HANDSHAKE_FAILURE), ("1.3", CERTIFICATE_REQUIRED)])
def test_client_verification_counts_for_others(httpd: Httpd, version: str, alert: int) -> None:
    place = httpd.address("verify-client")
    hello = Hello(host("verify-client").encode(), alpn=None, version=version)
    turned_away = shake(place, hello, send=get("verify-client.test"))
    assert (turned_away.certificate_requested, turned_away.alert, turned_away.data) == (True, alert, b"")
    hello = Hello(host("verify-client").encode(), version=version)
    shake_hands = lambda: shake(place, hello, send=get("verify-client.test"))
    answer = publish_and_check(httpd, host("verify-client"), shake_hands)
    assert isinstance(answer, HelloAnswer) and (answer.certificate_requested, answer.data) == (False, b"")


def test_stapling_is_not_asked_for_a_challenge(httpd: Httpd) -> None:
    """mod_ssl knows no OCSP responder for the challenge certificate, and says nothing about it."""
    for version in ("-tls1_2", "-tls1_3"):
        publish_and_check(httpd, host("stapling"), openssl(httpd, "stapling", "-status", version))
    openssl(httpd, "stapling", "-status", alpn=())()
    for number in ("AH01941", "AH01980"):
        httpd.log.allow(pattern=number)
    httpd.log.expect(pattern="AH01941|AH01974|AH01980")


def test_strict_sni_without_a_name(httpd: Httpd) -> None:
    place = httpd.address()
    assert_refused(httpd, None, "no-sni", lambda: client.handshake(place, None))
    ordinary = client.handshake(place, None, alpn=(), send=get("strict-sni.test"))
    assert ordinary.data.startswith(b"HTTP/1.1 403 ")


def test_per_directory_verification_counts_for_others(httpd: Httpd) -> None:
    place = httpd.address("per-directory")
    sent = get("per-directory.test")
    ordinary = client.handshake(place, host("per-directory"), alpn=("http/1.1",), version="1.3", send=sent)
    assert ordinary.data.startswith(b"HTTP/1.1 403 ")
    httpd.log.expect(pattern="AH10129|AH10158")
    httpd.log.expect(pattern="extension not received")
    key_authorization = httpd.spool.publish(host("per-directory"))
    shake_hands = lambda: client.handshake(place, host("per-directory"), send=sent)
    assert assert_answered(httpd, host("per-directory"), key_authorization, shake_hands).data == b""
    httpd.spool.withdraw(host("per-directory"))


# The whole server


@pytest.fixture
def wide(make_httpd: StartHttpd, authority: Authority) -> Httpd:
    """With settings that are the whole server's, and one vhost without TLS beside the others."""
    httpd = make_httpd(modules=["remoteip"])
    httpd.vhost("wide.test", credentials=[authority.issue("wide.test")])
    return httpd


def both_versions(httpd: Httpd, name: str, listener: str = "main") -> None:
    for version in ("1.2", "1.3"):
        publish_and_check(httpd, name, lambda: client.handshake(httpd.address(listener), name, version=version))


def test_strict_sni_policy(wide: Httpd, authority: Authority) -> None:
    wide.server_lines.append("SSLVHostSNIPolicy strict")
    code, output = wide.configtest()
    if code and "Invalid command" in output:
        pytest.skip("this httpd has no SSLVHostSNIPolicy")
    wide.vhost("other.test", credentials=[authority.issue("other.test")])
    wide.start()
    for name in ("wide.test", "other.test", "nobody.test"):
        both_versions(wide, name)
    answer = client.handshake(wide.address(), "wide.test", alpn=(), send=get("other.test"))
    assert b" 421 " in answer.data.split(b"\r\n")[0]
    wide.log.expect(level="error")


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="no IPv6 here")
def test_ipv6_listener(wide: Httpd, authority: Authority) -> None:
    wide.listen("ipv6", "::1")
    wide.vhost("six.test", credentials=[authority.issue("six.test")], listener="ipv6")
    wide.start()
    both_versions(wide, "six.test", "ipv6")
    assert_refused(wide, None, "no-entry", lambda: client.handshake(wide.address("ipv6"), "six.test"))


PROXY_HEADERS = {
    "version-1": b"PROXY TCP4 203.0.113.7 127.0.0.1 40000 443\r\n",
    "version-2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes((203, 0, 113, 7, 127, 0, 0, 1, 0x9C, 0x40, 1, 0xBB)),
}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("header", PROXY_HEADERS)
def test_proxy_protocol(wide: Httpd, authority: Authority, header: str, version: str) -> None:
    wide.listen("proxied")
    name = "proxied.test"
    lines = ["RemoteIPProxyProtocol On"]
    wide.vhost(name, credentials=[authority.issue(name)], lines=lines, listener="proxied")
    wide.start()

    def shake_hands() -> Answer:
        with socket.create_connection(wide.address("proxied"), client.TIMEOUT) as connection:
            connection.sendall(PROXY_HEADERS[header])
            return client.handshake_over(connection, name, client.context(version=version))

    publish_and_check(wide, name, shake_hands)
    assert client.handshake(wide.address("proxied"), name).chain == ()
    # What Debian 11's httpd says of a connection that is only opened, to see whether somebody listens.
    wide.log.allow(None, "AH10184: failed reading input")


# Other vhosts of the same address


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_name_of_a_vhost_without_tls(wide: Httpd, version: str) -> None:
    """It gets the TLS, and the spool, of the first vhost of the address."""
    spool = Spool(wide.root / "unread").create()
    wide.vhost("plain.test", tls=False, lines=["AcmeAlpnSpool unread"])
    wide.start()
    spool.publish("plain.test")
    shake_hands = lambda: client.handshake(wide.address(), "plain.test", version=version)
    assert_refused(wide, "plain.test", "no-entry", shake_hands)
    publish_and_check(wide, "plain.test", shake_hands)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("mod_md", [False, True])
def test_engine_off_beside_a_vhost_without_tls(wide: Httpd, authority: Authority, mod_md: bool, version: str) -> None:
    """That of the vhost whose TLS it is counts, and mod_md, which takes acme-tls/1 for any name, is not let in by us."""
    if mod_md:
        load_mod_md(wide, "after", ["managed.test"])
    wide.vhost("plain.test", tls=False)
    wide.vhost("other.test", credentials=[authority.issue("other.test")])
    wide.vhosts[0].lines.append("AcmeAlpnEngine Off")
    wide.start()
    both_versions(wide, "other.test")
    wide.spool.publish("plain.test")
    answer = shake(wide.address(), Hello(b"plain.test", version=version), send=get("plain.test"))
    assert answer.alpn == "http/1.1"
    assert answer.chain == (authority.issue("wide.test").der,)
    assert answer.data.endswith(PAGE.encode())


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_engine_off_in_a_vhost_without_tls(wide: Httpd, version: str) -> None:
    """It has no handshakes that it could be off for."""
    wide.vhost("plain.test", tls=False, lines=["AcmeAlpnEngine Off"])
    wide.start()
    publish_and_check(
        wide, "plain.test", lambda: client.handshake(wide.address(), "plain.test", version=version)
    )


@pytest.mark.parametrize("alias", ["192.0.2.7", "7.2.0.192.in-addr.arpa"])
def test_spool_for_an_address_is_the_first_vhosts(wide: Httpd, authority: Authority, alias: str) -> None:
    """Or that of the vhost which has the reverse name: that is what a CA sends as SNI (RFC 8738)."""
    own = Spool(wide.root / "own").create()
    wide.vhost("own.test", alias, credentials=[authority.issue("own.test")], lines=[f"AcmeAlpnSpool {own.path}"])
    wide.start()
    right, wrong = (own, wide.spool) if alias.endswith(".arpa") else (wide.spool, own)
    shake_hands = lambda: shake(wide.address(), Hello(b"7.2.0.192.in-addr.arpa"))
    wrong.publish("192.0.2.7")
    assert_refused(wide, "192.0.2.7", "no-entry", shake_hands)
    publish_and_check(wide, "192.0.2.7", shake_hands, right)
