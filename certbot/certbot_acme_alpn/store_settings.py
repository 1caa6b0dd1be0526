# SPDX-License-Identifier: Apache-2.0
"""A store as its URL describes it, in the words of AcmeAlpnStore; docs/fleet.md has them.

What is refused here is what httpd and the tool refuse, in their words: src/lib/acme_store_settings.c.
"""
import os
import re
import urllib.parse
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

SCHEMES = ("redis", "rediss", "unix")
PREFIX = "acme-alpn:"
EXPIRY = 24 * 60 * 60
PORT = 6379

# Of each answer, unless the URL says something else; nobody's handshake waits for it here.
TIMEOUT = 5.0

PREFIX_MAX = 128
DATABASE_MAX = 65535
TIMEOUT_MAX = 60.0
EXPIRY_MAX = 3650 * 24 * 60 * 60.0
SOCKET_MAX = 107  # bytes, of sun_path

_PATHS = ("passwordfile", "cafile", "certfile", "keyfile")
_TLS_ONLY = ("cafile", "certfile", "keyfile")
_KNOWN = ("timeout", "prefix", "database", "expiry", *_PATHS)
_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = "a number with a unit: ms, s (seconds, also without a unit), min, h or d"


@dataclass(frozen=True)
class Settings:
    """`arguments` are those of redis.Redis, without the password."""

    name: str
    arguments: Dict[str, Any]
    password_file: Optional[str] = None
    prefix: str = PREFIX
    expiry: int = EXPIRY


def is_url(text: str) -> bool:
    """Whether this is meant as the URL of a store, rather than as a path."""
    return text.startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


def parse(url: str) -> Settings:
    """The settings, or ValueError with what is wrong. Touches no file."""
    parts = urllib.parse.urlsplit(url)
    if parts.password is not None:
        raise ValueError("a password does not belong in the URL; put it into a file, and name "
                         "that with passwordfile=")
    if "#" in url:
        raise ValueError("the URL has a fragment (#); percent-encode it as %23")
    options = _options(parts)
    arguments, name, database = _place(parts)
    database = _database(options["database"]) if "database" in options else database
    timeout = _time(options, "timeout", TIMEOUT, 0.001, TIMEOUT_MAX, ", from 1ms to 60s")
    arguments.update(db=database, socket_timeout=timeout, socket_connect_timeout=timeout,
                     **_user(parts, options), **_tls(parts, options))
    return Settings(
        name + (f"/{database}" if database else ""), arguments, options.get("passwordfile"),
        options.get("prefix", PREFIX),
        int(_time(options, "expiry", EXPIRY, 1, EXPIRY_MAX, ", of 1s or more")))


def _is_encoded(text: str) -> bool:
    return not re.search("%(?![0-9A-Fa-f]{2})|%00", text)


def _decode(text: str) -> str:
    # Not parse_qsl, to which a "+" is a space, nor unquote alone, to which "%4" is no mistake.
    if not _is_encoded(text):
        raise ValueError("the percent-encoding of the URL is wrong")
    return urllib.parse.unquote(text, errors="surrogateescape")


def _options(parts: urllib.parse.SplitResult) -> Dict[str, str]:
    options = {}
    for item in filter(None, parts.query.split("&")):
        name, _, value = _decode(item).partition("=")
        if name not in _KNOWN:
            raise ValueError(f"'{name}' is not an option; they are timeout, passwordfile, prefix, "
                             "database, expiry, and with rediss:// cafile, certfile and keyfile")
        if name in _TLS_ONLY and parts.scheme != "rediss":
            raise ValueError(f"{name} goes with rediss://")
        if name in _PATHS and not value.startswith("/"):
            raise ValueError(f"{name}: give an absolute path")
        options[name] = value
    if not re.fullmatch("[!-~]{1,%d}" % PREFIX_MAX, options.get("prefix", PREFIX)):
        raise ValueError(f"prefix: give 1 to {PREFIX_MAX} characters of ASCII without spaces")
    return options


def _place(parts: urllib.parse.SplitResult) -> Tuple[Dict[str, Any], str, int]:
    """Where it is, as arguments and as messages show it, and the database in the path."""
    if parts.scheme == "unix":
        path = _decode(parts.path)
        if parts.hostname or len(path) < 2:
            raise ValueError("unix:// takes the absolute path of a socket: "
                             "unix:///run/redis/redis.sock")
        if len(os.fsencode(path)) > SOCKET_MAX:
            raise ValueError("the path of the socket is too long")
        return {"unix_socket_path": path}, f"unix://{path}", 0
    if not parts.hostname:
        raise ValueError("there is no host in the URL")
    port = _port(parts)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    database = _database(parts.path[1:]) if parts.path[1:] else 0
    return {"host": parts.hostname, "port": port}, f"{parts.scheme}://{host}:{port}", database


def _port(parts: urllib.parse.SplitResult) -> int:
    # Not parts.port, which takes 0 and any number of digits.
    found = re.search(":([^]:]*)$", parts.netloc.rpartition("@")[2])
    if not found:
        return PORT
    if not re.fullmatch("[0-9]{1,5}", found[1]) or not 1 <= int(found[1]) <= 65535:
        raise ValueError("the port of the URL is wrong")
    return int(found[1])


def _database(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > DATABASE_MAX:
        raise ValueError(f"database: give a number from 0 to {DATABASE_MAX}")
    return int(text)


def _time(options: Dict[str, str], name: str, default: float, least: float, most: float,
          limits: str) -> float:
    """The option in seconds."""
    if name not in options:
        return default
    found = re.fullmatch("([0-9]+)(ms|s|min|h|d|)", options[name])
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not least <= seconds <= most:
        raise ValueError(f"{name}: give {_TIME}{limits}")
    return seconds


def _user(parts: urllib.parse.SplitResult, options: Dict[str, str]) -> Dict[str, str]:
    if parts.username is None:
        return {}
    if not _is_encoded(parts.username) or not parts.username:
        raise ValueError("the user in the URL is empty, or its percent-encoding is wrong")
    if "passwordfile" not in options:
        raise ValueError("a user needs a password: name its file with passwordfile=")
    return {"username": _decode(parts.username)}


def _tls(parts: urllib.parse.SplitResult, options: Dict[str, str]) -> Dict[str, Any]:
    if parts.scheme != "rediss":
        return {}
    if ("certfile" in options) != ("keyfile" in options):
        raise ValueError("certfile and keyfile go together")
    return {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True,
            "ssl_ca_certs": options.get("cafile"), "ssl_certfile": options.get("certfile"),
            "ssl_keyfile": options.get("keyfile")}
