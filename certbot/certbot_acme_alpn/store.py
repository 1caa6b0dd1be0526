# SPDX-License-Identifier: Apache-2.0
"""The store: a Redis or Valkey that all nodes of a fleet share, in place of a spool directory."""
import importlib
from typing import Any, Optional

from certbot import errors

from certbot_acme_alpn import password_file, store_settings
from certbot_acme_alpn.spool import OPTION, Entry


class Store:
    """What Spool is for a directory."""

    def __init__(self, url: str) -> None:
        try:
            self._settings = store_settings.parse(url)
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
            raise errors.PluginError(
                f"the store {self._settings.name}: {self._words(error)}") from error

    def _words(self, error: Exception) -> str:
        # Redis quotes the arguments of a command that it does not know, such as AUTH's.
        text = str(error)
        password = self._password()
        return text.replace(password, "...") if password else text

    def _client(self) -> Any:
        if self._made is None:
            self._made = _redis().Redis(password=self._password(), **self._settings.arguments)
        return self._made

    def _password(self) -> Optional[str]:
        path = self._settings.password_file
        return None if path is None else password_file.read(path)


def _redis() -> Any:
    try:
        return importlib.import_module("redis")
    except ImportError as error:
        raise errors.NoInstallationError(
            f"{OPTION} names a store, and redis for Python is not installed: apt-get install "
            "python3-redis, or pip install 'certbot-acme-alpn[redis]' where certbot comes from "
            "pip") from error
