"""acme.sh gets certificates through the program that it takes for openssl, which needs no port."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from conftest import StartHttpd
from harness import challenge, client, commands, poll
from harness.acme import Pebble
from harness.acme_sh import CRON_PATH, HOOK, AcmeSh, Calls, Done, children, installed, told
from harness.checker import check_answer
from harness.issuance import NAMES, NOBODY_THERE, assert_validated, load, names_of, undisturbed
from harness.order import Order
from harness.pki import Authority
from harness.server import Httpd
from harness.spool import KeyAuthorization, Spool

pytestmark = pytest.mark.flaky(reruns=2)

FIRST = NAMES[0]
ADDRESSES = ("127.0.0.1", "2001:db8::1")

MakeCalls = Callable[..., Calls]


@pytest.fixture
def make_calls(server: Httpd, tmp_path: Path) -> MakeCalls:
    numbers = count()

    def make(check: str = str(server.listeners["main"]), **environment: str) -> Calls:
        return Calls(tmp_path / f"certificate-{next(numbers)}", server.spool.path, check, environment)

    return make


def text(spool: Spool, name: str) -> str:
    return (spool.path / name).read_text().strip()


def wait_until_removed(spool: Spool) -> None:
    poll.until(lambda: not spool.entries(), poll.DEADLINE, "the challenge is removed")


def assert_answered(httpd: Httpd, name: str, value: KeyAuthorization) -> None:
    """As a CA asks, which sends an address in its reverse name."""
    server_name = ipaddress.ip_address(name).reverse_pointer if name in ADDRESSES else name
    check_answer(client.handshake(httpd.address(), server_name), name, value.digest)


def assert_refused(done: Done) -> None:
    assert not done.stdout and "acme.sh asks the CA nothing more" in done.stderr


# With a CA


def test_names_one_after_the_other(
    httpd: Httpd, pebble: Pebble, authority: Authority, make_calls: MakeCalls
) -> None:
    calls = make_calls()
    names = NAMES[:2]
    with undisturbed(httpd, authority):
        for name in names:
            order = Order(pebble, name)
            value = order.key_authorization
            done = calls.prepare(name, value)
            assert done.returncode == 0 and f"PASS {name} at " in done.stderr
            with calls.serving():
                assert httpd.spool.entries() == [name] and text(httpd.spool, name) == value.text
                assert_answered(httpd, name, value)
                assert calls.sign().stdout
                assert names_of(order.finish()) == {name}
            wait_until_removed(httpd.spool)
    # The hook's check and the test's own.
    assert_validated(httpd, names, checks=2)


def test_acme_sh_itself(httpd: Httpd, pebble: Pebble, authority: Authority, tmp_path: Path) -> None:
    """By the command of the manual, and again from its cron; httpd answers for this account alone."""
    acme_sh = installed(tmp_path / "acme.sh", pebble)
    httpd.server_lines.append(f"AcmeAlpnAccount {acme_sh.register()}")
    httpd.reload()
    try:
        issue_and_renew(acme_sh, httpd, pebble, authority)
    finally:
        httpd.server_lines.pop()
        httpd.reload()


def issue_and_renew(acme_sh: AcmeSh, httpd: Httpd, pebble: Pebble, authority: Authority) -> None:
    check, names = str(httpd.listeners["main"]), NAMES[:2]
    before = pebble.validated()
    done = acme_sh.issue(names, ACME_ALPN_SPOOL=str(httpd.spool.path), ACME_ALPN_CHECK=f"{NOBODY_THERE}:1")
    assert done.returncode != 0 and f"FAIL {FIRST} at {NOBODY_THERE}:1: connection-refused" in done.stdout
    assert pebble.validated() == before and httpd.spool.entries() == []
    with undisturbed(httpd, authority):
        done = acme_sh.issue(names, ACME_ALPN_SPOOL=str(httpd.spool.path), ACME_ALPN_CHECK=check)
        assert done.returncode == 0, done.stdout
        wait_until_removed(httpd.spool)
        chain, reload = acme_sh.home / "www.example.com.pem", acme_sh.home / "reload"
        first = load(chain)
        assert names_of(first) == set(names) and reload.exists()
        reload.unlink()
        # How install.md finds it.
        assert re.search(f"^ACME_OPENSSL_BIN=.*{HOOK.name}'$", (acme_sh.home / "account.conf").read_text(), re.MULTILINE)
        with (acme_sh.home / "account.conf").open("a") as settings:
            settings.write(f"export ACME_ALPN_SPOOL={httpd.spool.path}\nexport ACME_ALPN_CHECK={check}\n")
        done = acme_sh.cron()
        assert done.returncode == 0, done.stdout
        assert load(chain).serial_number != first.serial_number and reload.exists()
        wait_until_removed(httpd.spool)
    assert_validated(httpd, names, checks=1, validated=pebble.validated() - before)


def test_cron_finds_the_command_that_reloads_httpd() -> None:
    assert shutil.which(told("--reloadcmd").split()[0], path=CRON_PATH)


# What it publishes


def test_account_is_told_by_what_it_publishes(make_httpd: StartHttpd, authority: Authority, tmp_path: Path) -> None:
    ours, others = KeyAuthorization.new(), KeyAuthorization.new()
    httpd = make_httpd()
    account = ours.text.partition(".")[2]
    httpd.vhost(FIRST, credentials=[authority.issue(FIRST)], lines=[f"AcmeAlpnAccount {account}"])
    httpd.start()
    calls = Calls(tmp_path / "certificate", httpd.spool.path, str(httpd.listeners["main"]))
    assert calls.prepare(FIRST, ours).returncode == 0
    with calls.serving():
        assert_answered(httpd, FIRST, ours)
    calls.check = "none"
    assert calls.prepare(FIRST, others).returncode == 0
    challenge.assert_refused(httpd, FIRST, "account-other")


@pytest.mark.parametrize("name", [FIRST, *ADDRESSES])
def test_digest_where_the_key_authorization_is_not_known(httpd: Httpd, make_calls: MakeCalls, name: str) -> None:
    """acme.sh before 3.0.6 exports no DOMAIN_PATH."""
    calls, value = make_calls(DOMAIN_PATH=""), KeyAuthorization.new()
    assert calls.prepare(name, value).returncode == 0
    assert text(httpd.spool, name).lower() == value.digest.hex()
    with calls.serving():
        assert_answered(httpd, name, value)
    wait_until_removed(httpd.spool)


def test_key_authorization_of_another_challenge_is_not_taken(httpd: Httpd, make_calls: MakeCalls) -> None:
    calls, value = make_calls(check="none"), KeyAuthorization.new()
    calls.digest(KeyAuthorization.new().text)
    assert calls.request(FIRST, value.digest.hex()).returncode == 0
    assert text(httpd.spool, FIRST).lower() == value.digest.hex()
    httpd.spool.withdraw(FIRST)


@pytest.mark.parametrize("other", ["POST\n/?Action=Update\0\n", f"POST\n{KeyAuthorization.new().text}"], ids=["request", "line"])
def test_digests_of_other_things_are_not_kept(make_calls: MakeCalls, other: str) -> None:
    calls = make_calls()
    before = sorted(calls.directory.iterdir())
    assert calls.digest(other) == hashlib.sha256(other.encode()).hexdigest()
    assert sorted(calls.directory.iterdir()) == before


def test_nothing_is_kept_where_openssl_fails(make_calls: MakeCalls) -> None:
    calls = make_calls(ACME_ALPN_OPENSSL="false")
    done = calls.openssl("dgst", "-sha256", "-hex", given=KeyAuthorization.new().text)
    assert done.returncode != 0 and not (calls.directory / "tls.validation.auth").exists()


# When it ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_s_server_that_is_killed_removes_what_is_its_own(httpd: Httpd, make_calls: MakeCalls, number: int) -> None:
    calls = make_calls()
    assert calls.prepare(FIRST, KeyAuthorization.new()).returncode == 0
    with calls.serving() as process:
        process.send_signal(number)
        assert process.wait(poll.DEADLINE) == 0
    assert httpd.spool.entries() == []


def test_s_server_that_is_killed_at_once(httpd: Httpd, make_calls: MakeCalls, tmp_path: Path) -> None:
    """A second after its start, which acme.sh waits in any case: a slow openssl has not read the certificate by then."""
    slow = tmp_path / "openssl"
    slow.write_text('#!/bin/sh\n[ "$1" != asn1parse ] || sleep 2\nexec openssl "$@"\n')
    slow.chmod(0o755)
    calls = make_calls()
    assert calls.prepare(FIRST, KeyAuthorization.new()).returncode == 0
    variables = {**calls.variables(), "ACME_ALPN_OPENSSL": str(slow)}
    with commands.running(calls.s_server(), calls.directory / "log", **variables) as process:
        poll.let_pass(1)
        calls.clear_up(process)
    assert httpd.spool.entries() == []


def test_s_server_that_is_killed_without_a_certificate_removes_nothing(make_calls: MakeCalls, tmp_path: Path) -> None:
    calls, log = make_calls(ACME_ALPN=str(tmp_path / "tool")), tmp_path / "log"
    with commands.running(calls.s_server(), log, **calls.variables()) as process:
        process.wait(poll.DEADLINE)
    assert "tls.validation.cert" in log.read_text() and "tool" not in log.read_text()


def test_s_server_ends_after_an_hour(httpd: Httpd, make_calls: MakeCalls, tmp_path: Path) -> None:
    """A zombie would keep it for ever, as this test does, whose seconds are short."""
    (tmp_path / "sleep").symlink_to("/bin/true")
    calls = make_calls()
    assert calls.prepare(FIRST, KeyAuthorization.new()).returncode == 0
    variables = {**calls.variables(), "PATH": f"{tmp_path}:{calls.variables()['PATH']}"}
    with commands.running(calls.s_server(), tmp_path / "log", **variables) as process:
        assert process.wait(poll.DEADLINE) == 0
    assert httpd.spool.entries() == []


def test_another_clients_entry_stays(httpd: Httpd, make_calls: MakeCalls) -> None:
    calls = make_calls()
    assert calls.prepare(FIRST, KeyAuthorization.new()).returncode == 0
    with calls.serving():
        other = httpd.spool.publish(FIRST)
    assert text(httpd.spool, FIRST) == other.text
    httpd.spool.withdraw(FIRST)


def test_entry_stays_after_sigkill_until_the_next_attempt(httpd: Httpd, make_calls: MakeCalls) -> None:
    calls = make_calls()
    for value in (KeyAuthorization.new(), KeyAuthorization.new()):
        assert calls.prepare(FIRST, value).returncode == 0
        with calls.serving() as process:
            assert text(httpd.spool, FIRST) == value.text
            process.kill()
        assert text(httpd.spool, FIRST) == value.text
    httpd.spool.withdraw(FIRST)


def test_acme_sh_that_is_killed_leaves_nothing(httpd: Httpd, make_calls: MakeCalls) -> None:
    """Nobody tells its s_server: what runs in the background does not get the terminal's Ctrl-C."""
    calls = make_calls()
    assert calls.prepare(FIRST, KeyAuthorization.new()).returncode == 0
    acme_sh = ["sh", "-c", '"$@" & echo $!; exec sleep 600', "acme.sh", *calls.s_server()]
    log = calls.directory / "log"
    with commands.running(acme_sh, log, **calls.variables()) as process:
        poll.until(lambda: log.read_text().endswith("\n"), poll.DEADLINE, "acme.sh runs")
        hook = int(log.read_text())
        poll.until(lambda: "sleep" in children(hook), poll.DEADLINE, "the hook waits")
        assert httpd.spool.entries() == [FIRST]
        process.kill()
        process.wait()
        wait_until_removed(httpd.spool)


