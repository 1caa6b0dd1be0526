"""acme-alpn: the spool as the module wants it, and the verdict of a CA on every way to fail."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import StartHttpd, start_vhost
from harness import commands, poll, ports
from harness.acme import CHALLTESTSRV
from harness.challenge import ANSWERED, REFUSED
from harness.hooks import TOOL, as_user
from harness.issuance import STRANGER
from harness.pki import Authority
from harness.recipe import DIGEST, NAME
from harness.responders import BEHAVIOURS, REASONS, Asked, failing
from harness.server import PARENT, Httpd, Listener
from harness.spool import KeyAuthorization, Spool
from harness.upstream import ANONYMOUS, Upstream, certificate, close, serve, swallowing

DONE, FAILED, USAGE, SPOOL_PROBLEM = 0, 1, 2, 3


def run(
    *arguments: str,
    spool: Path | None = None,
    stdin: str = "",
    environment: dict[str, str] | None = None,
    within: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    options = [f"--spool={spool}"] if spool else []
    return subprocess.run(
        [*within, TOOL, *options, *arguments],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=poll.DEADLINE,
        check=False,
        env={"PATH": os.environ["PATH"], **(environment or {})},
    )


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool").create()


# The spool


@pytest.mark.parametrize("form", ["key-authorization", "base64url", "hex", "colons", "stdin"])
def test_add_writes_what_the_contract_wants(spool: Spool, form: str) -> None:
    value = KeyAuthorization.new()
    argument = {
        "key-authorization": value.text,
        "base64url": value.digest_base64url,
        "hex": value.digest.hex().upper(),
        "colons": value.digest.hex(":"),
        "stdin": "-",
    }[form]
    done = run("add", NAME, argument, spool=spool.path, stdin=value.text + "\r\n")
    assert (done.returncode, done.stdout, done.stderr) == (DONE, "", "")
    entry = spool.path / NAME
    assert stat.S_IMODE(entry.stat().st_mode) == 0o644
    assert entry.read_text() == (value.text if form == "stdin" else argument) + "\n"
    assert spool.entries() == [NAME]


@pytest.mark.parametrize(
    "given, file",
    [
        ("Example.TEST.", NAME),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("a." * 126 + "b", "a." * 126 + "b"),
    ],
)
def test_identifier_becomes_its_canonical_form(spool: Spool, given: str, file: str) -> None:
    value = KeyAuthorization.new().text
    assert run("add", given, value, spool=spool.path).returncode == DONE
    assert spool.entries() == [file]
    assert run("remove", given, value, spool=spool.path).returncode == DONE
    assert spool.entries() == []


@pytest.mark.parametrize(
    "identifier, advice",
    [
        ("*.example.test", "use dns-01"),
        ("bücher.test", "A-labels"),
        ("a_b.test", "neither a DNS name"),
        ("../etc/passwd", "neither a DNS name"),
        (".hidden", "neither a DNS name"),
    ],
)
def test_identifier_that_cannot_be_is_refused(spool: Spool, identifier: str, advice: str) -> None:
    done = run("add", identifier, KeyAuthorization.new().text, spool=spool.path)
    assert done.returncode == USAGE
    assert f"identifier '{identifier}'" in done.stderr and advice in done.stderr
    assert spool.entries() == []


@pytest.mark.parametrize("value", ["", "short", "x" * 1100, "a\nb"])
def test_value_that_cannot_be_is_refused(spool: Spool, value: str) -> None:
    for argument, stdin in ((value, ""), ("-", value), ("-", f"{KeyAuthorization.new().text}\0{value}")):
        done = run("add", NAME, argument, spool=spool.path, stdin=stdin)
        assert done.returncode == USAGE and done.stderr.startswith("acme-alpn: value: ")
    assert spool.entries() == []


def test_remove_takes_only_what_is_its_own(spool: Spool) -> None:
    own, other = KeyAuthorization.new(), KeyAuthorization.new()
    spool.publish(NAME, other)
    done = run("remove", NAME, own.text, spool=spool.path)
    assert done.returncode == FAILED and "another value" in done.stderr
    assert spool.entries() == [NAME]
    assert run("remove", NAME, other.digest_base64url, spool=spool.path).returncode == DONE
    assert spool.entries() == []
    assert run("remove", NAME, spool=spool.path).returncode == DONE
    spool.publish(NAME, other)
    assert run("remove", NAME, "-", spool=spool.path, stdin=own.text).returncode == FAILED
    assert run("remove", NAME, "-", spool=spool.path, stdin=other.text).returncode == DONE
    assert spool.entries() == []


def test_list_tells_what_is_valid_and_why_not(spool: Spool) -> None:
    spool.publish("good.test")
    spool.write("old.test", KeyAuthorization.new().text.encode(), age=2 * 86400)
    spool.write("bad.test", b"nonsense\n")
    spool.write("UPPER.test", KeyAuthorization.new().text.encode())
    (spool.path / ".hidden").write_text("not an entry")
    (spool.path / "a\x1b[31m").write_text("not on a terminal as it is")
    done = run("list", "--json", spool=spool.path)
    assert done.returncode == DONE
    document = json.loads(done.stdout)
    assert document["spool"] == str(spool.path)
    reasons = {entry["identifier"]: (entry["valid"], entry["reason"]) for entry in document["entries"]}
    assert reasons == {
        "UPPER.test": (False, "name-invalid"),
        "a%1b%5b31m": (False, "name-invalid"),
        "bad.test": (False, "value-malformed"),
        "good.test": (True, "ok"),
        "old.test": (False, "entry-too-old"),
    }
    assert next(entry for entry in document["entries"] if entry["identifier"] == "old.test")["age"] >= 172800
    lines = run("list", spool=spool.path).stdout.splitlines()
    reason = {line.split()[0]: line.split(" s  ")[1][45:] for line in lines}
    assert list(reason) == sorted(reasons) and reason["good.test"] == "valid"
    assert reason["UPPER.test"].startswith("the name is neither a DNS name")
    assert reason["bad.test"].startswith("the entry is neither a key authorization")
    assert reason["old.test"] == "the entry is older than AcmeAlpnMaxAge"


@pytest.mark.parametrize("value", ["-iGWN4LT4DoSH4DtsCUruwXvZ3SOHM7xT39zX07VE7w", "-" * 42 + "A", "-" * 22 + "." + "A" * 43])
@pytest.mark.parametrize("end_of_options", [[], ["--"]])
def test_value_may_start_with_hyphens(spool: Spool, value: str, end_of_options: list[str]) -> None:
    assert run("add", *end_of_options, NAME, value, spool=spool.path).returncode == DONE
    assert (spool.path / NAME).read_text() == value + "\n"
    assert run("remove", *end_of_options, NAME, value, spool=spool.path).returncode == DONE
    assert spool.entries() == []


def test_spool_comes_from_the_environment(spool: Spool) -> None:
    environment = {"ACME_ALPN_SPOOL": str(spool.path)}
    assert run("add", NAME, KeyAuthorization.new().text, environment=environment).returncode == DONE
    assert spool.entries() == [NAME]
    environment = {"ACME_ALPN_SPOOL": str(spool.path / "missing")}
    assert run("remove", NAME, environment=environment).returncode == SPOOL_PROBLEM
    assert run("remove", NAME, spool=spool.path, environment=environment).returncode == DONE
    assert spool.entries() == []


@pytest.mark.parametrize("command", [["add", NAME, "0" * 64], ["remove", NAME], ["list"], ["check", NAME]])
def test_problems_of_the_spool_have_their_exit_code(tmp_path: Path, command: list[str]) -> None:
    missing = tmp_path / "missing"
    done = run(*command, spool=missing)
    assert done.returncode == SPOOL_PROBLEM and "does not exist" in done.stderr
    unsafe = Spool(tmp_path / "unsafe").create()
    unsafe.path.chmod(0o777)
    done = run(*command, spool=unsafe.path)
    assert done.returncode == SPOOL_PROBLEM and "mode 0755" in done.stderr
    assert unsafe.entries() == []


def test_who_may_not_write_the_spool_is_told() -> None:
    """In a directory that every user can reach, as a checkout or pytest's own need not be."""
    with tempfile.TemporaryDirectory(dir=PARENT) as directory:
        os.chmod(directory, 0o755)
        spool, tool = Spool(Path(directory) / "spool").create(), shutil.copy(TOOL, directory)
        command = [*as_user(STRANGER), tool, f"--spool={spool.path}", "add", NAME, "0" * 64]
        done = commands.run(command, poll.DEADLINE)
    assert done.returncode == SPOOL_PROBLEM and "neither root nor the owner" in done.stdout


