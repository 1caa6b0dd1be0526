"""Instructions of one handshake by callgrind: the difference between some handshakes and twice as many, of an httpd
with one process (the prefork MPM with -X). What it does before and after cancels out."""

from __future__ import annotations

import re
import signal
import subprocess
from collections import Counter
from pathlib import Path

import servers
from harness import load, poll
from harness.pki import Authority
from harness.server import BINARY, LEASH, Httpd, accepts

NAME = "counted.test"

# From here on httpd serves; before that it makes keys, which takes as long as chance has it.
SERVES = "ap_run_mpm"

ATTEMPTS = 4

# What is done for the status page alone, as nothing is logged here.
PAGE = ("acme_alpn_outcome", "acme_record_count")


def count(authority: Authority, handshakes: int) -> dict[str, float]:
    repeated = _difference(authority, True, None, handshakes)
    page = [repeated[function] for function in PAGE]
    if not all(page):
        raise RuntimeError(f"callgrind has not seen all of {PAGE}: {page}")
    return {
        "ordinary, without the module": _difference(authority, False, "ordinary", handshakes)["all"],
        "ordinary, with the module": _difference(authority, True, "ordinary", handshakes)["all"],
        "repeated": repeated["all"],
        "repeated, of these for the status page": sum(page),
        "first": _difference(authority, True, "first", handshakes)["all"],
    }


def _difference(authority: Authority, with_module: bool, mode: str | None, handshakes: int) -> dict[str, float]:
    httpd = servers.httpd(authority, mpm="prefork", with_module=with_module)
    httpd.server_lines = [line for line in httpd.server_lines if line not in servers.CHILDREN + servers.SPARE]
    httpd.log.allow("AALPN0103")
    httpd.write_config()
    try:
        few, many = (_total(httpd, mode, number) for number in (handshakes, 2 * handshakes))
        return {what: (many[what] - few[what]) / handshakes for what in many}
    finally:
        httpd.close()


def _targets(httpd: Httpd, mode: str | None, handshakes: int) -> servers.Targets:
    if mode == "ordinary":
        return [(servers.SITE, None)]
    names = [f"{number}.{NAME}" for number in range(handshakes if mode == "first" else 1)]
    return [(name, httpd.spool.publish(name)) for name in names]


def _total(httpd: Httpd, mode: str | None, handshakes: int) -> Counter[str]:
    """Once more where a handshake was not completed, as happens to so slow a server on a busy machine."""
    for _ in range(ATTEMPTS):
        total = _attempt(httpd, mode, handshakes)
        if total is not None:
            return total
    raise RuntimeError(f"not all of {handshakes} handshakes were right in {ATTEMPTS} attempts")


def _attempt(httpd: Httpd, mode: str | None, handshakes: int) -> Counter[str] | None:
    directory = httpd.root / "counts"
    directory.mkdir(exist_ok=True)
    directory.chmod(0o777)  # for the User that httpd has become by then
    output = directory / "callgrind.out"
    output.unlink(missing_ok=True)
    output.touch()
    output.chmod(0o666)
    command = [*LEASH, "valgrind", "--tool=callgrind", f"--callgrind-out-file={output}", f"--toggle-collect={SERVES}"]
    # Pipes for vgdb would stay in /tmp: httpd changes its user and cannot remove them.
    command += ["--vgdb=no", BINARY, "-d", str(httpd.root), "-f", str(httpd.config), "-X"]
    with (httpd.root / "valgrind.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        poll.until(lambda: accepts(httpd.address()), 60, "httpd under callgrind accepts connections")
        what = "ordinary" if mode == "ordinary" else None
        done = load.run(httpd.address(), _targets(httpd, mode, handshakes), handshakes, mode=what, version="1.3")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    return _sums(output) if done.right == handshakes else None


def _sums(output: Path) -> Counter[str]:
    """Of everything, and of the functions for the page with what they call."""
    totals = [line for line in output.read_text().splitlines() if line.startswith(("summary:", "totals:"))]
    command = ["callgrind_annotate", "--inclusive=yes", "--threshold=100", str(output)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # A function may have two lines, of which one leaves some of its calls out.
    most = Counter({function: 0 for function in PAGE})
    for number, function in re.findall(rf"^ *([\d,]+) .*:({'|'.join(PAGE)})(?: \[|$)", told, re.MULTILINE):
        most[function] = max(most[function], int(number.replace(",", "")))
    return Counter({"all": int(totals[-1].split()[1]), **most})
