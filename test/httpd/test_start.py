"""Starting, configtest and reloading with a spool or a server that is not as it should be."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import StartHttpd
from harness import client, poll
from harness.challenge import assert_refused, publish_and_check
from harness.hooks import as_user
from harness.load import compile_module
from harness.pki import Authority
from harness.server import PAGE, REPOSITORY, USER, Httpd, HttpdFailed
from harness.spool import Spool, name_in_acl

NAME = "start.test"
AT_START, AT_CONFIGTEST, HTTPD_CAN_WRITE, UNSAFE_PARENT = "AALPN0002", "AALPN0003", "AALPN0004", "AALPN0005"


def make(make_httpd: StartHttpd, authority: Authority, **arguments: object) -> Httpd:
    httpd = make_httpd(**arguments)
    httpd.vhost(NAME, credentials=[authority.issue(NAME)])
    return httpd


@pytest.mark.parametrize("tls", [True, False])
def test_right_configuration_is_not_worth_a_word(tls: bool, make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make(make_httpd, authority)
    httpd.vhosts[0].tls = tls
    assert httpd.configtest() == (0, "Syntax OK\n")
    httpd.start()
    httpd.reload()
    assert not httpd.log.tagged()


HTTPD = pwd.getpwnam(USER)
STRANGER = pwd.getpwnam("nobody").pw_uid


def lead_by_a_link(spool: Spool) -> None:
    """To a directory that is closed by one that the path does not name."""
    closed = spool.path.parent / "closed"
    if not closed.exists():
        closed.mkdir()
        spool.path.rename(closed / "spool")
        spool.path.symlink_to(closed / "spool")
    closed.chmod(0o700)


# What happens to the spool and the directory above it, what is told of it, and why handshakes are refused then.
Spoil = Callable[[Spool], object]
FAULTS: dict[str, tuple[Spoil, str, str, str | None]] = {
    "missing": (lambda spool: spool.path.rmdir(), AT_START, "does not exist", "spool-missing"),
    "world-writable": (lambda spool: spool.path.chmod(0o777), AT_START, "mode 0755", "spool-writable"),
    "httpds-own": (lambda spool: os.chown(spool.path, HTTPD.pw_uid, HTTPD.pw_gid), HTTPD_CAN_WRITE, "", None),
    "unsafe-parent": (lambda spool: spool.path.parent.chmod(0o777), UNSAFE_PARENT, "parent", None),
    "parent-by-acl": (lambda spool: name_in_acl(spool.path.parent, STRANGER, 7), UNSAFE_PARENT, "parent", None),
}
CLOSED: dict[str, tuple[Spoil, str]] = {
    "unreadable": (lambda spool: spool.path.chmod(0o700), r"spool \(mode 0700\).* 0?755"),
    "not-passed": (lambda spool: spool.path.chmod(0o744), r"spool \(mode 0744\).* 0?755"),
    "by-acl": (lambda spool: name_in_acl(spool.path, HTTPD.pw_uid, 0), r"spool \(mode 0755\).* ACL"),
    "parent": (lambda spool: spool.path.parent.chmod(0o700), r"PARENT \(mode 0700\).* chmod a\+x"),
    "parent-by-acl": (
        lambda spool: name_in_acl(spool.path.parent, HTTPD.pw_uid, 0),
        r"PARENT \(mode 0755\).* ACL",
    ),
    "links-target": (lead_by_a_link, r"PARENT/closed \(mode 0700\).* chmod a\+x"),
}
FAULTS |= {f"closed-{name}": (spoil, AT_START, told, "spool-unreadable") for name, (spoil, told) in CLOSED.items()}


def as_stranger(httpd: Httpd) -> None:
    """Started by another user than root, so that there is no change to `User`."""
    httpd.starter = as_user(STRANGER)
    (httpd.root / "error.log").touch()
    for name in ("run", "error.log"):
        os.chown(httpd.root / name, STRANGER, STRANGER)


def in_jail(httpd: Httpd, spool: str = "/spool") -> None:
    """In a ChrootDir where httpd's paths lead to the same files. A thread would need libgcc there to end."""
    inside = httpd.root / httpd.root.relative_to("/")
    inside.parent.mkdir(parents=True)
    inside.symlink_to("/")
    httpd.mpm = "prefork"
    httpd.server_lines += [f"ChrootDir {httpd.root}", f"AcmeAlpnSpool {spool}"]


# How httpd runs; owner, group and mode of its spool; why a handshake is refused, and the line about that.
Run = Callable[[Httpd], None]
RUNS: dict[str, tuple[Run, int, int, int, str | None, str | None]] = {
    "group": (lambda httpd: None, 0, HTTPD.pw_gid, 0o750, None, None),
    "acl": (lambda httpd: name_in_acl(httpd.spool.path, HTTPD.pw_uid, 5), 0, 0, 0o700, None, None),
    "users": (as_stranger, STRANGER, 0, 0o700, None, HTTPD_CAN_WRITE),
    "users-group": (as_stranger, 0, STRANGER, 0o750, None, None),
    "httpds": (as_stranger, HTTPD.pw_uid, 0, 0o755, None, None),
    "closed": (as_stranger, 0, HTTPD.pw_gid, 0o750, "spool-unreadable", AT_START),
    "inside": (in_jail, 0, 0, 0o755, None, None),
    "outside": (lambda httpd: in_jail(httpd, "/usr"), 0, 0, 0o755, "spool-missing", AT_START),
}