def test_entry_that_the_tools_user_may_not_read() -> None:
    """httpd's User may be of the entry's group, so the text is about the tool's user."""
    with tempfile.TemporaryDirectory(dir=PARENT) as directory:
        os.chmod(directory, 0o755)
        spool, tool = Spool(Path(directory) / "spool").create(), shutil.copy(TOOL, directory)
        spool.write(NAME, KeyAuthorization.new().text.encode(), mode=0o640)
        done = commands.run([*as_user(STRANGER), tool, f"--spool={spool.path}", "list"], poll.DEADLINE)
    assert done.returncode == DONE and "permission denied: this user cannot read the entry" in done.stdout


@pytest.mark.parametrize("command", [["add", NAME, "0" * 64], ["remove", NAME]])
def test_read_only_spool_is_told_in_the_systems_words(spool: Spool, command: list[str]) -> None:
    """docs/troubleshooting.md has them."""
    spool.publish(NAME)
    read_only = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    done = commands.run(
        ["unshare", "--mount", "sh", "-c", read_only, spool.path, TOOL, f"--spool={spool.path}", *command], poll.DEADLINE
    )
    assert done.returncode == SPOOL_PROBLEM and f"{spool.path}/{NAME}: Read-only file system" in done.stdout


@pytest.mark.parametrize(
    "arguments, told",
    [
        ([], "usage: "),
        (["publish", NAME], "'publish' is not a command"),
        (["add", NAME], "wrong number of arguments; give IDENTIFIER VALUE"),
        (["add", NAME, "0" * 64, "more"], "wrong number of arguments"),
        (["list", "--wait", "1"], "accepts --spool, --account and --json only"),
        (["add", NAME, "0" * 64, "--json"], "add: accepts --spool only"),
        (["check", NAME, "0" * 64, "--wait", "soon"], "'soon' is not a time"),
        (["check", NAME, "0" * 64, "--connect", "127.0.0.1"], "give HOST:PORT"),
        (["check", NAME, "--public", "--connect", "127.0.0.1:443"], "--connect or --public"),
        (["remove", NAME, "--public"], "remove: accepts --spool only"),
        (["check", NAME, "0" * 64, "--connect", "127.0.0.1:99999"], "a port from 1 to 65535"),
        (["--spool", "", "list"], "--spool: give a directory"),
        (["--unknown"], "--unknown"),
    ],
)
def test_wrong_usage_is_told(spool: Spool, arguments: list[str], told: str) -> None:
    done = run(*arguments, spool=spool.path)
    assert done.returncode == USAGE and told in done.stderr and not done.stdout


