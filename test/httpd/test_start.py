"""Starting, configtest and reloading with a spool or a server that is not as it should be."""

from __future__ import annotations

import os
import pwd
import subprocess

import pytest
from conftest import StartHttpd
from harness import client, poll
from harness.challenge import assert_refused, publish_and_check
from harness.pki import Authority
from harness.server import PAGE, USER, Httpd

NAME = "start.test"
UNSAFE_AT_START = "AALPN0002"
UNSAFE_AT_CONFIGTEST = "AALPN0003"
HTTPD_CAN_WRITE = "AALPN0004"
UNSAFE_PARENT = "AALPN0005"


def make(make_httpd: StartHttpd, authority: Authority, **arguments: object) -> Httpd:
    httpd = make_httpd(**arguments)
    httpd.vhost(NAME, credentials=[authority.issue(NAME)])
    return httpd


def assert_serves(httpd: Httpd, authority: Authority) -> None:
    assert client.https_get(httpd.address(), NAME, authority.root).body.decode() == PAGE


def test_right_spool_is_not_worth_a_word(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make(make_httpd, authority)
    assert httpd.configtest() == (0, "Syntax OK\n")
    httpd.start()
    assert not [record for record in httpd.log.refresh() if record.tag]


@pytest.mark.parametrize("fault", ["missing", "world-writable"])
def test_unsafe_spool_is_reported_and_works_once_mended(
    fault: str, make_httpd: StartHttpd, authority: Authority
) -> None:
    httpd = make(make_httpd, authority)
    reason = "spool-missing" if fault == "missing" else "spool-writable"
    if fault == "missing":
        httpd.spool.path.rmdir()
    else:
        httpd.spool.path.chmod(0o777)

    code, output = httpd.configtest()
    assert code == 0 and UNSAFE_AT_CONFIGTEST in output and str(httpd.spool.path) in output

    httpd.start()
    reported = httpd.log.expect(UNSAFE_AT_START, level="error")[0]
    assert str(httpd.spool.path) in reported.text
    assert_serves(httpd, authority)
    assert_refused(httpd, NAME, reason)

    if fault == "missing":
        httpd.spool.create()
    else:
        httpd.spool.path.chmod(0o755)
    publish_and_check(httpd, NAME)
    claim_configtest_lines(httpd)


def claim_configtest_lines(httpd: Httpd) -> None:
    """A start checks the configuration as configtest does, and repeats its warning where that finds one."""
    httpd.log.allow(UNSAFE_AT_CONFIGTEST)


def test_unsafe_spool_does_not_stop_a_graceful_restart(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make(make_httpd, authority).start()
    publish_and_check(httpd, NAME)
    httpd.spool.path.chmod(0o777)
    pid = httpd.pid
    httpd.reload()
    httpd.log.expect(UNSAFE_AT_START, level="error")
    assert_serves(httpd, authority)
    assert_refused(httpd, NAME, "spool-writable")
    httpd.spool.path.chmod(0o755)
    publish_and_check(httpd, NAME)
    assert httpd.pid == pid
    claim_configtest_lines(httpd)


def test_reload_keeps_answering(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make(make_httpd, authority).start()
    for _ in range(5):
        publish_and_check(httpd, NAME)
        assert_refused(httpd, NAME, "no-entry")
        httpd.reload()
    assert_serves(httpd, authority)


def test_spool_that_httpd_can_write_is_warned_about(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make(make_httpd, authority)
    user = pwd.getpwnam(USER)
    os.chown(httpd.spool.path, user.pw_uid, user.pw_gid)
    code, output = httpd.configtest()
    assert code == 0 and str(httpd.spool.path) in output and HTTPD_CAN_WRITE in output
    httpd.start()
    assert str(httpd.spool.path) in httpd.log.expect(HTTPD_CAN_WRITE, level="warn")[0].text
    publish_and_check(httpd, NAME)


def test_unsafe_parent_is_warned_about(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make(make_httpd, authority)
    parent = httpd.root / "parent"
    parent.mkdir()
    httpd.spool.path = parent / "spool"
    httpd.spool.create()
    httpd.server_lines = [f"AcmeAlpnSpool {httpd.spool.path}"]
    parent.chmod(0o777)
    code, output = httpd.configtest()
    assert code == 0 and UNSAFE_PARENT in output and str(parent) in output
    httpd.start()
    assert str(parent) in httpd.log.expect(UNSAFE_PARENT, level="warn")[0].text
    publish_and_check(httpd, NAME)


def test_without_mod_ssl_there_is_a_notice_and_nothing_else(make_httpd: StartHttpd) -> None:
    httpd = make_httpd(with_ssl=False)
    httpd.vhost(NAME, tls=False)
    httpd.start()
    tagged = [record for record in httpd.log.refresh() if record.tag]
    assert [(record.tag, record.level) for record in tagged] == [("AALPN0001", "notice")]


def test_without_a_tls_vhost_nothing_is_said(make_httpd: StartHttpd) -> None:
    httpd = make_httpd()
    httpd.vhost(NAME, tls=False)
    assert httpd.configtest() == (0, "Syntax OK\n")
    httpd.start()
    assert not [record for record in httpd.log.refresh() if record.tag]


# In a process namespace of its own, whose end ends the daemon too, and where kill tells whether any process is left:
# httpd holds its port a moment longer than its pid file. What httpd says is the failure. httpd forgets a stop that comes
# while it begins anew after a graceful restart, so it is told to stop until it has.
START_AND = """
then=$1
shift
tell() { said=$("$@" 2>&1) && [ -z "$said" ] || { echo "$*: $said"; exit 1; }; }
for _ in 1 2 3 4 5 6 7 8 9 10; do
    tell "$@" -k start
    tell "$@" -k "$then"
    while kill -s 0 -- -1 2>/dev/null; do
        [ "$then" = stop ] || "$@" -k stop >/dev/null 2>&1
        sleep 0.1
    done
done
"""


# What tells it takes some 50 ms to begin, in which httpd writes its pid file, unless the machine is busy.
@pytest.mark.flaky(reruns=2)
@pytest.mark.parametrize("then", ["stop", "graceful"])
def test_start_is_over_when_it_returns(then: str, make_httpd: StartHttpd, authority: Authority) -> None:
    """Who starts httpd and at once tells it something finds it, as without the module."""
    httpd = make(make_httpd, authority)
    httpd.write_config()
    # Children of the moment may end as they are told to, or not: see let_children_go.
    httpd.log.allow(pattern="AH0005[12]: child pid [0-9]+ exit signal")
    script = ["sh", "-c", START_AND, "sh", then, *httpd.command()]
    done = subprocess.run(
        ["unshare", "--fork", "--pid", "--kill-child", *script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=httpd.variables(),
        timeout=poll.DEADLINE * poll.FACTOR,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"")