@pytest.mark.parametrize("way", RUNS)
def test_what_is_told_is_what_a_handshake_finds(way: str, make_httpd: StartHttpd) -> None:
    run, owner, group, mode, reason, tag = RUNS[way]
    httpd = make_httpd()
    httpd.vhost(NAME, lines=["AcmeAlpnPlaceholder On"])
    os.chown(httpd.spool.path, owner, group)
    httpd.spool.path.chmod(mode)
    run(httpd)
    code, output = httpd.configtest()
    assert (code, "AALPN" in output) == (0, tag is not None), output
    httpd.start()
    if tag:
        httpd.log.expect(tag)
    if reason:
        assert_refused(httpd, NAME, reason)
    else:
        publish_and_check(httpd, NAME)


@pytest.mark.parametrize("fault", FAULTS)
def test_unsafe_spool_is_told_and_stops_nothing(fault: str, make_httpd: StartHttpd, authority: Authority) -> None:
    spoil, tag, told, reason = FAULTS[fault]
    httpd = make(make_httpd, authority)
    parent = httpd.root / "parent"
    parent.mkdir(mode=0o755)
    httpd.spool = Spool(parent / "spool").create()
    httpd.server_lines = [f"AcmeAlpnSpool {httpd.spool.path}"]
    told = told.replace("PARENT", re.escape(str(parent)))
    spoil(httpd.spool)
    code, output = httpd.configtest()
    assert code == 0 and str(httpd.spool.path) in output and re.search(told, output)
    assert (AT_CONFIGTEST if tag == AT_START else tag) in output
    httpd.start()
    for again in (False, True):
        record = httpd.log.expect(tag, told, level="error" if tag == AT_START else "warn")[0]
        assert str(httpd.spool.path) in record.text
        assert client.https_get(httpd.address(), NAME, authority.root).body.decode() == PAGE
        if reason:
            assert_refused(httpd, NAME, reason)
            mend(httpd.spool)
        publish_and_check(httpd, NAME)
        if not again:
            spoil(httpd.spool)
            httpd.reload()
    # A start and a reload check the configuration as configtest does.
    httpd.log.allow(AT_CONFIGTEST)
    httpd.log.allow(tag)


def mend(spool: Spool) -> None:
    spool.path.mkdir(exist_ok=True)
    for path in (spool.path.parent, spool.path.parent / "closed", spool.path):
        with suppress(OSError):  # it is not there, or has no ACL
            path.chmod(0o755)
            os.removexattr(path, "system.posix_acl_access")


def test_without_mod_ssl_there_is_a_notice_and_nothing_else(make_httpd: StartHttpd) -> None:
    httpd = make_httpd(with_ssl=False)
    httpd.vhost(NAME, tls=False)
    httpd.start()
    tagged = httpd.log.tagged()
    assert [(record.tag, record.level) for record in tagged] == [("AALPN0001", "notice")]


OTHER_OPENSSL = REPOSITORY / "test" / "httpd" / "observer" / "mod_other_openssl.c"
TWO_OPENSSLS = "mod_ssl uses (.*) and mod_acme_alpn (OpenSSL/[0-9.]+[^ ;]*); rebuild .* PKG_CONFIG_PATH"


def use_other_openssl(httpd: Httpd) -> None:
    httpd.server_lines.append(f"LoadModule other_openssl_module {compile_module(OTHER_OPENSSL)}")
    httpd.environment["ACME_ALPN_SSL_LIBRARY"] = "OpenSSL/1.0.2u"


def test_another_openssl_than_mod_ssls_is_refused(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make(make_httpd, authority)
    use_other_openssl(httpd)
    httpd.log.allow(pattern="AH00014: Configuration check failed")
    with pytest.raises(HttpdFailed, match="httpd died while starting"):
        httpd.start()
    told = re.search(TWO_OPENSSLS, httpd.log.expect("AALPN0010", level="emerg")[0].text)
    assert told and told[1] == "OpenSSL/1.0.2u"
    # Another patch level counts, too; the same library does not, nor one of which mod_ssl says nothing.
    own = told[2]
    for library, is_refused in ((f"{own}1", True), (own[:-1], True), (own, False), ("", False)):
        httpd.environment["ACME_ALPN_SSL_LIBRARY"] = library
        code, output = httpd.configtest()
        assert (code, re.findall(TWO_OPENSSLS, output)) == ((1, [(library, own)]) if is_refused else (0, []))
    httpd.start()
    publish_and_check(httpd, NAME)


def test_another_openssl_without_mod_ssl_is_not_refused(make_httpd: StartHttpd) -> None:
    """Other modules that do TLS register mod_ssl's optional function, with their own library."""
    httpd = make_httpd(with_ssl=False)
    use_other_openssl(httpd)
    assert httpd.configtest() == (0, "Syntax OK\n")


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
