"""acme.sh with --alpn: the calls that it makes, as its source of 3.1.4 makes them, and acme.sh itself where it is installed."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from . import commands, poll
from .acme import Pebble
from .hooks import CLIENT_TIMEOUT, HOOKS, TOOL, path_with
from .pages import block
from .pki import general_name
from .server import LEASH
from .spool import KeyAuthorization

HOOK = HOOKS / "acme.sh-openssl"
# The command of the manual, and what acme.sh's cron job finds programs with.
COMMAND = shlex.split(block("clients.md", "acme.sh --issue --server letsencrypt").replace("\\\n", ""))
CRON_PATH = "/usr/bin:/bin"

# What acme.sh writes for openssl; it gives the certificate the names and the digest by this alone.
_CONFIG = """[ req_distinguished_name ]
[ req ]
distinguished_name = req_distinguished_name
req_extensions = v3_req
[ v3_req ]
extendedKeyUsage=serverAuth,clientAuth

subjectAltName={kind}:{name}"""
_IDENTIFIER = "\n1.3.6.1.5.5.7.1.31=critical,DER:04:20:{digest}"


def told(option: str) -> str:
    return COMMAND[COMMAND.index(option) + 1]


Done = subprocess.CompletedProcess[str]


def children(pid: int) -> list[str]:
    """What they run."""
    names = []
    for number in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            names.append(Path(f"/proc/{number}/comm").read_text().strip())
    return names


@dataclass
class Calls:
    """The calls of one acme.sh, for a certificate whose files are in `directory`. The test itself is acme.sh's process."""

    directory: Path
    spool: Path | str
    check: str
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directory.mkdir(mode=0o700)
        self._path("key").write_text(self.openssl("genrsa", "2048").stdout)

    def _path(self, kind: str) -> Path:
        return self.directory / f"tls.validation.{kind}"

    def variables(self) -> dict[str, str]:
        return {
            "PATH": path_with(TOOL.parent),
            "DOMAIN_PATH": str(self.directory),
            "ACME_ALPN_SPOOL": str(self.spool),
            "ACME_ALPN_CHECK": self.check,
            **self.environment,
        }

    def _run(self, command: Sequence[str | Path], given: str) -> Done:
        return subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            timeout=poll.DEADLINE * poll.FACTOR,
            check=False,
            env=self.variables(),
        )

    def openssl(self, *arguments: str, given: str = "") -> Done:
        return self._run([HOOK, *arguments], given)

    def digest(self, text: str) -> str:
        done = self.openssl("dgst", "-sha256", "-hex", given=text)
        assert done.returncode == 0, done.stderr
        return done.stdout.partition("=")[2].strip()

    def request(self, name: str, digest: str | None = None) -> Done:
        """The request: for the challenge's certificate or, without a digest, for the one that the CA is to issue."""
        kind = "IP" if type(general_name(name)).__name__ == "IPAddress" else "DNS"
        config = _CONFIG.format(kind=kind, name=name) + (_IDENTIFIER.format(digest=digest) if digest else "")
        self._path("conf").write_text(config)
        files = ["-key", str(self._path("key")), "-subj", "/CN=tls.acme.sh", "-config", str(self._path("conf"))]
        return self.openssl("req", "-new", "-sha256", *files, "-out", str(self._path("csr")))

    def prepare(self, name: str, value: KeyAuthorization) -> Done:
        """All that comes before s_server, or what of it fails."""
        digest = self.digest(value.text)
        assert digest == value.digest.hex()
        done = self.request(name, digest)
        if done.returncode == 0:
            files = ["-in", str(self._path("csr")), "-signkey", str(self._path("key"))]
            extensions = ["-extensions", "v3_req", "-extfile", str(self._path("conf"))]
            certificate = str(self._path("cert"))
            signed = self.openssl("x509", "-req", "-days", "365", *files, *extensions, "-out", certificate)
            assert signed.returncode == 0, signed.stderr
        return done

    def s_server(self) -> list[str]:
        files = ["-cert", str(self._path("cert")), "-key", str(self._path("key"))]
        return [str(HOOK), "s_server", "-www", *files, "-accept", told("--tlsport"), "-alpn", "acme-tls/1"]

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        """Until acme.sh kills it, which is at the end of the block unless the block does. acme.sh sleeps for a second
        before it goes on; this waits until the hook has nothing to do either."""
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen([*LEASH, *self.s_server()], env=self.variables(), **quiet)
        try:
            poll.until(lambda: "sleep" in children(process.pid), poll.DEADLINE, "the hook waits")
            yield process
        finally:
            self.clear_up(process)
            process.wait(poll.DEADLINE)

    def clear_up(self, process: subprocess.Popen[bytes]) -> None:
        """It does not wait, and removes the certificate."""
        process.terminate()
        self._path("cert").unlink()

    def sign(self) -> Done:
        """A request to the CA, with an RSA key: acme.sh looks at the signature alone, and not how the signer ended."""
        pipe = '"$0" dgst -sign "$1" -sha256 | "$0" base64 -e | tr -d "\\r\\n"'
        return self._run(["sh", "-c", pipe, HOOK, self._path("key")], "request")


class AcmeSh:
    """acme.sh itself with the command of the manual, and a home of its own."""

    def __init__(self, home: Path, pebble: Pebble, program: str) -> None:
        self.home, self._pebble, self._program = home, pebble, program
        home.mkdir()
        hook = Path(told("--openssl-bin"))
        assert hook.name == HOOK.name
        reload = told("--reloadcmd")
        self._replaced = {str(hook): str(HOOK), "letsencrypt": pebble.url, reload: f"touch {home}/reload"}

    def _run(self, arguments: Sequence[str], variables: Mapping[str, str]) -> Done:
        command = [self._program, "--home", str(self.home), *arguments]
        return commands.run(command, CLIENT_TIMEOUT * poll.FACTOR, env={"HOME": str(self.home), **variables})

    def register(self) -> str:
        """The account's thumbprint."""
        ca = ["--server", self._pebble.url, "--ca-bundle", str(self._pebble.trust)]
        done = self._run(["--register-account", *ca], {"PATH": path_with(TOOL.parent)})
        assert done.returncode == 0, done.stdout
        return done.stdout.split("ACCOUNT_THUMBPRINT='")[1].split("'")[0]

    def issue(self, names: Sequence[str], **variables: str) -> Done:
        given = [self._replaced.get(word, word).replace("/etc/ssl", str(self.home)) for word in COMMAND[1:]]
        place = given.index("www.example.com") - 1
        given[place : place + 2] = [word for name in names for word in ("-d", name)]
        trust = ["--ca-bundle", str(self._pebble.trust), "--force"]
        return self._run([*given, *trust], {"PATH": path_with(TOOL.parent), **variables})

    def cron(self) -> Done:
        """With cron's variables, and those that the manual puts into account.conf."""
        return self._run(["--cron", "--force"], {"PATH": CRON_PATH})


def installed(home: Path, pebble: Pebble) -> AcmeSh:
    """Debian has no acme.sh, so this is for who has one on the PATH."""
    program = shutil.which("acme.sh")
    if program is None:
        pytest.skip("acme.sh is not installed")
    return AcmeSh(home, pebble, program)
