"""Instructions of one handshake by callgrind: the difference between some handshakes and twice as many, of an httpd
with one process (the prefork MPM with -X). What it does before and after cancels out."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import servers
from harness import load, poll
from harness.pki import Authority
from harness.server import BINARY, Httpd, accepts

NAME = "counted.test"

# From here on httpd serves; before that it makes keys, which takes as long as chance has it.
SERVES = "ap_run_mpm"

ATTEMPTS = 4


def count(authority: Authority, handshakes: int) -> dict[str, float]:
    return {
        "ordinary, without the module": _difference(authority, False, "ordinary", handshakes),
        "ordinary, with the module": _difference(authority, True, "ordinary", handshakes),
        "repeated": _difference(authority, True, None, handshakes),
        "first": _difference(authority, True, "first", handshakes),
    }


def _difference(authority: Authority, with_module: bool, mode: str | None, handshakes: int) -> float:
    httpd = servers.httpd(authority, mpm="prefork", with_module=with_module)
    httpd.server_lines = [line for line in httpd.server_lines if line not in servers.CHILDREN + servers.SPARE]
    httpd.log.allow("AALPN0103")
    httpd.write_config()
    try:
        few = _total(httpd, mode, handshakes)
        return (_total(httpd, mode, 2 * handshakes) - few) / handshakes
    finally:
        httpd.close()


def _targets(httpd: Httpd, mode: str | None, handshakes: int) -> servers.Targets:
    if mode == "ordinary":
        return [(servers.SITE, None)]
    names = [f"{number}.{NAME}" for number in range(handshakes if mode == "first" else 1)]
    return [(name, httpd.spool.publish(name)) for name in names]


def _total(httpd: Httpd, mode: str | None, handshakes: int) -> int:
    """Once more where a handshake was not completed, as happens to so slow a server on a busy machine."""
    for _ in range(ATTEMPTS):
        total = _attempt(httpd, mode, handshakes)
        if total is not None:
            return total
    raise RuntimeError(f"not all of {handshakes} handshakes were right in {ATTEMPTS} attempts")


def _attempt(httpd: Httpd, mode: str | None, handshakes: int) -> int | None:
    directory = httpd.root / "counts"
    directory.mkdir(exist_ok=True)
    directory.chmod(0o777)  # for the User that httpd has become by then
    output = directory / "callgrind.out"
    output.unlink(missing_ok=True)
    output.touch()
    output.chmod(0o666)
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={output}", f"--toggle-collect={SERVES}"]
    command += [BINARY, "-d", str(httpd.root), "-f", str(httpd.config), "-X"]
    with (httpd.root / "valgrind.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        poll.until(lambda: accepts(httpd.address()), 60, "httpd under callgrind accepts connections")
        what = "ordinary" if mode == "ordinary" else None
        done = load.run(httpd.address(), _targets(httpd, mode, handshakes), handshakes, mode=what, version="1.3")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    return _sum(output) if done.right == handshakes else None


def _sum(output: Path) -> int:
    totals = [line for line in output.read_text().splitlines() if line.startswith(("summary:", "totals:"))]
    return int(totals[-1].split()[1])
