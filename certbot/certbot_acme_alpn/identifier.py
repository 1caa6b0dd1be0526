# SPDX-License-Identifier: Apache-2.0
"""An ACME identifier: how the spool names it, and which SNI a CA sends for it."""
import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Optional, Union

from certbot import errors

IPAddress = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

MAX_NAME = 253
_LABEL = re.compile(r"[a-z0-9-]{1,63}")


@dataclass(frozen=True)
class Identifier:
    """`text` is the canonical form; `address` is set for an IP identifier only."""

    text: str
    address: Optional[IPAddress] = None

    @property
    def server_name(self) -> str:
        """The SNI of a validation: RFC 8737 §3 for names, RFC 8738 §6 for IP addresses."""
        return self.text if self.address is None else self.address.reverse_pointer


def parse(text: str) -> Identifier:
    """Read an identifier of certbot's. It becomes a file name, so the form is checked strictly."""
    address = _address(text)
    if address is not None:
        return Identifier(_address_text(address), address)
    name = text.lower()
    if name.endswith("."):
        name = name[:-1]
    if not (text.isascii() and len(name) <= MAX_NAME
            and all(_LABEL.fullmatch(label) for label in name.split("."))):
        raise errors.PluginError(
            f"{text!r} is neither a DNS name in A-labels (letters, digits and hyphens) nor an "
            "IP address, so the spool cannot have an entry for it")
    return Identifier(name)


def _address(text: str) -> Optional[IPAddress]:
    if "%" in text:  # an IPv6 zone, which no identifier has
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _address_text(address: IPAddress) -> str:
    # inet_ntop writes ::ffff:192.0.2.1 as RFC 5952 §5 and httpd do; Python's str() writes hex.
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return socket.inet_ntop(family, address.packed)
