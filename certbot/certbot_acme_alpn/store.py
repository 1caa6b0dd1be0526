"""The store: a Redis or Valkey that all nodes of a fleet share, in place of a spool directory."""
import importlib
import re
import urllib.parse
from dataclasses import dataclass
from typing import Any, Dict, Optional

from certbot import errors

from certbot_acme_alpn.spool import OPTION, Entry

SCHEMES = ("redis", "rediss", "unix")
PREFIX = "acme-alpn:"
EXPIRY = 24 * 60 * 60
PORT = 6379

# Of each answer, unless the URL says something else; nobody's handshake waits for it here.
TIMEOUT = 5.0

_OPTIONS = {"timeout", "passwordfile", "prefix", "database", "expiry"}
_TLS_OPTIONS = {"cafile", "certfile", "keyfile"}
_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def is_url(text: str) -> bool:
    """Whether this is meant as the URL of a store, rather than as a path."""
    return text.startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


@dataclass(frozen=True)
class Settings:
    """A store as its URL describes it, in the words of AcmeAlpnStore; docs/fleet.md has them."""

    name: str
    arguments: Dict[str, Any]
    password_file: Optional[str] = None
    prefix: str = PREFIX
    expiry: int = EXPIRY


def parse(url: str) -> Settings:
    """The settings, or ValueError with what is wrong. Touches no file."""
    parts = urllib.parse.urlsplit(url)
    if parts.password is not None:
        raise ValueError("a password does not belong in the URL; put it into a file, and name "
                         "that with ?passwordfile=PATH")
    options = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
                   if parts.query else ())
    known = _OPTIONS | (_TLS_OPTIONS if parts.scheme == "rediss" else set())
    unknown = set(options) - known
    if unknown or parts.fragment:
        raise ValueError(f"{', '.join(sorted(unknown)) or '#'} is not an option of a store; they "
                         f"are {', '.join(sorted(known))}")
    if parts.username and "passwordfile" not in options:
        raise ValueError("a user needs a password: name its file with ?passwordfile=PATH")
    arguments, name = _where(parts)
    database = int(options.get("database", arguments.get("db", 0)))
    timeout = _seconds(options.get("timeout", f"{TIMEOUT:.0f}s"))
    arguments.update(db=database, socket_timeout=timeout, socket_connect_timeout=timeout)
    if parts.username:
        arguments["username"] = urllib.parse.unquote(parts.username)
    if parts.scheme == "rediss":
        arguments.update(ssl=True, ssl_cert_reqs="required", ssl_check_hostname=True,
                         ssl_ca_certs=options.get("cafile"), ssl_certfile=options.get("certfile"),
                         ssl_keyfile=options.get("keyfile"))
    return Settings(name + (f"/{database}" if database else ""), arguments,
                    options.get("passwordfile"), options.get("prefix", PREFIX),
                    max(1, int(_seconds(options.get("expiry", f"{EXPIRY}s")))))


def _where(parts: urllib.parse.SplitResult) -> Any:
    if parts.scheme == "unix":
        path = urllib.parse.unquote(parts.path)
        if parts.hostname or len(path) < 2:
            raise ValueError("unix:// takes the absolute path of a socket")
        return {"unix_socket_path": path}, f"unix://{path}"
    if not parts.hostname:
        raise ValueError("there is no host in the URL")
    port = parts.port or PORT
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    arguments = {"host": parts.hostname, "port": port, "db": int(parts.path.strip("/") or 0)}
    return arguments, f"{parts.scheme}://{host}:{port}"


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)(ms|s|min|h|d|)", text)
    if not found or int(found[1]) == 0:
        raise ValueError(f"{text!r} is not a time; give a number with a unit: ms, s, min, h or d")
    return int(found[1]) * _UNITS[found[2]]


class Store:
    """What Spool is for a directory."""

    def __init__(self, url: str) -> None:
        try:
            self._settings = parse(url)
        except ValueError as error:
            raise errors.MisconfigurationError(f"{OPTION}: {error}") from error
        self._made: Any = None

    def check(self) -> None:
        """See now whether the store lets us in."""
        self._call(lambda client: client.get(self._settings.prefix))

    def publish(self, entry: Entry) -> None:
        """Put the entry there, in place of any that there is, with an expiry."""
        self._call(lambda client: client.set(self._key(entry), entry.key_authorization,
                                             ex=self._settings.expiry))

    def withdraw(self, entry: Entry) -> None:
        """Remove the entry, unless it is gone or another client's has taken its place."""
        self._call(lambda client: self._delete_own(client, entry))

    def _delete_own(self, client: Any, entry: Entry) -> None:
        key = self._key(entry)
        with client.pipeline() as transaction:
            # Should anybody write the key from here on, the transaction does nothing.
            transaction.watch(key)
            value = transaction.get(key)
            if value is not None and value.rstrip(b"\r\n") == entry.content.rstrip(b"\n"):
                transaction.multi()
                transaction.delete(key)
                try:
                    transaction.execute()
                except _redis().WatchError:
                    pass

    def _key(self, entry: Entry) -> str:
        return self._settings.prefix + entry.identifier.text

    def _call(self, what: Any) -> None:
        redis = _redis()
        try:
            what(self._client())
        except (redis.RedisError, OSError) as error:
            raise errors.PluginError(f"the store {self._settings.name}: {self._words(error)}") from error

    def _words(self, error: Exception) -> str:
        # Redis quotes the arguments of a command that it does not know, such as AUTH's.
        text = str(error)
        password = self._settings.arguments.get("password") or self._password()
        return text.replace(password, "...") if password else text

    def _client(self) -> Any:
        if self._made is None:
            self._made = _redis().Redis(password=self._password(), **self._settings.arguments)
        return self._made

    def _password(self) -> Optional[str]:
        path = self._settings.password_file
        if path is None:
            return None
        try:
            with open(path, encoding="utf-8") as file:
                lines = file.read(1025).splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise errors.MisconfigurationError(f"the password of the store: {error}") from error
        if len(lines) != 1 or not lines[0]:
            raise errors.MisconfigurationError(
                f"the password of the store: {path} has to hold one line")
        return lines[0]


def _redis() -> Any:
    try:
        return importlib.import_module("redis")
    except ImportError as error:
        raise errors.NoInstallationError(
            f"{OPTION} names a store, and redis for Python is not installed: apt-get install "
            "python3-redis, or pip install 'certbot-acme-alpn[redis]' where certbot comes from "
            "pip") from error
