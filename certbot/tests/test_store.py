"""The store, with a real redis-server."""
import pathlib
import socket
import subprocess
import sys
import time
from typing import Iterator

import pytest
from certbot import errors

from certbot_acme_alpn import identifier, store
from certbot_acme_alpn.spool import Entry
from challenge_certificates import KEY_AUTHORIZATION, OTHER_KEY_AUTHORIZATION

SERVER = pathlib.Path("/usr/bin/redis-server")
ENTRY = Entry(identifier.parse("a.example"), KEY_AUTHORIZATION)
OTHER = Entry(ENTRY.identifier, OTHER_KEY_AUTHORIZATION)
KEY = "acme-alpn:a.example"


@pytest.fixture(name="redis_at", scope="module")
def fixture_redis_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that wants a password; the URL without it."""
    directory = tmp_path_factory.mktemp("redis")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", "",
               "--requirepass", "the-password"]
    with subprocess.Popen([SERVER, *options], stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "redis-server does not answer"
        yield f"redis://127.0.0.1:{port}"
        process.terminate()


@pytest.fixture(name="url")
def fixture_url(redis_at: str, tmp_path: pathlib.Path) -> str:
    write_password(tmp_path / "password", "the-password")
    return f"{redis_at}?passwordfile={tmp_path}/password&expiry=1h"


def write_password(path: pathlib.Path, text: str) -> None:
    path.write_text(f"{text}\n")
    path.chmod(0o600)


def client(url: str) -> object:
    return store.Store(url)._client()  # pylint: disable=protected-access


def test_publish_and_withdraw(url: str) -> None:
    place = store.Store(url)
    place.check()
    place.publish(ENTRY)
    assert client(url).get(KEY) == KEY_AUTHORIZATION.encode()
    assert 3500 < client(url).ttl(KEY) <= 3600
    place.withdraw(ENTRY)
    assert client(url).get(KEY) is None
    place.withdraw(ENTRY)


def test_another_clients_value_stays(url: str) -> None:
    store.Store(url).publish(OTHER)
    store.Store(url).withdraw(ENTRY)
    assert client(url).get(KEY) == OTHER_KEY_AUTHORIZATION.encode()


def test_value_that_is_replaced_meanwhile_stays(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import redis  # pylint: disable=import-outside-toplevel
    store.Store(url).publish(ENTRY)
    multi = redis.client.Pipeline.multi

    def replace(pipeline: object) -> None:
        store.Store(url).publish(OTHER)
        multi(pipeline)

    monkeypatch.setattr(redis.client.Pipeline, "multi", replace)
    store.Store(url).withdraw(ENTRY)
    assert client(url).get(KEY) == OTHER_KEY_AUTHORIZATION.encode()


def test_wrong_password_is_not_shown(redis_at: str, tmp_path: pathlib.Path) -> None:
    write_password(tmp_path / "wrong", "not-the-password")
    with pytest.raises(errors.PluginError, match="the store redis://127.0.0.1") as raised:
        store.Store(f"{redis_at}?passwordfile={tmp_path}/wrong").check()
    assert "not-the-password" not in str(raised.value)
    with pytest.raises(errors.PluginError):
        store.Store(redis_at).check()


def test_without_redis_for_python(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(errors.NoInstallationError, match="python3-redis"):
        store.Store(url).check()


def test_wrong_url_or_nobody_there() -> None:
    with pytest.raises(errors.PluginError, match="the store redis://127.0.0.1:1: "):
        store.Store("redis://127.0.0.1:1").check()
    with pytest.raises(errors.MisconfigurationError, match="--acme-alpn-spool: there is no host"):
        store.Store("redis://")
