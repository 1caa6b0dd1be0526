# SPDX-License-Identifier: Apache-2.0
"""The values of --acme-alpn-check: where the plugin checks httpd before the CA validates."""
import argparse
import ipaddress
import re
from dataclasses import dataclass
from typing import Any, Iterable, List, Optional, Union

from certbot import errors

OPTION = "--acme-alpn-check"
ALLOWED = ("HOST:PORT or [IPV6]:PORT with a port from 1 to 65535, several of these with commas "
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

    argparse shows an ArgumentTypeError's text; certbot catches ValueError in renewal files.
    """

    def __init__(self, text: str) -> None:
        super().__init__(f"{text!r} is not allowed: give {OPTION} {ALLOWED}")


class Several(argparse.Action):
    """Join repeated options with commas, the form that certbot keeps in its renewal file.

    With argparse's "extend" certbot 2 accepts a list in cli.ini, lets the CA issue, and crashes
    before it writes the renewal file. With this action it refuses the list at once.
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
    """The addresses to check, each once; an empty list when the check is turned off."""
    distinct = list(dict.fromkeys((value or DEFAULT).split(",")))
    if NONE not in distinct:
        return [parse(text) for text in distinct]
    if len(distinct) > 1:
        raise errors.MisconfigurationError(
            f"{OPTION} none turns the check off: give it alone, or give addresses only")
    return []
