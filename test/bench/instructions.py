"""Instructions of one handshake by callgrind, of an httpd with one process (the prefork MPM with -X): of all that it does
from the beginning of a connection to that of the next (mod_counted.c), the median of some."""

from __future__ import annotations

import re
import statistics
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import servers
from harness import load, poll
from harness.pki import Authority
from harness.server import BINARY, Httpd

SITE = "counted.test"

# What is done for the status page alone, as nothing is logged here.
PAGE = ("acme_alpn_outcome", "acme_record_count")

# Each vhost takes the start 30 ms.
START = 600

WITHOUT, WITH, WITH_OFF = "without the module", "with the module", "with the module, one vhost Off"
PAGE_SHARE = "repeated, of these for the status page"
KINDS = ("ordinary", "repeated", PAGE_SHARE, "first", "refused")


class Server:
    """With vhosts of which the last is asked for."""

    def __init__(self, authority: Authority, kind: str, vhosts: int) -> None:
        module = load.compile_module(servers.HERE / "mod_counted.c")
        self._httpd = Httpd(mpm="prefork", with_module=kind != WITHOUT)
        self._name = f"{vhosts - 1}.{SITE}"
        self._output = self._httpd.root / "counts"
        self._program: servers.Program | None = None
        for number in range(vhosts):
            lines = ["AcmeAlpnEngine Off"] if number == 1 and kind == WITH_OFF else []
            self._httpd.vhost(f"{number}.{SITE}", credentials=[authority.issue(SITE)], lines=lines)
        # Without the lines of refused handshakes: how many are written depends on the machine's speed.
        level = "LogLevel warn acme_alpn:error" if self._httpd.with_module else "LogLevel warn"
        self._httpd.server_lines += [f"LoadModule counted_module {module}", level]

    def start(self) -> None:
        self._httpd.write_config()
        self._output.mkdir()
        self._output.chmod(0o777)  # for the User that httpd has become by then
        # Pipes for vgdb would stay in /tmp: httpd changes its user and cannot remove them.
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--vgdb=no", "--separate-threads=yes"]
        command += [f"--callgrind-out-file={self._output}/dump", BINARY, "-d", str(self._httpd.root)]
        command += ["-f", str(self._httpd.config), "-X"]
        port = self._httpd.address()[1]
        self._program = servers.Program(self._httpd.root, command, port, self._httpd.variables())
        poll.until(self._dumps, START, "httpd under callgrind serves the first connection")

    def close(self) -> None:
        if self._program:
            self._program.close()
        self._httpd.close()

    def count(self, handshakes: int) -> dict[str, float]:
        """Of one handshake of each kind."""
        site: servers.Targets = [(self._name, None)]
        counted = {"ordinary": _median(self._shake(site, handshakes, mode="ordinary"))}
        if self._httpd.with_module:
            counted["refused"] = _median(self._shake(site, handshakes, outcome="refused"))
            repeated = self._shake([(self._name, self._httpd.spool.publish(self._name))], handshakes)
            counted["repeated"] = _median(repeated)
            counted[PAGE_SHARE] = _inclusive(repeated[-1], PAGE)
            names = [f"{number}.first.test" for number in range(handshakes + 2)]
            fresh: servers.Targets = [(name, self._httpd.spool.publish(name)) for name in names]
            counted["first"] = _median(self._shake(fresh, handshakes))
        return counted

    def _shake(
        self, targets: servers.Targets, handshakes: int, *, mode: str | None = None, outcome: str = "right"
    ) -> list[Path]:
        """A dump of each. There is one more at first, to warm up, and one at the end, which dumps the one before."""
        number = handshakes + 2
        done = load.run(self._httpd.address(), targets, number, mode=mode, version="1.3")
        if getattr(done, outcome) != number:
            raise RuntimeError(f"{number} handshakes had to be {outcome}: {done}")
        return self._dumps()[-handshakes:]

    def _dumps(self) -> list[Path]:
        """Of the first thread, which does all but mod_watchdog's regular work."""
        return sorted(self._output.glob("dump.*-01"), key=lambda path: int(path.name[len("dump.") : -len("-01")]))


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _median(dumps: list[Path]) -> float:
    return statistics.median(int(re.findall(r"^totals: (\d+)", dump.read_text(), re.MULTILINE)[0]) for dump in dumps)


def _inclusive(dump: Path, functions: tuple[str, ...]) -> int:
    """Of the functions with what they call. One may have two lines, of which one leaves some of its calls out."""
    told = _output("callgrind_annotate", "--inclusive=yes", "--threshold=100", str(dump))
    numbers = [re.findall(rf"^ *([\d,]+) .*:{function}(?: \[|$)", told, re.MULTILINE) for function in functions]
    return sum(max(int(number.replace(",", "")) for number in each) for each in numbers)


def count(authority: Authority, handshakes: int, vhosts: tuple[int, ...]) -> list[dict[str, Any]]:
    """A row for each kind of server and number of vhosts."""
    rows = []
    for kind in (WITHOUT, WITH, WITH_OFF):
        for number in vhosts:
            with closing(Server(authority, kind, number)) as server:
                server.start()
                rows.append({"server": kind, "vhosts": number, "counted": server.count(handshakes)})
    return rows
