# SPDX-License-Identifier: Apache-2.0
"""One acme-tls/1 handshake, made as a CA makes it, and the certificate served."""
import socket
import ssl
import time
from typing import Optional

from certbot_acme_alpn import addresses, resolver
from certbot_acme_alpn.addresses import Address
from certbot_acme_alpn.problem import NoConnection, OrdinaryCertificate, Problem, Refused

PROTOCOL = "acme-tls/1"

# Seconds that each try gets: the last one must show the real problem, not a time-out.
SHORTEST = 0.5

LOG = "see httpd's error log; mod_ssl logs the reason with LogLevel ssl:info"
CLOSED = "the server closed the connection during the TLS handshake"


def _refused() -> Problem:
    return Refused(
        "httpd refused acme-tls/1 (TLS alert no_application_protocol)",
        "AALPN0102 in httpd's error log names the file that httpd looked for and the reason. "
        "Without such a line, mod_acme_alpn is not loaded (apachectl -M lists the modules), "
        "AcmeAlpnEngine is Off for this vhost, or a server in front of httpd (nginx, Caddy, a CDN) "
        "answered")


def _other_protocol() -> Problem:
    return OrdinaryCertificate(
        "the server did not choose acme-tls/1, so a CA would see an ordinary certificate",
        "mod_acme_alpn is not loaded (apachectl -M lists the modules), AcmeAlpnEngine is Off for "
        "this vhost, or a server in front of httpd terminates TLS")


def _no_tls() -> Problem:
    return Problem("the server there does not speak TLS",
                   f"name the port of the TLS vhosts with {addresses.OPTION}, or set SSLEngine on "
                   "in the first vhost of that address")


# OpenSSL's words. httpd without the module chooses a protocol that the client did not offer: newer
# releases of OpenSSL call this a "bad extension", older ones report the chosen protocol.
_REASONS = {
    "no application protocol": _refused,
    "bad extension": _other_protocol,
    "wrong version number": _no_tls,
}


def served_certificate(address: Address, server_name: str, deadline: float) -> bytes:
    """The DER of the certificate that a CA gets for server_name at the address."""
    with _connect(address, deadline) as connection:
        connection.settimeout(_left(deadline))
        try:
            with _context().wrap_socket(connection, server_hostname=server_name) as tls:
                return _challenge_certificate(tls)
        except socket.timeout as error:
            raise Problem("the server accepted the connection, but the TLS handshake timed out",
                          "httpd is overloaded, or another program listens there") from error
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
        seen, cure = f"the host name cannot be resolved ({error.strerror})", "correct the name"
    except ConnectionRefusedError:
        seen, cure = "nothing listens there (connection refused)", "start httpd"
    except socket.timeout:
        seen, cure = "connecting timed out, as if a firewall dropped it", "open the firewall"
    except OSError as error:
        seen, cure = f"cannot connect ({error.strerror})", "check the route to it"
    raise NoConnection(
        seen, f"{cure}, or name the address of the TLS vhosts with {addresses.OPTION} HOST:PORT")


def _connect_any(address: Address, deadline: float) -> socket.socket:
    """Connect to the first IP address of the host that answers, or raise the first OSError.

    socket.create_connection would give the whole time to each IP address.
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
    """RFC 8737 §3: TLS 1.2 or later, acme-tls/1 alone; the certificate is self-signed."""
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
    # error.reason will not do: Python has no name for the alert no_application_protocol.
    words = str(error).lower().replace("_", " ")
    for reason, problem in _REASONS.items():
        if reason in words:
            return problem()
    return Problem(f"the TLS handshake failed ({error.reason or error})", LOG)
