"""The servers that are measured side by side, each private, on a free port of the loopback, and ended with the run."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "httpd"))

from harness import poll, ports
from harness.load import compile_program
from harness.md import Store, load_mod_md
from harness.pki import Authority, Credential
from harness.server import BINARY, LEASH, MODULES, Httpd, accepts
from harness.spool import KeyAuthorization
from harness.upstream import certificate

HERE = Path(__file__).resolve().parent
SITE = "site.test"

# Debian's two children, with room for all clients at once, and none comes or goes in a measurement.
CHILDREN = ("StartServers 2", "ServerLimit 2", "ThreadsPerChild 32", "MaxRequestWorkers 64")
SPARE = ("MinSpareThreads 1", "MaxSpareThreads 64")

# What a target is: a name, and the digest that has to be answered where there is but one.
Targets = list[tuple[str, Optional[KeyAuthorization]]]


def spread(values: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "low": low, "high": high}


def figure(value: dict[str, float], digits: int = 2) -> str:
    return f"{value['median']:.{digits}f} ({value['low']:.{digits}f}–{value['high']:.{digits}f})"


def challenge_certificate(directory: Path, name: str, value: KeyAuthorization) -> Credential:
    """What the other servers are given to answer with, the key in the same file."""
    path = directory / f"{name}.pem"
    path.write_bytes(certificate([name], value.digest))
    return Credential(path, path)


def tree(pid: int) -> Iterator[int]:
    """The process and all that come from it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from tree(int(child))


def cpu_ns(pid: int) -> int:
    """User and system time of a server: of all threads that it has, in all processes."""
    return sum(
        int((task / "schedstat").read_text().split()[0])
        for process in tree(pid)
        for task in Path(f"/proc/{process}/task").iterdir()
    )


def resident_kib(pid: int) -> int:
    """The memory of a server: what is shared by its processes is divided among them."""
    rollups = (Path(f"/proc/{process}/smaps_rollup").read_text() for process in tree(pid))
    return sum(int(size) for text in rollups for size in re.findall(r"^Pss: +(\d+)", text, re.MULTILINE))


class Program:
    """A server that is not httpd."""

    def __init__(self, directory: Path, command: Iterable[str], port: int, environment: Mapping[str, str]) -> None:
        self._log = directory / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*LEASH, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], "HOME": str(directory), **environment},
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._address = ("127.0.0.1", port)
        poll.until(self._ready, 20, f"{' '.join(command)} accepts connections")

    def _ready(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"it ended with {self._process.returncode}: {self._log.read_text()}")
        return accepts(self._address)

    def address(self) -> tuple[str, int]:
        return self._address

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def httpd(authority: Authority, *, mpm: str = "event", with_module: bool = True, lines: Iterable[str] = ()) -> Httpd:
    """Not started yet. Its vhost has a P-256 certificate."""
    made = Httpd(mpm=mpm, with_module=with_module)
    made.server_lines += [*CHILDREN, *SPARE, "LogLevel warn"]
    made.vhost(SITE, credentials=[authority.issue(SITE)], lines=lines)
    made.log.allow("AALPN0102", r"reason=no-entry ")
    return made


def mod_md(authority: Authority, name: str, value: KeyAuthorization, kind: str) -> Httpd:
    """mod_md without this module, with a live challenge in its store; started."""
    made = httpd(authority, with_module=False, lines=["Protocols http/1.1 acme-tls/1"])
    store: Store = load_mod_md(made, "before", [SITE, name])
    if kind == "p256":
        made.server_lines.append("MDPrivateKeys secp256r1")
    made.vhost(name, credentials=[authority.issue(name, kind=kind)], lines=["Protocols http/1.1 acme-tls/1"])
    made.start()
    store.put_challenge(name, certificate([name], value.digest, kind=kind), kind)
    return made


def ualpn(directory: Path, name: str, value: KeyAuthorization) -> Program:
    """Debian's, with its two workers; it hands on to nobody."""
    port, socket = ports.choose(), directory / "socket"
    options = ["-b", f"127.0.0.1@{port}", "-c", "127.0.0.1@1", "-s", str(socket), "-S", "600"]
    server = Program(directory, ["ualpn", *options, "-p", str(directory / "pid"), "-u", "root"], port, {})
    client = ["ualpn", "-s", str(socket)]
    said = subprocess.run(client, input=f"auth {name} {value.digest_base64url}\n", capture_output=True, text=True, check=False)
    if not said.stdout.startswith("OK"):
        raise RuntimeError(f"ualpn: {said.stdout}{said.stderr}")
    return server


def caddy(directory: Path, name: str, value: KeyAuthorization) -> Program:
    """Debian's, with a challenge in the storage that its servers share."""
    port, storage = ports.choose(), directory / "storage"
    own = directory / "own"
    tokens = storage / "acme" / "ca.test-directory" / "challenge_tokens"
    tokens.mkdir(parents=True)
    token = {"type": "tls-alpn-01", "url": "https://ca.test/1", "status": "pending", "token": value.text.split(".")[0]}
    identifier = {"type": "dns", "value": name}
    (tokens / f"{name}.json").write_text(
        json.dumps({**token, "keyAuthorization": value.text, "identifier": identifier})
    )
    own.mkdir()
    config = directory / "Caddyfile"
    credential = Authority(own).issue(SITE)
    config.write_text(
        "{\n admin off\n auto_https disable_redirects\n"
        f" storage file_system {storage}\n acme_ca https://ca.test/directory\n}}\n"
        f"https://{SITE}:{port} {{\n bind 127.0.0.1\n tls {credential.certificate} {credential.key}\n respond hello\n}}\n"
        f"https://{name}:{port} {{\n bind 127.0.0.1\n respond hello\n}}\n"
    )
    return Program(directory, ["caddy", "run", "--adapter", "caddyfile", "--config", str(config)], port, {})


def s_server(directory: Path, name: str, value: KeyAuthorization) -> Program:
    """OpenSSL's, as acme.sh runs it; one connection after the other."""
    port = ports.choose()
    credential = challenge_certificate(directory, name, value)
    files = ["-cert", str(credential.certificate), "-key", str(credential.key)]
    command = ["openssl", "s_server", "-quiet", "-www", *files, "-alpn", "acme-tls/1"]
    return Program(directory, [*command, "-accept", f"127.0.0.1:{port}"], port, {})


def floor(directory: Path, name: str, value: KeyAuthorization) -> Program:
    port = ports.choose()
    credential = challenge_certificate(directory, name, value)
    program = compile_program(HERE / "floor.c")
    return Program(directory, [str(program), str(port), str(credential.certificate), str(credential.key)], port, {})