# When it fails


def test_check_that_fails_keeps_acme_sh_from_asking_the_ca(httpd: Httpd, make_calls: MakeCalls) -> None:
    good, bad = str(httpd.listeners["main"]), f"{NOBODY_THERE}:{httpd.address()[1]}"
    calls = make_calls(check=f"{good} {bad}")
    assert calls.sign().stdout
    done = calls.prepare(FIRST, KeyAuthorization.new())
    assert done.returncode == 1 and f"PASS {FIRST} at {good}" in done.stderr
    assert f"FAIL {FIRST} at {bad}: connection-refused: " in done.stderr
    assert f"the CA was not asked (ACME_ALPN_CHECK, where httpd must answer: {calls.check})" in done.stderr
    assert httpd.spool.entries() == []
    assert_refused(calls.sign())
    # The next acme.sh is another process,
    failed = calls.directory / "tls.validation.failed"
    assert failed.read_text() == f"{os.getpid()}\n"
    failed.write_text(f"{ended_process()}\n")
    assert calls.sign().stdout
    # or one with the same number, later,
    failed.write_text(f"{os.getpid()}\n")
    assert_refused(calls.sign())
    os.utime(failed, (0, 0))
    assert calls.sign().stdout
    # and makes the request for its own certificate first.
    failed.write_text(f"{os.getpid()}\n")
    assert calls.request(FIRST).returncode == 0 and not failed.exists()


