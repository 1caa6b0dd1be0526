"""A connection that was for a challenge ends with it, whatever the client does."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest
from conftest import StartHttpd
from harness import client, poll
from harness.challenge import ANSWERED
from harness.client import Address
from harness.pki import Authority

NAME = "close.test"

# httpd's own are 2 s for a short lingering close, and 30 s for an ordinary one.
SHORT = 6


def held(server: Address, peer: Address) -> bool:
    """Whether a process still has the server's end of this connection open."""
    wanted = [f"{_hex(address)}" for address in (server, peer)]
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    orphan = "0"
    return any(row[1:3] == wanted and row[9] != orphan for row in rows)


def _hex(address: Address) -> str:
    host = struct.unpack("=I", socket.inet_aton(address[0]))[0]
    return f"{host:08X}:{address[1]:04X}"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_client_that_stays_is_not_waited_for(
    mpm: str, version: str, make_httpd: StartHttpd, authority: Authority
) -> None:
    httpd = make_httpd(mpm=mpm)
    httpd.vhost(NAME, credentials=[authority.issue(NAME)])
    httpd.start()
    httpd.spool.publish(NAME)
    with socket.create_connection(httpd.address(), client.TIMEOUT) as connection:
        with client.context(version=version).wrap_socket(connection, server_hostname=NAME) as tls:
            ends = httpd.address(), connection_address(tls)
            assert held(*ends)
            assert tls.recv(1) == b""
            poll.until(lambda: not held(*ends), SHORT, "httpd has closed the connection for good")
    httpd.log.expect(ANSWERED, NAME)


def connection_address(connection: socket.socket) -> Address:
    host, port = connection.getsockname()
    return host, port
