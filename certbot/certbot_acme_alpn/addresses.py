# SPDX-License-Identifier: Apache-2.0
"""The values of --acme-alpn-check: where to make the handshakes that come before the CA's."""
import argparse
import ipaddress
import re
from dataclasses import dataclass
from typing import Any, Iterable, List, Optional, Union

from certbot import errors

OPTION = "--acme-alpn-check"
ALLOWED = ("HOST:PORT with a port from 1 to 65535, [IPV6]:PORT, several of these with commas "
           "between, or none")
DEFAULT = "127.0.0.1:443"
NONE = "none"

_LABEL = "[a-z0-9_-]{1,63}"
_FORM = re.compile(
    rf"(?:\[(?P<ipv6>[^\]]+)\]|(?P<host>{_LABEL}(?:\.{_LABEL})*\.?)):(?P<port>[0-9]{{1,5}})",
    re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Address:
    """One address to connect to."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class InvalidAddress(argparse.ArgumentTypeError, ValueError):
    """A value that is not allowed.

    argparse shows the text of the one base, certbot's reader of renewal files catches the other.
    """

    def __init__(self, text: str) -> None:
        super().__init__(f"{text!r} is not allowed: {OPTION} takes {ALLOWED}")


class Several(argparse.Action):
    """A repeated option counts as one with commas, which is how certbot keeps it.

    Not argparse's "extend": with that certbot 2 takes a list in cli.ini, lets the CA issue, and
    dies before it has written the renewal file. With this it refuses the list at once.
    """

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any,
                 option_string: Optional[str] = None) -> None:
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, f"{before},{values}" if before else values)


def option_value(value: Union[str, Iterable[str]]) -> str:
    """The option's argparse type. A value with commas and no quotes is a list in a renewal file."""
    texts = value.split(",") if isinstance(value, str) else value
    return ",".join(NONE if text.strip().lower() == NONE else str(parse(text.strip()))
                    for text in texts)


def parse(text: str) -> Address:
    """One value other than "none"."""
    form = _FORM.fullmatch(text)
    if form is None or not 1 <= int(form["port"]) <= 65535:
        raise InvalidAddress(text)
    if form["ipv6"] is not None:
        try:
            return Address(str(ipaddress.IPv6Address(form["ipv6"])), int(form["port"]))
        except ValueError as error:
            raise InvalidAddress(text) from error
    return Address(form["host"], int(form["port"]))


def configured(value: Optional[str]) -> List[Address]:
    """The addresses to check, each once; none at all when the check is turned off."""
    distinct = list(dict.fromkeys((value or DEFAULT).split(",")))
    if NONE not in distinct:
        return [parse(text) for text in distinct]
    if len(distinct) > 1:
        raise errors.MisconfigurationError(
            f"{OPTION} none turns the check off, so it cannot be given with another address")
    return []