# The check


@pytest.fixture
def httpd(make_httpd: StartHttpd, authority: Authority) -> Httpd:
    return start_vhost(make_httpd(), NAME, authority)


def check(httpd: Httpd, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    address = str(httpd.listeners["main"])
    return run("check", *arguments, "--connect", address, spool=httpd.spool.path, stdin=stdin)


@pytest.mark.parametrize("identifier", [NAME, "192.0.2.7", "2001:db8::7"])
def test_right_answer_passes(httpd: Httpd, identifier: str) -> None:
    value = httpd.spool.publish(identifier)
    for arguments in ([identifier], [identifier, value.text], [identifier, value.digest_base64url], [identifier, "-"]):
        done = check(httpd, *arguments, stdin=value.text)
        assert done.returncode == DONE and done.stdout.startswith(f"PASS {identifier} at "), done.stdout
    httpd.log.expect(ANSWERED, f"identifier={identifier} ", count=4)


def test_check_waits_until_it_is_right(httpd: Httpd) -> None:
    value = KeyAuthorization.new()
    timer = threading.Timer(1, httpd.spool.publish, [NAME, value])
    timer.start()
    done = check(httpd, NAME, value.text)
    timer.join()
    assert done.returncode == DONE, done.stdout
    httpd.log.expect(ANSWERED, f"identifier={NAME} ")
    httpd.log.expect(REFUSED, "reason=no-entry ")
    httpd.log.allow(REFUSED, "reason=no-entry ")


@pytest.mark.parametrize("where", [[], ["--public"]])
def test_check_without_entry_shows_how_to_make_one(spool: Spool, where: list[str]) -> None:
    done = run("check", NAME, *where, spool=spool.path)
    assert done.returncode == SPOOL_PROBLEM and "no entry" in done.stderr
    line = done.stderr[done.stderr.index("acme-alpn add ") :].replace("acme-alpn", str(TOOL), 1)
    assert commands.run(["sh", "-c", line], poll.DEADLINE).returncode == DONE and spool.entries() == [NAME]


# What the advice for some of the reasons has to name.
ADVICE = {
    "refused": "grep AALPN0102",
    "tls-failed": "something in front of httpd (nginx, Caddy",
    "other-protocol": "mod_acme_alpn is not loaded",
    "certificate-ordinary": "something in front of httpd terminates TLS",
    "certificate-wrong-digest": "another ACME client has an entry for the same name",
    "not-tls": "give the first vhost there SSLEngine on",
    "connection-refused": "start httpd",
    "timeout": "through the firewall",
}


@pytest.mark.parametrize("reason", REASONS)
def test_each_fault_has_its_verdict_and_advice(reason: str, spool: Spool, authority: Authority, tmp_path: Path) -> None:
    with failing(reason, Asked(NAME, DIGEST, authority)) as address:
        command = ["check", NAME, DIGEST.hex(), "--connect", address, "--wait", "1" if reason == "timeout" else "0"]
        environment = taking_no_certificate(tmp_path)
        told, done = (run(*command, *form, spool=spool.path, environment=environment) for form in (["--json"], []))
    assert (told.returncode, done.returncode) == (FAILED, FAILED)
    (verdict,) = json.loads(told.stdout)["checks"]
    assert (verdict["address"], verdict["pass"], verdict["reason"]) == (address, False, reason)
    assert ADVICE.get(reason, "") in verdict["advice"]
    first, second = done.stdout.splitlines()
    assert first.startswith(f"FAIL {NAME} at {address}: {reason}: {verdict['text']}")
    assert second.strip() == verdict["advice"]


def taking_no_certificate(directory: Path) -> dict[str, str]:
    """The environment in which OpenSSL's clients take a server that has none."""
    config = directory / "openssl.cnf"
    config.write_text(f"openssl_conf=a\n[a]\nssl_conf=b\n[b]\nsystem_default=c\n[c]\nCipherString=ALL:{ANONYMOUS}\n")
    return {"OPENSSL_CONF": str(config)}


# Several addresses


def verdicts(*addresses: str, wait: str) -> dict[str, object]:
    connect = [option for address in addresses for option in ("--connect", address)]
    done = run("check", NAME, DIGEST.hex(), *connect, "--wait", wait, "--json")
    document = json.loads(done.stdout)
    assert document["pass"] == all(item["pass"] for item in document["checks"])
    assert done.returncode == (DONE if document["pass"] else FAILED)
    return {item["address"]: item["reason"] for item in document["checks"]}


def test_each_address_has_its_verdict() -> None:
    hosts = [f"{host}:443" for host in ("no such host", "a" * 300)]
    with Upstream(serve(certificate([NAME], DIGEST))) as good, Upstream(close) as bad:
        expected = {**dict.fromkeys(hosts, "host-unknown"), str(good): "ok", str(bad): "closed"}
        assert verdicts(*expected, wait="0") == expected


@pytest.mark.parametrize("place", ["first", "last"])
def test_one_that_hangs_leaves_another_its_second_attempt(place: str) -> None:
    behaviours = iter([close])
    good = serve(certificate([NAME], DIGEST))
    with Upstream(lambda connection: next(behaviours, good)(connection)) as soon, Upstream() as hangs:
        addresses = [str(hangs), str(soon)] if place == "first" else [str(soon), str(hangs)]
        assert verdicts(*addresses, wait="4") == {str(hangs): "timeout", str(soon): "ok"}


# As a CA finds them

HTTPD_4, HTTPD_6, PROXY, CLOSED, SILENT = "203.0.113.5", "2001:db8::5", "2001:db8::6", "203.0.113.7", "203.0.113.8"
PUBLIC = {
    "both.test": {HTTPD_4: "", HTTPD_6: ""},
    "proxied.test": {HTTPD_4: "", PROXY: "certificate-ordinary"},
    "closed.test": {CLOSED: "connection-refused", HTTPD_6: ""},
    "silent.test": {SILENT: "timeout", HTTPD_4: ""},
    "local.test": {"127.0.0.1": "connection-refused"},
    "unknown.test": {"unknown.test": "host-unknown"},
    HTTPD_6: {HTTPD_6: ""},
}
HOSTS = "".join(f"{address} {name}\n" for name, found in PUBLIC.items() for address in found if name != address)


@contextmanager
def private_network(*addresses: str) -> Iterator[None]:
    """For this thread and for what it starts: this machine has these addresses, and their ports are free."""
    ports.choose()  # its claim has to be known outside
    library, new_network = ctypes.CDLL(None, use_errno=True), 0x40000000
    with open("/proc/thread-self/ns/net", "rb") as outside:
        if library.unshare(new_network) != 0:
            pytest.skip(f"no network of its own: {os.strerror(ctypes.get_errno())}")
        try:
            # "nodad": an IPv6 address can be bound to at once.
            lines = [f"address add {address} dev lo{' nodad' if ':' in address else ''}" for address in addresses]
            lines.insert(0, "link set lo up")
            subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)
            yield
        finally:
            assert library.setns(outside.fileno(), new_network) == 0