def ended_process() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    "environment, message",
    [
        ({"ACME_ALPN_SPOOL": "/nonexistent"}, "/nonexistent: the spool does not exist"),
        ({"ACME_ALPN": "/nonexistent"}, "/nonexistent: not found"),
        ({"ACME_ALPN_OPENSSL": "/nonexistent"}, "/nonexistent: not found"),
    ],
)
def test_what_is_missing_is_named(make_calls: MakeCalls, environment: dict[str, str], message: str) -> None:
    calls, value = make_calls(), KeyAuthorization.new()
    calls.environment = environment
    done = calls.request(FIRST, value.digest.hex())
    assert done.returncode != 0 and message in done.stderr
    if "ACME_ALPN_OPENSSL" not in environment:
        assert_refused(calls.sign())


# All else


def test_everything_else_goes_to_the_real_openssl(make_calls: MakeCalls, tmp_path: Path) -> None:
    recorder = tmp_path / "openssl"
    recorder.write_text('#!/bin/sh\nprintf "%s|" "$@"\ncat\nexit 7\n')
    recorder.chmod(0o755)
    calls = make_calls()
    calls.environment = {"ACME_ALPN_OPENSSL": str(recorder)}
    # The last is acme.sh's responder for tls-sni-01, of long ago.
    for command in (["version"], ["dgst", "-sha256", "-binary"], ["req", "-noout", "-in", "a *"], ["s_server", "-www"]):
        done = calls.openssl(*command, given="what it reads")
        assert (done.returncode, done.stdout) == (7, "|".join(command) + "|what it reads")


def test_called_by_hand_it_says_what_it_is_for(make_calls: MakeCalls) -> None:
    done = make_calls().openssl()
    assert done.returncode == 2 and f"acme.sh --openssl-bin {HOOK}" in done.stderr
