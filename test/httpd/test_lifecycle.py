"""configtest, and graceful restarts that change the configuration."""

from __future__ import annotations

import os
import signal
import socket
import ssl

import pytest
from conftest import StartHttpd
from harness import client, poll
from harness.challenge import assert_refused, publish_and_check
from harness.checker import check_certificate
from harness.errorlog import Record
from harness.pki import Authority
from harness.server import Httpd
from harness.spool import Spool
from harness.traffic import Traffic
from harness.wire import converse_in_clear, get

NAME, SECOND = "life.test", "second.test"
MISSING = ["AcmeAlpnSpool /nonexistent/spool"]


def tls(httpd: Httpd, authority: Authority, *lines: str, name: str = NAME) -> Httpd:
    httpd.vhost(name, credentials=[authority.issue(name)], lines=lines)
    return httpd


def said(httpd: Httpd) -> list[Record]:
    return httpd.log.tagged()


# configtest


def test_missing_spool_of_a_vhost_with_engine_off_does_not_matter(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = tls(make_httpd(), authority, *MISSING, "AcmeAlpnEngine Off")
    tls(httpd, authority, name=SECOND)
    assert httpd.configtest() == (0, "Syntax OK\n")
    httpd.start()
    assert not said(httpd)
    publish_and_check(httpd, SECOND)


def test_configtest_leaves_the_running_server_alone(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = tls(make_httpd(), authority).start()
    children = httpd.children()
    httpd.server_lines += MISSING
    code, output = httpd.configtest()
    assert code == 0 and "AALPN0003" in output and MISSING[0].split()[1] in output
    publish_and_check(httpd, NAME)
    assert httpd.children() == children


# Graceful restarts


def test_reload_brings_each_change(make_httpd: StartHttpd, authority: Authority) -> None:
    """A vhost comes, changes its spool, its Protocols and its engine, and goes."""
    httpd = tls(make_httpd(modules=["http2"]), authority).start()
    pid = httpd.pid
    own = Spool(httpd.root / "own").create()
    tls(httpd, authority, name=SECOND)
    second = httpd.vhosts[-1]
    with Traffic(httpd.address(), NAME, authority.root) as traffic:
        httpd.reload()
        publish_and_check(httpd, SECOND)

        second.lines = [f"AcmeAlpnSpool {own.path}"]
        httpd.reload()
        publish_and_check(httpd, SECOND, spool=own)
        assert str(own.path) in assert_refused(httpd, SECOND, "no-entry").text

        second.lines = ["Protocols h2", "ProtocolsHonorOrder Off"]
        httpd.reload()
        publish_and_check(httpd, SECOND)

        second.lines = ["AcmeAlpnEngine Off"]
        httpd.reload()
        httpd.spool.publish(SECOND)
        # httpd's answer to a protocol that it does not know is http/1.1, which this client did not offer.
        off = client.handshake(httpd.address(), SECOND)
        assert off.alert is None and "bad extension" in off.error
        httpd.spool.withdraw(SECOND)

        second.lines = []
        httpd.reload()
        publish_and_check(httpd, SECOND)

        httpd.vhosts.remove(second)
        httpd.reload()
        publish_and_check(httpd, SECOND)
    traffic.assert_unharmed()
    assert httpd.pid == pid


def test_reload_takes_tls_away_and_brings_it_back(make_httpd: StartHttpd, authority: Authority) -> None:
    """First the last TLS vhost, then mod_ssl itself."""
    httpd = tls(make_httpd(), authority).start()
    pid, vhost = httpd.pid, httpd.vhosts[0]
    credentials = vhost.credentials
    for modules in (httpd.modules, [name for name in httpd.modules if name != "ssl"]):
        vhost.tls, vhost.credentials, httpd.modules = False, (), modules
        httpd.reload()
        assert converse_in_clear(httpd.address(), get(NAME)).startswith(b"HTTP/1.1 200")
        vhost.tls, vhost.credentials, httpd.modules = True, credentials, [*{*modules, "ssl"}]
        httpd.reload()
        publish_and_check(httpd, NAME)
    assert [record.tag for record in said(httpd) if record.level == "notice"] == ["AALPN0001"]
    assert httpd.pid == pid


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_handshake_that_a_reload_finds_half_way_is_answered(
    version: str, make_httpd: StartHttpd, authority: Authority
) -> None:
    httpd = tls(make_httpd(), authority).start()
    key_authorization = httpd.spool.publish(NAME)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls_client = client.context(version=version).wrap_bio(incoming, outgoing, server_hostname=NAME)
    with socket.create_connection(httpd.address(), client.TIMEOUT * poll.FACTOR) as connection:
        with pytest.raises(ssl.SSLWantReadError):
            tls_client.do_handshake()
        hello = outgoing.read()
        connection.sendall(hello[:20])
        graceful(httpd)
        connection.sendall(hello[20:])
        while not finished(tls_client):
            connection.sendall(outgoing.read())
            received = connection.recv(65536)
            assert received, "httpd closed the connection before the handshake was over"
            incoming.write(received)
        connection.sendall(outgoing.read())
        assert tls_client.selected_alpn_protocol() == "acme-tls/1"
        certificate = tls_client.getpeercert(binary_form=True)
    assert certificate is not None
    check_certificate(certificate, NAME, key_authorization.digest)
    httpd.log.expect("AALPN0101", f"identifier={NAME} ")


def graceful(httpd: Httpd) -> None:
    """Start a graceful restart, and return when the new generation serves. The old one has a connection to end."""
    seen = len(httpd.log.find(pattern="resuming normal operations"))
    os.kill(httpd.pid, signal.SIGUSR1)
    poll.until(
        lambda: len(httpd.log.find(pattern="resuming normal operations")) > seen,
        poll.DEADLINE,
        "the new generation is there",
    )
    client.handshake(httpd.address(), NAME, alpn=["http/1.1"])


def finished(tls_client: ssl.SSLObject) -> bool:
    try:
        tls_client.do_handshake()
        return True
    except ssl.SSLWantReadError:
        return False
