"""The certbot plugin's parts in this process, without certbot's command line: what it says of a failure."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from .server import REPOSITORY
from .spool import KeyAuthorization

# Seconds; one attempt, which takes half a second at most.
WAIT = 0.1


def part(name: str) -> ModuleType:
    """A module of the plugin, where this system has a certbot that is new enough for it."""
    source = str(REPOSITORY / "certbot")
    if source not in sys.path:
        sys.path.insert(0, source)
    return importlib.import_module(f"certbot_acme_alpn.{name}")


def entry(name: str, value: KeyAuthorization | None = None) -> Any:
    text = (value or KeyAuthorization.new()).text
    return part("spool").Entry(part("identifier").parse(name), text)


def authenticator(*arguments: str, domains: tuple[str, ...] = ()) -> Any:
    """With these options, as argparse reads them."""
    Authenticator = part("authenticator").Authenticator
    parser = argparse.ArgumentParser()
    Authenticator.inject_parser_options(parser, "acme-alpn")
    config = parser.parse_args(arguments)
    config.domains = list(domains)
    return Authenticator(config, "acme-alpn")


def check(host: str, port: int, name: str, value: KeyAuthorization | None = None) -> str:
    """What the handshake before the CA's finds wrong."""
    address = part("addresses").Address(host, port)
    return problem(part("check").verify, [entry(name, value)], [address], WAIT)


def problem(action: Any, *arguments: Any) -> str:
    """The text of the error that this raises, in one line."""
    errors = importlib.import_module("certbot.errors")
    try:
        action(*arguments)
    except (errors.Error, argparse.ArgumentTypeError) as error:
        return " ".join(str(error).split())
    raise AssertionError("the plugin finds nothing wrong")


def spool(directory: Path | str) -> Any:
    return part("spool").Spool(str(directory))
