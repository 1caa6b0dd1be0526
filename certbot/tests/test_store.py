"""The store, with a real redis-server and the acme-alpn that is built beside the plugin."""
import pathlib
import shutil
import socket
import subprocess
import time
from typing import Callable, Iterator

import pytest
from certbot import errors

from certbot_acme_alpn import identifier, store
from certbot_acme_alpn.spool import Entry
from challenge_certificates import KEY_AUTHORIZATION, OTHER_KEY_AUTHORIZATION

BUILT = pathlib.Path(__file__).parents[2]
SERVER = pathlib.Path("/usr/bin/redis-server")
ENTRY = Entry(identifier.parse("a.example"), KEY_AUTHORIZATION)
OTHER = Entry(ENTRY.identifier, OTHER_KEY_AUTHORIZATION)
KEY = "acme-alpn:a.example"

Cli = Callable[..., str]


@pytest.fixture(name="program")
def fixture_program(monkeypatch: pytest.MonkeyPatch) -> None:
    if not (BUILT / "acme-alpn").exists() or not SERVER.exists():
        pytest.skip("acme-alpn is not built here, or redis-server is not installed")
    monkeypatch.setenv("PATH", f"{BUILT}:/usr/bin:/bin")


@pytest.fixture(name="port", scope="module")
def fixture_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of a server that wants a password."""
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
        yield port
        process.terminate()


@pytest.fixture(name="url")
def fixture_url(program: None, port: int, tmp_path: pathlib.Path) -> str:
    return url_with(port, tmp_path, "the-password")


@pytest.fixture(name="cli")
def fixture_cli(port: int) -> Cli:
    return lambda *command: subprocess.run(
        ["redis-cli", "-p", str(port), "--no-auth-warning", "-a", "the-password", *command],
        stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def url_with(port: int, directory: pathlib.Path, password: str) -> str:
    path = directory / "password"
    path.write_text(f"{password}\n")
    path.chmod(0o600)
    return f"redis://127.0.0.1:{port}?passwordfile={path}&expiry=1h"


def test_publish_and_withdraw(url: str, cli: Cli) -> None:
    place = store.Store(url)
    place.check()
    place.publish(ENTRY)
    assert cli("GET", KEY) == KEY_AUTHORIZATION
    assert 3500 < int(cli("TTL", KEY)) <= 3600
    for _ in range(2):
        place.withdraw(ENTRY)
        assert cli("EXISTS", KEY) == "0"


def test_another_clients_value_stays(url: str, cli: Cli) -> None:
    store.Store(url).publish(OTHER)
    store.Store(url).withdraw(ENTRY)
    assert cli("GET", KEY) == OTHER_KEY_AUTHORIZATION


def test_refusals(program: None, port: int, tmp_path: pathlib.Path) -> None:
    for url, kind, expected in (
            (url_with(port, tmp_path, "not-it"), errors.PluginError,
             f"the store redis://127.0.0.1:{port}: "),
            ("redis://127.0.0.1:1", errors.PluginError, "the store redis://127.0.0.1:1: .*refused"),
            ("redis://", errors.MisconfigurationError, "--acme-alpn-spool: .*no host"),
            (f"redis://127.0.0.1?passwordfile={tmp_path}/no", errors.PluginError,
             "^the store's URL: passwordfile .*/no: No such file")):
        with pytest.raises(kind, match=expected) as raised:
            store.Store(url).check()
        assert "not-it" not in str(raised.value)


@pytest.mark.parametrize("path", ["/nowhere", ""])
def test_without_the_program(
        monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, path: str) -> None:
    monkeypatch.setattr(store, "DIRECTORIES", ("/nowhere",))
    monkeypatch.setenv("PATH", path)
    (tmp_path / store.PROGRAM).symlink_to("/bin/true")
    monkeypatch.chdir(tmp_path)
    assert shutil.which(store.PROGRAM, path="/nowhere") is None
    with pytest.raises(errors.NoInstallationError, match="-spool .* apt-get install acme-alpn"):
        store.Store("redis://127.0.0.1").check()


def test_paths_are_no_urls() -> None:
    assert not any(map(store.is_url, ("/var/spool/acme-alpn", "redis", "./redis:")))
