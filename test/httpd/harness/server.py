"""A private httpd: its own ServerRoot, loopback listeners on free ports, watched from start to stop."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from . import poll, ports
from .errorlog import ErrorLog
from .fault import ServerFault
from .pki import Credential
from .spool import Spool

REPOSITORY = Path(__file__).resolve().parents[3]
BINARY = os.environ.get("ACME_ALPN_HTTPD", "/usr/sbin/apache2")
MODULES = Path(os.environ.get("ACME_ALPN_HTTPD_MODULES", "/usr/lib/apache2/modules"))
MODULE = Path(os.environ.get("ACME_ALPN_MODULE", REPOSITORY / ".libs" / "mod_acme_alpn.so"))
MPM = os.environ.get("ACME_ALPN_MPM", "event")
USER = "www-data"

# Root owns every directory on the way, and none is writable by others: the module checks that. And
# programs and devices work there, as dpkg needs it for its scripts; in /run they need not.
PARENT = "/var/lib"

BASE_MODULES = ("authz_core", "socache_shmcb")
PAGE = "hello over https\n"

# Several children, of which none goes unless a test makes it. While a graceful restart goes on, the
# event MPM needs free slots for the new generation, and more spare threads make it start all of them.
_THREADED = (
    "StartServers 3",
    "ServerLimit 6",
    "ThreadsPerChild 8",
    "MaxRequestWorkers 48",
    "MinSpareThreads 17",
    "MaxSpareThreads 48",
)
MPM_LINES = {
    "event": _THREADED,
    "worker": _THREADED,
    "prefork": ("StartServers 6", "ServerLimit 6", "MaxRequestWorkers 6", "MinSpareServers 1", "MaxSpareServers 6"),
}


# Ends the server with whoever started it, also when that one is killed and can clean up nothing.
LEASH = ("setpriv", "--pdeathsig", "TERM")

# The event MPM's own, of a child that is on its way out while it closes a connection or keeps one.
CHILD_EXIT_RACE = (
    "AH03092: process_lingering_close: apr_pollset_add failure"
    "|AH03093: process_socket: apr_pollset_add failure for keep alive"
)

# What the C library says before it ends a process whose heap it finds in disorder.
HEAP_IN_DISORDER = r"^(?:double free or corruption|corrupted |(?:free|malloc|realloc)\(\): )"

# What httpd says of a child that it kills when it stops.
KILLED = "AH00046: child process [0-9]+ still did not exit, sending a SIGKILL"

# What the watch says of the entries that a test makes, whenever that is; test_watch.py asks for it.
WATCH = r"AALPN02[12]\d:"

# The MPMs' own, at level error once all of the few workers are busy: a word on MPM_LINES alone, and
# whoever waits too long for one fails by itself.
ALL_WORKERS_BUSY = "AH00(161|28[678]|484)|AH03490|AH10159"


# A session of TLS 1.3 can be resumed with a suite of the same hash alone, and this has that of challenges.
RESUMABLE_SUITE = "SSLCipherSuite TLSv1.3 TLS_AES_128_GCM_SHA256"


class HttpdFailed(ServerFault):
    """httpd did not start, stop or stay alive as asked."""


class HttpdEnded(HttpdFailed):
    """httpd ended by itself."""


@dataclass
class Listener:
    """Where httpd listens; the port is chosen when the configuration is written."""

    host: str = "127.0.0.1"
    port: int = 0

    def choose_port(self) -> None:
        self.port = ports.choose(self.host)

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass
class Vhost:
    """A virtual host; without credentials and `lines` that give it some, set `tls` to False."""

    names: tuple[str, ...]
    credentials: tuple[Credential, ...] = ()
    lines: list[str] = field(default_factory=list)
    tls: bool = True
    listener: str = "main"

    def render(self, listener: Listener) -> list[str]:
        aliases = [f"ServerAlias {name}" for name in self.names[1:]]
        certificates = [
            line
            for credential in self.credentials
            for line in (f"SSLCertificateFile {credential.certificate}", f"SSLCertificateKeyFile {credential.key}")
        ]
        engine = ["SSLEngine on"] if self.tls else []
        body = [f"ServerName {self.names[0]}", *aliases, *engine, *certificates, *self.lines]
        return [f"<VirtualHost {listener}>", *(f"    {line}" for line in body), "</VirtualHost>"]


class Httpd:
    """One server. Set it up, `start` it, `stop` it; `close` also removes its files."""

    def __init__(
        self,
        *,
        mpm: str = MPM,
        modules: Iterable[str] = (),
        with_module: bool = True,
        module_last: bool = False,
        with_ssl: bool = True,
        log_level: str = "notice",
        expects_watch: bool = False,
    ) -> None:
        if os.geteuid() != 0:
            raise HttpdFailed("the private httpd has to be started by root: it changes to its own User")
        self.mpm = mpm
        self.modules = [*BASE_MODULES, *(["ssl"] if with_ssl else []), *modules]
        self.with_module = with_module
        self.module_last = module_last
        self.log_level = f"{log_level} acme_alpn:info" if with_module else log_level
        self.root = Path(tempfile.mkdtemp(prefix="acme-alpn-test-", dir=PARENT))
        self.root.chmod(0o755)
        for name in ("run", "htdocs"):
            (self.root / name).mkdir(mode=0o755)
        self.add_page("index.html")
        self.spool = Spool(self.root / "spool").create()
        self.listeners = {"main": Listener()}
        self.vhosts: list[Vhost] = []
        self.server_lines = [f"AcmeAlpnSpool {self.spool.path}"] if with_module else []
        self.environment: dict[str, str] = {}
        self.starter: list[str] = []  # the beginning of the command: how httpd becomes another user's than root's
        self.preloaded: list[Path] = []
        self.log = ErrorLog([self.root / "stderr.log", self.root / "error.log"])
        self.log.allow(pattern=f"{CHILD_EXIT_RACE}|{ALL_WORKERS_BUSY}")
        if not expects_watch:
            self.log.allow(pattern=rf"^{WATCH}")
        self._process: subprocess.Popen[bytes] | None = None

    def vhost(
        self,
        *names: str,
        credentials: Iterable[Credential] = (),
        lines: Iterable[str] = (),
        tls: bool = True,
        listener: str = "main",
    ) -> Vhost:
        """Add a vhost; the first one of a listener is its default."""
        vhost = Vhost(names, tuple(credentials), list(lines), tls, listener)
        self.vhosts.append(vhost)
        return vhost

    def add_page(self, name: str) -> None:
        """A page that any two servers serve with the same headers."""
        path = self.root / "htdocs" / name
        path.write_text(PAGE)
        os.utime(path, (0, 0))

    def listen(self, name: str, host: str = "127.0.0.1") -> None:
        self.listeners[name] = Listener(host)

    def address(self, listener: str = "main") -> tuple[str, int]:
        return self.listeners[listener].address

    # Configuration

    @property
    def config(self) -> Path:
        return self.root / "httpd.conf"

    def render(self) -> str:
        root = self.root
        run = root / "run"
        lines = [
            f"ServerRoot {root}",
            "ServerName localhost",
            f"DefaultRuntimeDir {run}",
            f"PidFile {run}/httpd.pid",
            f"LoadModule mpm_{self.mpm}_module {MODULES}/mod_mpm_{self.mpm}.so",
            f"Mutex file:{run} default",
            f"User {USER}",
            f"Group {USER}",
            f"ErrorLog {root}/error.log",
            *self._load_lines(),
            f"LogLevel {self.log_level}",
            *MPM_LINES[self.mpm],
            "Timeout 10",
            "KeepAliveTimeout 5",
            f"DocumentRoot {root}/htdocs",
            f"<Directory {root}/htdocs>",
            "    Require all granted",
            "</Directory>",
            *([f"SSLSessionCache shmcb:{run}/sessions(512000)"] if "ssl" in self.modules else []),
            *(f"Listen {listener}" for listener in self.listeners.values()),
            *self.server_lines,
        ]
        for vhost in self.vhosts:
            lines += vhost.render(self.listeners[vhost.listener])
        return "\n".join(lines) + "\n"

    def _load_lines(self) -> list[str]:
        """This module first, as on Debian, which goes by the alphabet."""
        lines = [f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in self.modules]
        if self.with_module:
            lines.insert(len(lines) if self.module_last else 0, f"LoadModule acme_alpn_module {MODULE}")
        return lines

    def write_config(self) -> None:
        for listener in self.listeners.values():
            if not listener.port:
                listener.choose_port()
        self.config.write_text(self.render())

    def configtest(self) -> tuple[int, str]:
        """`apachectl configtest`: its exit code and output. A running server is not touched."""
        self.write_config()
        done = subprocess.run(
            [*self.command(), "-t"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.variables(),
            timeout=poll.DEADLINE * poll.FACTOR,
            check=False,
        )
        return done.returncode, done.stdout.decode(errors="backslashreplace")

    def command(self) -> list[str]:
        return [*self.starter, BINARY, "-d", str(self.root), "-f", str(self.config)]

    def variables(self) -> dict[str, str]:
        extra = shlex.split(os.environ.get("ACME_ALPN_HTTPD_ENV", ""))
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C",
            **dict(item.split("=", 1) for item in extra),
            **self.environment,
        }
        # A sanitizer's comes first.
        preloaded = [*filter(None, [environment.get("LD_PRELOAD")]), *map(str, self.preloaded)]
        return {**environment, **({"LD_PRELOAD": ":".join(preloaded)} if preloaded else {})}

    # Life

    @property
    def pid(self) -> int:
        if self._process is None:
            raise HttpdFailed("httpd is not running")
        return self._process.pid

    def start(self) -> Httpd:
        """Start and return once every listener accepts connections."""
        self.write_config()
        self._spawn()
        try:
            poll.until(self._ready, poll.DEADLINE, "httpd accepts connections")
        except TimeoutError as error:
            self.stop()
            raise HttpdFailed(f"{error}\n{self.log.tail()}") from None
        except HttpdEnded:
            self._process = None
            raise HttpdFailed(f"httpd died while starting:\n{self.log.tail()}") from None
        return self

    def _spawn(self) -> None:
        wrapper = shlex.split(os.environ.get("ACME_ALPN_HTTPD_WRAPPER", ""))
        with (self.root / "stderr.log").open("ab") as output:
            self._process = subprocess.Popen(
                [*LEASH, *wrapper, *self.command(), "-DFOREGROUND"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.variables(),
                start_new_session=True,
            )

    def _ready(self) -> bool:
        self.assert_alive()
        if not self.log.find(pattern="resuming normal operations"):
            return False
        return all(accepts(listener.address) for listener in self.listeners.values())

    def assert_alive(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            raise HttpdEnded(f"httpd ended with {self._process.returncode}")

    def children(self) -> set[int]:
        """The processes that serve (httpd's own helpers for CGI or logs are not started here)."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return {int(pid) for pid in path.read_text().split()}

    def only_child(self, pid: int) -> AbstractContextManager[None]:
        """Pause all the other children, so that this one has to answer."""
        return paused(self.children() - {pid})

    def let_children_go(self) -> None:
        """Allow a child that is told to end to crash in that, as MPMs' do without this module, too: the event MPM's
        closes a connection that a worker has just freed, prefork's frees all in a signal handler, and mod_md's
        thread may be in libcurl when OpenSSL goes. In prefork the handler may also have come in the middle of a
        free(), which the C library of Debian 13 notices. One that has crashed before is no child any more. What we
        do at the end the sanitizers look at, which end a process otherwise, and in prefork valgrind."""
        signals = "Segmentation fault"
        if self.mpm == "prefork":
            signals += "|Abort"
            self.log.allow(pattern=HEAP_IN_DISORDER)
        for pid in self.children():
            self.log.allow(pattern=rf"AH0005[12]: child pid {pid} exit signal (?:{signals})")

    def reload(self) -> None:
        """A graceful restart; returns when the old generation of children is gone."""
        before = self.children()
        self.let_children_go()
        seen = len(self.log.find(pattern="resuming normal operations"))
        self.write_config()
        os.kill(self.pid, signal.SIGUSR1)

        def renewed() -> bool:
            self.assert_alive()
            if len(self.log.find(pattern="resuming normal operations")) <= seen:
                return False
            now = self.children()
            return bool(now) and not now & before

        poll.until(renewed, poll.DEADLINE, "httpd has a new generation of children")

    def stop(self) -> None:
        """End httpd and all of its processes, and wait until they are gone."""
        process = self._process
        if process is None:
            return
        if process.poll() is not None:
            self._process = None
            raise HttpdFailed(f"httpd had ended by itself with {process.returncode}:\n{self.log.tail()}")
        self.let_children_go()
        self._process = None
        process.terminate()
        try:
            process.wait(poll.DEADLINE * poll.FACTOR)
        except subprocess.TimeoutExpired:
            # The session is httpd's own, so this reaches its children and nobody else.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise HttpdFailed(f"httpd did not stop within {poll.DEADLINE * poll.FACTOR:g} s:\n{self.log.tail()}") from None
        # Where prefork's signal handler comes in the middle of a malloc(), that child hangs in free() until it is
        # killed: one of thousands. With more than one it is another fault.
        if self.mpm == "prefork" and len(self.log.find(pattern=KILLED)) == 1:
            self.log.allow(pattern=KILLED)

    def close(self) -> None:
        """Stop, check the log, and remove all files (kept for a look with ACME_ALPN_KEEP=1)."""
        try:
            self.stop()
            self.log.check()
        finally:
            if not os.environ.get("ACME_ALPN_KEEP"):
                shutil.rmtree(self.root)

    def __enter__(self) -> Httpd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def paused(processes: set[int]) -> Iterator[None]:
    try:
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        poll.until(lambda: all(map(is_stopped, processes)), poll.DEADLINE, "processes are paused")
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


def is_stopped(pid: int) -> bool:
    """With all of its threads: they stop one after the other, and until then each may accept a connection.
    FileNotFoundError if the process is no more."""
    states = [stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    if not set(states) - set("ZX"):
        raise FileNotFoundError(f"process {pid} has ended")
    return set(states) == {"T"}


def accepts(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
        return True
    except OSError:
        return False
