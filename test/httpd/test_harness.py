"""The harness itself: a test that should fail does fail, and clients report what servers do."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import StartHttpd
from harness import client, load, poll, ports
from harness.acme import Pebble, skip_where_missing
from harness.errorlog import ErrorLog, UnexpectedLog, parse
from harness.pki import Authority
from harness.server import PAGE, REPOSITORY, Httpd, HttpdEnded, HttpdFailed
from harness.traffic import Traffic, WrongResponse
from harness.upstream import Behaviour, Upstream

NAME = "harness.test"
LINE = "[Mon Nov 23 18:18:45.112800 2026] [{}] [pid 8578:tid 8578] {}"


@pytest.mark.parametrize(
    "line",
    [
        LINE.format("core:error", "[client 127.0.0.1:1] AH00126: Invalid URI"),
        LINE.format("acme_alpn:warn", "AALPN0102: refused"),
        LINE.format("acme_alpn:crit", "no tag"),
        LINE.format("core:notice", "AH00052: child pid 7 exit signal Segmentation fault (11)"),
        "==7==ERROR: AddressSanitizer: heap-use-after-free",
    ],
)
def test_unclaimed_line_fails_and_claimed_one_does_not(line: str, tmp_path: Path) -> None:
    path = tmp_path / "error.log"
    path.write_text(line + "\n")
    with pytest.raises(UnexpectedLog):
        ErrorLog([path]).check()
    claiming = ErrorLog([path])
    claiming.expect(pattern=r"Invalid|AALPN0102|no tag|AH00052|Sanitizer")
    claiming.check()


def test_ordinary_lines_and_half_a_line_are_not_unexpected(tmp_path: Path) -> None:
    path = tmp_path / "error.log"
    ordinary = [LINE.format("acme_alpn:info", "AALPN0101: answered"), LINE.format("ssl:warn", "AH01909: no match")]
    path.write_text("\n".join(ordinary) + "\n" + LINE.format("core:err", "")[:-3])
    log = ErrorLog([path])
    log.check()
    assert [record.tag for record in log.records] == ["AALPN0101", ""]


def test_a_record_is_claimed_once(tmp_path: Path) -> None:
    path = tmp_path / "error.log"
    path.write_text(LINE.format("acme_alpn:warn", "AALPN0102: refused") + "\n")
    log = ErrorLog([path])
    log.expect("AALPN0102")
    with pytest.raises(AssertionError):
        log.expect("AALPN0102", timeout=0)


def test_record_fields() -> None:
    record = parse(LINE.format("acme_alpn:warn", "[client 127.0.0.1:9] AALPN0102: refused"))
    assert (record.module, record.level, record.pid, record.tag) == ("acme_alpn", "warn", 8578, "AALPN0102")
    assert parse(LINE.format("core:trace3", "x")).level == "trace"


def plain(make_httpd: StartHttpd, authority: Authority, **arguments: object) -> Httpd:
    httpd = make_httpd(with_module=False, **arguments)
    httpd.vhost(NAME, credentials=[authority.issue(NAME, kind="rsa")])
    return httpd.start()


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_server_serves_reloads_and_stops(mpm: str, make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = plain(make_httpd, authority, mpm=mpm)
    before = httpd.children()
    assert client.https_get(httpd.address(), NAME, authority.root).body.decode() == PAGE
    httpd.reload()
    assert client.https_get(httpd.address(), NAME, authority.root).body.decode() == PAGE
    assert httpd.children() and not httpd.children() & before


def test_death_is_noticed(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = plain(make_httpd, authority)
    children = httpd.children()
    os.kill(httpd.pid, signal.SIGKILL)
    with pytest.raises(HttpdFailed):
        poll.until(lambda: _ended(httpd), poll.DEADLINE, "httpd is gone")
    for child in children:
        os.kill(child, signal.SIGKILL)


def _ended(httpd: Httpd) -> bool:
    try:
        httpd.assert_alive()
    except HttpdEnded:
        httpd.stop()
    return False


@pytest.mark.parametrize("mpm, told, excused", [("prefork", True, True), ("prefork", False, False), ("event", True, False)])
def test_abort_is_excused_in_preforks_children_that_are_told_to_end(
    mpm: str, told: bool, excused: bool, make_httpd: StartHttpd, authority: Authority
) -> None:
    httpd = make_httpd(with_module=False, mpm=mpm)
    httpd.vhost(NAME, credentials=[authority.issue(NAME)])
    httpd.start()
    child = min(httpd.children())
    if told:
        httpd.let_children_go()
    os.kill(child, signal.SIGABRT)
    poll.until(
        lambda: httpd.log.find(pattern=f"child pid {child} exit signal Abort"), poll.DEADLINE, "httpd tells of the abort"
    )
    with (httpd.root / "stderr.log").open("a") as log:
        log.write("free(): double free detected in tcache 2\n")
    assert len(httpd.log.unexpected()) == (0 if excused else 2)


def test_bad_configuration_is_shown(make_httpd: StartHttpd) -> None:
    httpd = make_httpd(with_module=False)
    httpd.server_lines.append("NoSuchDirective on")
    code, output = httpd.configtest()
    assert code == 1 and "Invalid command 'NoSuchDirective'" in output
    with pytest.raises(HttpdFailed, match="NoSuchDirective"):
        httpd.start()
    httpd.log.expect(pattern="Syntax error")
    httpd.log.expect(pattern="Invalid command")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_both_clients_report_the_same(version: str, make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = plain(make_httpd, authority)
    python = client.handshake(httpd.address(), NAME, alpn=["http/1.1"], version=version)
    option = "-tls" + version.replace(".", "_")
    openssl = client.s_client(httpd.address(), NAME, option, "-groups", "P-384", alpn=["http/1.1"])
    assert python.chain == openssl.chain == (authority.issue(NAME, kind="rsa").der,)
    assert python.version == openssl.version == f"TLSv{version}"
    assert python.cipher == openssl.cipher != ""
    assert python.alpn == openssl.alpn == "http/1.1"
    assert "384 bits" in openssl.group


def test_both_clients_report_an_alert(make_httpd: StartHttpd, authority: Authority) -> None:
    handshake_failure = 40
    httpd = plain(make_httpd, authority)
    suite = "ECDHE-ECDSA-AES128-GCM-SHA256"
    for answer in (
        client.handshake(httpd.address(), NAME, using=client.context(version="1.2", ciphers=suite)),
        client.s_client(httpd.address(), NAME, "-tls1_2", "-cipher", suite),
    ):
        assert answer.alert == handshake_failure and answer.error and not answer.chain


def test_ordinary_request_verifies_the_certificate(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = plain(make_httpd, authority)
    with pytest.raises(ssl.SSLCertVerificationError):
        client.https_get(httpd.address(), "other.test", authority.root)


def responder(authority: Authority, response: bytes) -> Behaviour:
    """A server that says this to each request, and ends as TLS wants it to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    credential = authority.issue(NAME)
    context.load_cert_chain(credential.certificate, credential.key)

    def behave(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(65536)
            tls.sendall(response)
            tls.unwrap()

    return behave


RIGHT_RESPONSE = f"HTTP/1.1 200 OK\r\nContent-Length: {len(PAGE)}\r\n\r\n{PAGE}".encode()
WRONG_RESPONSES = {
    "cut-short": RIGHT_RESPONSE[:-1],
    "no-length": f"HTTP/1.1 200 OK\r\n\r\n{PAGE}!".encode(),
    "no-response": b"hello\r\n\r\n",
    "other-status": RIGHT_RESPONSE.replace(b"200 OK", b"500 No"),
}


def requests_by_both(authority: Authority, response: bytes) -> tuple[load.Summary, Traffic]:
    """What became of one ordinary request of the client in C, and of some of the one in Python."""
    with Upstream(responder(authority, response)) as server:
        summary = load.run(server.address, [(NAME, None)], 1, trust=authority.root)
        with Traffic(server.address, NAME, authority.root) as traffic:
            poll.until(lambda: traffic.succeeded or traffic.failures, poll.DEADLINE, "a request is over")
    return summary, traffic


def test_right_response_is_a_success(authority: Authority) -> None:
    summary, traffic = requests_by_both(authority, RIGHT_RESPONSE)
    assert summary.right == 1
    traffic.assert_unharmed()


@pytest.mark.parametrize("response", WRONG_RESPONSES.values(), ids=WRONG_RESPONSES)
def test_wrong_response_is_a_failure(response: bytes, authority: Authority) -> None:
    summary, traffic = requests_by_both(authority, response)
    assert (summary.right, traffic.succeeded) == (0, 0)
    with pytest.raises(WrongResponse):
        traffic.assert_unharmed()


def test_pebble_starts_and_has_a_root_of_its_own(tmp_path: Path, authority: Authority) -> None:
    with Pebble(tmp_path, authority, tls_port=1) as pebble:
        assert b"BEGIN CERTIFICATE" in pebble.root()


def test_quickstart_needs_no_pytest() -> None:
    """It runs on this harness, where only its own packages are installed."""
    script = (
        "import sys; sys.modules['pytest'] = None; "
        f"sys.path.insert(0, {str(REPOSITORY / 'build')!r}); import quickstart; print(quickstart.NAMES)"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-c", script], stdout=subprocess.PIPE, text=True, check=True, timeout=poll.DEADLINE
    )
    assert "example.test" in done.stdout


def test_all_parts_of_the_check_have_a_budget_and_take_twelve_minutes() -> None:
    check, parts = ((REPOSITORY / "build" / name).read_text() for name in ("check", "check-part"))
    rows = re.findall(r"^    ([a-z]+)=(\d+) +# (\d+)$", check, re.MULTILINE)
    assert {name for name, _, _ in rows} == set(
        re.findall(r"^part_([a-z]+)\(\)", parts, re.MULTILINE)
    )
    assert all(2 * int(usual) <= int(budget) for _, budget, usual in rows)
    whole, at_once = (int(re.findall(rf"^{name}=(\d+)$", check, re.MULTILINE)[0]) for name in ("WHOLE", "AT_ONCE"))
    usual = {name: int(seconds) for name, _, seconds in rows}
    in_turn = re.findall(r"^    ([a-z]+)=", check.split("\nIN_TURN=(")[1].split("\n)")[0], re.MULTILINE)
    alone = sum(usual[name] for name in in_turn)
    assert alone + (sum(usual.values()) - alone) / at_once <= 12 * 60 <= whole / 2


# With the hook as the tests have it. The log of a server that they share gets this line in the first try.
TRIED_TWICE = """
import pytest
from pathlib import Path
from harness.errorlog import ErrorLog

PATH = Path(__file__).with_name("error.log")
LOG = ErrorLog([PATH])

@pytest.fixture
def server():
    yield
    LOG.check()

@pytest.mark.flaky(reruns=2)
def test_once(server):
    first = not PATH.exists()
    if first:
        PATH.write_text({line!r})
    assert not first, "the client had its deadline"
"""


@pytest.mark.parametrize(
    "line, counts, notes",
    [
        ("", "1 0 0 1", ["RERUN: test_tried::test_once: AssertionError: the client had its deadline"]),
        (
            LINE.format("core:notice", "AH00052: child pid 7 exit signal Aborted (6)") + "\n",
            "0 2 0 0",
            [
                "FAILED: test_tried::test_once: AssertionError: the client had its deadline",
                "FAILED: test_tried::test_once: failed on teardown with .*UnexpectedLog: .* exit signal Aborted",
            ],
        ),
    ],
    ids=["deadline", "crash"],
)
def test_second_try_excuses_no_crash_and_is_told(line: str, counts: str, notes: list[str], tmp_path: Path) -> None:
    skip_where_missing("rerunfailures")
    harness = REPOSITORY / "test" / "httpd"
    (tmp_path / "conftest.py").write_text("from harness.second_try import pytest_runtest_makereport\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_tried.py").write_text(TRIED_TWICE.replace("{line!r}", repr(line)))
    report = tmp_path / "report.xml"
    subprocess.run(
        ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", tmp_path],
        env={**os.environ, "PYTHONPATH": str(harness)},
        check=False,
        timeout=poll.DEADLINE * poll.FACTOR,
    )
    count = ["/usr/bin/python3", REPOSITORY / "build" / "junit-count", report]
    done = subprocess.run(count, stdout=subprocess.PIPE, text=True, check=True, timeout=poll.DEADLINE)
    told = done.stdout.splitlines()
    assert told[0] == counts and len(told) == 1 + len(notes), told
    assert all(re.match(note, line) for note, line in zip(notes, told[1:])), told


def test_ports_are_no_clients_and_no_other_process_of_the_tests_chooses_them() -> None:
    first_of_clients = int(ports.CLIENTS.read_text().split()[0])
    if first_of_clients < ports.FIRST + 2 * ports.SLICE:
        pytest.skip("the system gives nearly all ports to clients")
    own = [ports.choose() for _ in range(3)]
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    program += "from harness import ports; print(*(ports.choose() for _ in range(3)))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=poll.DEADLINE)
    others = [int(port) for port in told.stdout.split()]
    assert all(ports.FIRST <= port < first_of_clients for port in own + others)
    assert len(set(own)) == len(own)
    slices = [{(port - ports.FIRST) // ports.SLICE for port in chosen} for chosen in (own, others)]
    assert not slices[0] & slices[1]


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
def test_a_port_that_is_taken_is_not_chosen(kind: socket.SocketKind) -> None:
    """Though the choice comes around to it."""
    with socket.socket(socket.AF_INET, kind) as taken:
        port = ports.choose(kind=kind)
        taken.bind(("127.0.0.1", port))
        others = [ports.choose(kind=kind) for _ in range(ports.SLICE)]
    assert port not in others