def test_public_check_asks_each_address_as_a_ca_does(httpd: Httpd, authority: Authority, tmp_path: Path) -> None:
    httpd.stop()
    for host in (HTTPD_4, HTTPD_6):
        httpd.listeners[host] = Listener(host, 443)
        httpd.vhost(NAME, credentials=[authority.issue(NAME)], listener=host)
    (tmp_path / "hosts").write_text(HOSTS)
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    mounts = 'for file in hosts resolv.conf; do mount --bind "$0/$file" "/etc/$file"; done && exec "$@"'
    within = ["unshare", "--mount", "sh", "-ec", mounts, str(tmp_path)]
    proxy = BEHAVIOURS["certificate-ordinary"](Asked(NAME, DIGEST, authority))
    with private_network(HTTPD_4, HTTPD_6, PROXY, CLOSED, SILENT), Upstream(proxy, (PROXY, 443)), swallowing((SILENT, 443)):
        httpd.start()
        for name, found in PUBLIC.items():
            httpd.spool.publish(name)
            wait = "2" if SILENT in found else "0"
            done = run("check", "--public", name, "--wait", wait, spool=httpd.spool.path, within=within)
            assert dict(re.findall(r"^\w+ \S+ at \[?(\S+?)\]?:443(?:: (\S+):)?", done.stdout, re.MULTILINE)) == found
            assert done.returncode == (FAILED if any(found.values()) else DONE)
            assert ("a proxy or CDN terminates TLS there" in done.stdout) == (PROXY in found)
            assert ("a router may not let" in done.stdout) == (not {CLOSED, SILENT, "127.0.0.1"}.isdisjoint(found))
            assert ("not for a CA" in done.stderr) == ("127.0.0.1" in found)
        one = ("check", "silent.test", "--connect", "silent.test:443", "--wait", "4")
        assert run(*one, spool=httpd.spool.path, within=within).returncode == DONE
        value = KeyAuthorization.new()
        threading.Timer(1, httpd.spool.publish, ["both.test", value]).start()
        assert run("check", "--public", "both.test", value.text, within=within).returncode == DONE
        # What the DNS says counts before /etc/hosts.
        dns = [CHALLTESTSRV, "-dns01", "127.0.0.1:53", "-defaultIPv4", HTTPD_4, "-defaultIPv6", ""]
        dns += ["-http01", "", "-https01", "", "-tlsalpn01", ""]
        right, line = ("check", "--public", "local.test", "--wait", "0"), f"PASS local.test at {HTTPD_4}:443"
        asked = lambda: line in run(*right, spool=httpd.spool.path, within=within).stdout  # noqa: E731
        with commands.running(dns, tmp_path / "dns.log"):
            poll.until(asked, poll.DEADLINE, "the address that the DNS has is asked")
