"""A connection that was for a challenge ends with it, whatever the client does."""

from __future__ import annotations

import os
import socket

import pytest
from conftest import StartHttpd
from harness import client
from harness.challenge import ANSWERED
from harness.pki import Authority

NAME = "close.test"


def is_gone(tls: socket.socket) -> bool:
    """Whether no process has the server's end open once it has sent all: its kernel answers what comes with a reset."""
    with socket.socket(fileno=os.dup(tls.fileno())) as bare:
        bare.settimeout(client.TIMEOUT)
        assert bare.recv(1) == b""
        bare.send(b"x")
        return bare.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


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
            assert tls.recv(1) == b""
            assert is_gone(tls)
    httpd.log.expect(ANSWERED, NAME)
