"""Other modules, other vhosts and other keys must not change what a challenge handshake is."""

from __future__ import annotations

import socket

import pytest
from conftest import StartHttpd, start_vhost
from harness import client
from harness.challenge import publish_and_check
from harness.pki import Authority

NAME, OTHER = "neighbour.test", "other.test"
VERSIONS = ("1.2", "1.3")
UNSAFE_AT_START = "AALPN0002"

# Enough of them to move where the next module is loaded.
MORE_MODULES = [
    "autoindex", "dav", "deflate", "expires", "filter", "headers", "http2", "info", "negotiation", "proxy",
    "proxy_http", "rewrite", "session", "status",
]  # fmt: skip


def test_reload_with_other_modules(make_httpd: StartHttpd, authority: Authority) -> None:
    """The module is loaded anew, and at another address than before."""
    httpd = start_vhost(make_httpd(modules=MORE_MODULES, module_last=True), NAME, authority)
    publish_and_check(httpd, NAME)
    base = [name for name in httpd.modules if name not in MORE_MODULES]
    for modules in ([], MORE_MODULES, []):
        httpd.modules = [*base, *modules]
        httpd.reload()
        publish_and_check(httpd, NAME)


@pytest.mark.parametrize("version", VERSIONS)
def test_module_that_speaks_first_gets_no_byte(version: str, make_httpd: StartHttpd, authority: Authority) -> None:
    """mod_echo takes the connection in the same hook as we, and it is loaded before us."""
    httpd = make_httpd(modules=["echo"], module_last=True)
    httpd.vhost(NAME, credentials=[authority.issue(NAME)], lines=["ProtocolEcho On"])
    httpd.start()

    def talk() -> client.Answer:
        return client.handshake(httpd.address(), NAME, version=version, send=b"hello\r\n")

    assert publish_and_check(httpd, NAME, talk).data == b""


@pytest.mark.parametrize("module_last", [False, True])
def test_handshake_that_does_not_go_on_is_ended_by_mod_reqtimeout(
    module_last: bool, make_httpd: StartHttpd, authority: Authority
) -> None:
    """Its hook is to come before mod_ssl's handshake, wherever we stand."""
    httpd = make_httpd(modules=["reqtimeout"], module_last=module_last)
    httpd.server_lines += [f"Timeout {int(client.TIMEOUT * 4)}", "RequestReadTimeout handshake=1"]
    httpd.vhost(NAME, credentials=[authority.issue(NAME)])
    httpd.start()
    with socket.create_connection(httpd.address(), client.TIMEOUT) as connection:
        connection.send(b"\x16")
        assert connection.recv(1) == b""


ELSEWHERE = "elsewhere.test"
NARROW = ["SSLOpenSSLConfCmd Groups P-521", "SSLProtocol TLSv1.3"]


@pytest.mark.parametrize("order", ["off-first", "off-last"])
def test_vhost_that_is_off_keeps_its_groups(order: str, make_httpd: StartHttpd, authority: Authority) -> None:
    """And is no reason for its neighbours not to answer whoever lacks their groups."""
    httpd = make_httpd()
    off = {OTHER: ["AcmeAlpnEngine Off"], "*.wild.test": ["AcmeAlpnEngine Off"]}
    lines = {**off, NAME: [], ELSEWHERE: []} if order == "off-first" else {NAME: [], ELSEWHERE: [], **off}
    for name, own in lines.items():
        first, *aliases = [name] if "*" not in name else ["wild.test", name]
        httpd.vhost(first, *aliases, credentials=[authority.issue(first)], lines=[*NARROW, *own])
    httpd.start()
    for name, vhost in ((OTHER, OTHER), ("a.wild.test", "wild.test")):
        answer = client.s_client(httpd.address(), name, "-groups", "X25519")
        assert not answer.chain and answer.alert == client.HANDSHAKE_FAILURE, answer
        answer = client.s_client(httpd.address(), name, "-groups", "P-521", alpn=["http/1.1"])
        assert answer.leaf == authority.issue(vhost).der
    for name in (NAME, ELSEWHERE):
        publish_and_check(httpd, name, lambda: client.s_client(httpd.address(), name, "-groups", "X25519"))


def test_spool_that_no_tls_vhost_uses_is_not_missed(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make_httpd()
    httpd.server_lines = [f"AcmeAlpnSpool {httpd.root}/missing"]
    httpd.vhost(NAME, credentials=[authority.issue(NAME)], lines=[f"AcmeAlpnSpool {httpd.spool.path}"])
    httpd.start()
    publish_and_check(httpd, NAME)
    assert not httpd.log.find(UNSAFE_AT_START)
