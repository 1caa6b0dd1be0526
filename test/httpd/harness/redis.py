"""Debian's redis-server, run privately: on a free port, with TLS, on a socket, or all of these."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from . import poll, ports
from .pages import block
from .pki import Authority
from .server import LEASH, PARENT
from .spool import KeyAuthorization

SERVER = "/usr/bin/redis-server"
CLI = "/usr/bin/redis-cli"
PREFIX = "acme-alpn:"
READER, WRITER = "reader", "writer"
_PASSWORDS = {"default": "pass-of-default", READER: "pass-of-reader", WRITER: "pass-of-writer"}

ACL = dict(re.findall(r"user (\w+) on >\S+ (.*)", block("fleet.md", "user default off")))


class Redis:
    """One server; `secret` makes it want passwords, of the default user or of an ACL's."""

    def __init__(self, *, authority: Authority | None = None, secret: bool = False) -> None:
        # Where 's User reaches the socket.
        self.directory = Path(tempfile.mkdtemp(prefix="acme-alpn-redis-", dir=PARENT))
        self.directory.chmod(0o755)
        self.port, self.tls_port = ports.choose(), ports.choose()
        self.socket = self.directory / "redis.sock"
        self._authority = authority
        self._secret = secret
        self._process: subprocess.Popen[bytes] | None = None
        self._config = self.directory / "redis.conf"
        self._config.write_text("\n".join(self._lines()) + "\n")

    def _lines(self) -> list[str]:
        lines = [
            "bind 127.0.0.1 127.0.0.2",
            f"port {self.port}",
            f"unixsocket {self.socket}",
            "unixsocketperm 777",
            f"dir {self.directory}",
            f"logfile {self.directory}/redis.log",
            'save ""',
            "appendonly yes",
            "appendfsync always",
        ]
        if self._secret:
            acl = self.directory / "users.acl"
            users = [f"user {user} on >{_PASSWORDS[user]} {rights}" for user, rights in ACL.items()]
            acl.write_text("\n".join([f"user default on >{_PASSWORDS['default']} ~* +@all", *users]) + "\n")
            lines.append(f"aclfile {acl}")
        if self._authority:
            credential = self._authority.issue("localhost", "127.0.0.1")
            lines += [
                f"tls-port {self.tls_port}",
                f"tls-cert-file {credential.certificate}",
                f"tls-key-file {credential.key}",
                f"tls-ca-cert-file {self._authority.root}",
            ]
        return lines

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def password_file(self, user: str = "default", text: str = "") -> Path:
        path = self.directory / f"password-{user}{'-wrong' if text else ''}"
        path.write_text(f"{text or _PASSWORDS[user]}\n")
        path.chmod(0o600)
        return path

    def start(self) -> Redis:
        self._process = subprocess.Popen(
            [*LEASH, SERVER, str(self._config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        poll.until(lambda: self._answers(), poll.DEADLINE, f"redis-server answers (its log is in {self.directory})")
        return self

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, "redis-server ended"
        return self.run("PING", check=False) == "PONG"

    def run(self, *command: str, check: bool = True) -> str:
        """What redis-cli says, as the default user."""
        environment = {**os.environ, **({"REDISCLI_AUTH": _PASSWORDS["default"]} if self._secret else {})}
        done = subprocess.run(
            [CLI, "-h", "127.0.0.1", "-p", str(self.port), *command],
            capture_output=True, text=True, env=environment, timeout=poll.DEADLINE * poll.FACTOR, check=check,
        )
        return done.stdout.strip()

    def publish(self, identifier: str, value: str | None = None, prefix: str = PREFIX) -> KeyAuthorization:
        key_authorization = KeyAuthorization.new()
        text = key_authorization.text if value is None else value
        assert self.run("SET", prefix + identifier, text, "EX", "600") == "OK"
        return key_authorization

    def withdraw(self, identifier: str) -> None:
        assert self.run("DEL", PREFIX + identifier) == "1"

    def clients(self) -> int:
        """Connections, without the one that asks."""
        return len(self.run("CLIENT", "LIST").splitlines()) - 1

    def pause(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    @property
    def _pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def restart(self) -> None:
        """As after a crash: what was written is still there."""
        self.kill()
        self.start()

    def __enter__(self) -> Redis:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.directory)


class FakeStore:
    """Accepts, and does to each connection what `serve` does, in a thread."""

    def __init__(self, serve: Callable[[socket.socket, threading.Event], object]) -> None:
        self._serve = serve
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.accepted = 0
        self.accepted_last = 0.0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted_last = time.monotonic()
            self.accepted += 1
            threading.Thread(target=self._guarded, args=(connection,), daemon=True).start()

    def _guarded(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._serve(connection, self._over)
            except OSError:
                pass

    def __enter__(self) -> FakeStore:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def silent(connection: socket.socket, over: threading.Event) -> None:
    """Reads, and never answers."""
    over.wait(60)


def dripping(connection: socket.socket, over: threading.Event) -> None:
    """A byte of a long value now and then, so that no single read takes long."""
    connection.sendall(b"$1000\r\n")
    while not over.wait(0.05):
        connection.sendall(b"x")


def sending(data: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """The same answer to whatever comes."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        while connection.recv(4096) and not over.is_set():
            connection.sendall(data)

    return serve


class Hesitant:
    """Has nothing, and says so late; `asked` are those who wait for that."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self.asked = 0

    def _count(self, change: int) -> None:
        with self._lock:
            self.asked += change

    def __call__(self, connection: socket.socket, over: threading.Event) -> None:
        while connection.recv(4096):
            self._count(1)
            over.wait(self._seconds)
            self._count(-1)
            connection.sendall(b"$-1\r\n")
