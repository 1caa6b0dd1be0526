"""Handshakes by the thousand: the client in C of test/bench, built when it is first needed."""

from __future__ import annotations

import atexit
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

from .client import Address
from .fault import ServerFault
from .server import REPOSITORY
from .spool import KeyAuthorization

# The long forms of the tests, for which there is no time at each change.
LONG = os.environ.get("ACME_ALPN_LONG", "") not in ("", "0")

SOURCE = REPOSITORY / "test" / "bench" / "handshakes.c"

# What the client can make besides challenge handshakes and, with a CA's certificate, requests.
MODES = {"ordinary": "-o", "connect": "-x"}


class LoadFailed(ServerFault):
    """The client could not be built, or did not do its work."""


@lru_cache(maxsize=None)
def compile_program(source: Path, *options: str) -> Path:
    """A program (or what else the compiler's options make) of one C source that uses OpenSSL, built once for the
    whole process."""
    directory = tempfile.mkdtemp(prefix="acme-alpn-load-")
    atexit.register(shutil.rmtree, directory)
    built = Path(directory) / source.stem
    flags = _output("pkg-config", "--cflags", "--libs", "openssl")
    _output("cc", "-O2", *options, "-o", str(built), str(source), *shlex.split(flags), "-pthread")
    return built


def compile_module(source: Path) -> Path:
    """A module of httpd."""
    apr = _output(_output("apxs", "-q", "APR_CONFIG").strip(), "--cppflags", "--includes")
    include = _output("apxs", "-q", "INCLUDEDIR").strip()
    return compile_program(source, "-shared", "-fPIC", f"-I{include}", *shlex.split(apr))


def client() -> Path:
    return compile_program(SOURCE)


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        raise LoadFailed(f"{command[0]} is missing (Debian: apt-get install gcc pkg-config libssl-dev)") from None
    except subprocess.CalledProcessError as error:
        raise LoadFailed(f"{shlex.join(command)}: {error.stderr}") from None


@dataclass(frozen=True)
class Handshake:
    """One line of the client's record; the times are those of time.monotonic()."""

    begin: float
    end: float
    port: int
    name: str
    outcome: str

    @property
    def digest(self) -> str | None:
        return self.outcome if len(self.outcome) == 64 else None


@dataclass(frozen=True)
class Summary:
    """What became of all handshakes: the right and wrong answers, the fatal alerts, the rest."""

    handshakes: int
    right: int
    wrong: int
    refused: int
    failed: int
    seconds: float
    per_second: float

    @classmethod
    def parse(cls, line: str) -> Summary:
        given = dict(item.split("=") for item in line.split())
        types = {"int": int, "float": float}
        return cls(**{field.name: types[str(field.type)](given[field.name]) for field in fields(cls)})


class Load:
    """One run of the client, which ends by itself: after `count` handshakes, or after `seconds`."""

    def __init__(
        self,
        address: Address,
        targets: Iterable[tuple[str, KeyAuthorization | None]],
        *,
        count: int | None = None,
        seconds: int | None = None,
        threads: int = 1,
        rate: int | None = None,
        version: str | None = None,
        trust: Path | None = None,
        records: bool = False,
        mode: str | None = None,
    ) -> None:
        """With `trust`, a CA's certificate, ordinary requests for the page; with `mode` one of MODES; otherwise
        challenge handshakes."""
        self._directory = tempfile.TemporaryDirectory(prefix="acme-alpn-load-")
        lines = [f"{name} {value.digest.hex() if value else ''}\n" for name, value in targets]
        self._targets = Path(self._directory.name) / "targets"
        self._targets.write_text("".join(lines))
        options = ["-t", str(threads)]
        options += ["-n", str(count)] if count else []
        options += ["-s", str(seconds)] if seconds else []
        options += ["-p", str(rate)] if rate else []
        options += ["-v", version] if version else []
        options += ["-g", "/index.html", "-c", str(trust)] if trust else []
        options += ["-r"] if records else []
        options += [MODES[mode]] if mode else []
        self._output = Path(self._directory.name) / "output"
        self._errors = Path(self._directory.name) / "errors"
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            command = [str(client()), *options, address[0], str(address[1]), str(self._targets)]
            self._process = subprocess.Popen(command, stdout=output, stderr=errors)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._directory.cleanup()

    def wait(self) -> Summary:
        if self._process.wait() != 0:
            raise LoadFailed(f"exit {self._process.returncode}: {self._errors.read_text()}")
        return Summary.parse(self._output.read_text().splitlines()[-1])

    def records(self) -> Iterator[Handshake]:
        """After `wait`: every handshake of the run."""
        for line in self._output.read_text().splitlines()[:-1]:
            begin, end, port, name, outcome = line.split()
            yield Handshake(int(begin) / 1e9, int(end) / 1e9, int(port), name, outcome)


def run(
    address: Address, targets: Iterable[tuple[str, KeyAuthorization | None]], count: int, **options: object
) -> Summary:
    """`count` handshakes over these targets, whatever becomes of them."""
    with Load(address, targets, count=count, **options) as load:  # type: ignore[arg-type]
        return load.wait()
