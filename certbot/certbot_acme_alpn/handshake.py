# SPDX-License-Identifier: Apache-2.0
"""One acme-tls/1 handshake as a CA makes it, and the certificate that was served."""
import socket
import ssl
import time
from typing import Optional

from certbot_acme_alpn import addresses, resolver
from certbot_acme_alpn.addresses import Address
from certbot_acme_alpn.problem import NoConnection, OrdinaryCertificate, Problem, Refused

PROTOCOL = "acme-tls/1"

# What an attempt gets at least: the last one is to fail for its reason, not for lack of time.
SHORTEST = 0.5

LOG = "httpd's error log says why"
CLOSED = "the connection was closed in the middle of the TLS handshake"


def _refused() -> Problem:
    return Refused(
        "httpd refused acme-tls/1 (TLS alert no_application_protocol)",
        "either mod_acme_alpn is not loaded or is off for this vhost (apachectl -M lists the "
        "modules), or it has no valid entry for the name in the spool that it reads. AALPN0102 in "
        "httpd's error log says which file it looked for, and what is wrong with it. If there is "
        "no such line of that time, something in front of httpd (nginx, Caddy, a CDN) answered")


def _other_protocol() -> Problem:
    return OrdinaryCertificate(
        "the server did not choose acme-tls/1, so a CA would see an ordinary certificate",
        "mod_acme_alpn is not loaded or is off for this vhost (apachectl -M lists the modules), or "
        "something in front of httpd ends TLS there")


def _no_tls() -> Problem:
    return Problem("what listens there does not speak TLS",
                   "name the port of the TLS vhosts, or give the first vhost of that address "
                   "SSLEngine on")


# OpenSSL's words. A server that chooses a protocol which was not offered, as httpd without the
# module does, is a "bad extension" to newer releases of OpenSSL; older ones report the choice.
_REASONS = {
    "no application protocol": _refused,
    "bad extension": _other_protocol,
    "wrong version number": _no_tls,
}


def served_certificate(address: Address, server_name: str, deadline: float) -> bytes:
    """The DER of the certificate served to a CA that asks for server_name at the address."""
    with _connect(address, deadline) as connection:
        connection.settimeout(_left(deadline))
        try:
            with _context().wrap_socket(connection, server_hostname=server_name) as tls:
                return _challenge_certificate(tls)
        except socket.timeout as error:
            raise Problem("the connection was accepted, but the TLS handshake did not end in time",
                          "is httpd overloaded, or is it something else that listens there?"
                          ) from error
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            raise Problem(CLOSED, LOG) from error
        except ssl.SSLError as error:
            raise _tls_failure(error) from error
        except OSError as error:
            raise Problem(f"{CLOSED} ({error.strerror})", LOG) from error


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), SHORTEST)


def _connect(address: Address, deadline: float) -> socket.socket:
    try:
        return _connect_any(address, deadline)
    except socket.gaierror as error:
        seen, cure = f"the host name cannot be resolved ({error.strerror})", "correct it"
    except ConnectionRefusedError:
        seen, cure = "nothing listens there (connection refused)", "start httpd"
    except socket.timeout:
        seen, cure = "no connection in time, as if a firewall dropped it", "let it through"
    except OSError as error:
        seen, cure = f"no connection ({error.strerror})", "make the address reachable"
    raise NoConnection(
        seen, f"{cure}, or name the address of its TLS vhosts with {addresses.OPTION} HOST:PORT")


def _connect_any(address: Address, deadline: float) -> socket.socket:
    """To the first that answers of what the host name stands for, or the first one's OSError.

    Not socket.create_connection(address), which gives all of the time to each of them.
    """
    found = resolver.resolve(address.host, address.port, _left(deadline))
    problem: Optional[OSError] = None
    for tried, each in enumerate(found):
        try:
            return _connect_one(each, _left(deadline) / (len(found) - tried))
        except OSError as error:
            problem = problem or error
    raise problem or OSError("no address")


def _connect_one(found: resolver.Found, seconds: float) -> socket.socket:
    family, kind, protocol, _, where = found
    connection = socket.socket(family, kind, protocol)
    try:
        connection.settimeout(seconds)
        connection.connect(where)
        return connection
    except BaseException:
        connection.close()
        raise


def _context() -> ssl.SSLContext:
    """RFC 8737 §3: TLS 1.2 or later, only acme-tls/1 offered, a self-signed certificate expected."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([PROTOCOL])
    return context


def _challenge_certificate(tls: ssl.SSLSocket) -> bytes:
    if tls.selected_alpn_protocol() != PROTOCOL:
        raise _other_protocol()
    der = tls.getpeercert(binary_form=True)
    if der is None:
        raise Problem("the server sent no certificate", LOG)
    return der


def _tls_failure(error: ssl.SSLError) -> Problem:
    # Not error.reason: Python has no name for the alert no_application_protocol.
    words = str(error).lower().replace("_", " ")
    for reason, problem in _REASONS.items():
        if reason in words:
            return problem()
    return Problem(f"the TLS handshake failed ({error.reason or error})", LOG)
