"""acme-alpn: the spool as the module wants it, and the verdict of a CA on every way to fail."""

from __future__ import annotations

import json
import os
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from conftest import StartHttpd
from harness import poll, ports
from harness.acme import skip_where_missing
from harness.challenge import ANSWERED, REFUSED
from harness.checker import SUBJECT_ALT_NAME, san
from harness.hooks import TOOL, as_user
from harness.issuance import STRANGER
from harness.pki import Authority, Credential
from harness.recipe import ACME, DIGEST, NAME, RIGHT, SAN, Recipe
from harness.server import LEASH, Httpd
from harness.spool import KeyAuthorization, Spool
from harness.strangers import public_directory, public_tool
from harness.upstream import certificate, close, say, serve

DONE, FAILED, USAGE, SPOOL_PROBLEM = 0, 1, 2, 3


def run(
    *arguments: str, spool: Path | None = None, stdin: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    options = [f"--spool={spool}"] if spool else []
    return subprocess.run(
        [TOOL, *options, *arguments],
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
    hexadecimal = value.digest.hex()
    argument = {
        "key-authorization": value.text,
        "base64url": value.digest_base64url,
        "hex": hexadecimal.upper(),
        "colons": ":".join(hexadecimal[i : i + 2] for i in range(0, 64, 2)),
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
        ("192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("7.2.0.192.in-addr.arpa", "192.0.2.7"),
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
        ("192.0.2.300", "nor an IP address"),
        ("../etc/passwd", "neither a DNS name"),
        ("", "neither a DNS name"),
        (".hidden", "neither a DNS name"),
    ],
)
def test_identifier_that_cannot_be_is_refused(spool: Spool, identifier: str, advice: str) -> None:
    done = run("add", identifier, KeyAuthorization.new().text, spool=spool.path)
    assert done.returncode == USAGE
    assert f"identifier '{identifier}'" in done.stderr and advice in done.stderr
    assert spool.entries() == []


@pytest.mark.parametrize("value", ["", "short", "a.b", "0" * 63, "x" * 1100, "a\nb"])
def test_value_that_cannot_be_is_refused(spool: Spool, value: str) -> None:
    for argument, stdin in ((value, ""), ("-", value)):
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


def test_add_names_the_entry_that_is_in_the_way(spool: Spool) -> None:
    (spool.path / NAME).mkdir()
    done = run("add", NAME, "0" * 64, spool=spool.path)
    assert (done.returncode, done.stderr) == (SPOOL_PROBLEM, f"acme-alpn: {spool.path}/{NAME}: Is a directory\n")


def test_list_tells_what_is_valid_and_why_not(spool: Spool) -> None:
    spool.publish("good.test")
    spool.write("old.test", KeyAuthorization.new().text.encode(), age=2 * 86400)
    spool.write("bad.test", b"nonsense\n")
    spool.write("UPPER.test", KeyAuthorization.new().text.encode())
    (spool.path / ".hidden").write_text("not an entry")
    done = run("list", "--json", spool=spool.path)
    assert done.returncode == DONE
    document = json.loads(done.stdout)
    assert document["spool"] == str(spool.path)
    reasons = {entry["identifier"]: (entry["valid"], entry["reason"]) for entry in document["entries"]}
    assert reasons == {
        "UPPER.test": (False, "name-invalid"),
        "bad.test": (False, "value-malformed"),
        "good.test": (True, "ok"),
        "old.test": (False, "entry-too-old"),
    }
    assert next(entry for entry in document["entries"] if entry["identifier"] == "old.test")["age"] >= 172800
    lines = run("list", spool=spool.path).stdout.splitlines()
    reason = {line.split()[0]: line.split(" s  ")[1] for line in lines}
    assert list(reason) == sorted(reasons) and reason["good.test"] == "valid"
    assert reason["UPPER.test"].startswith("the name is neither a DNS name")
    assert reason["bad.test"].startswith("the entry is neither a key authorization")
    assert reason["old.test"] == "the entry is older than AcmeAlpnMaxAge"


def test_list_has_names_that_are_not_utf_8(tmp_path: Path) -> None:
    spool = Spool(Path(os.fsdecode(bytes(tmp_path) + b"/sp\xffool"))).create()
    spool.publish(os.fsdecode(b"a\xff"))
    spool.publish("b\u00fc")
    document = json.loads(run("list", "--json", spool=spool.path).stdout)
    assert document["spool"] == f"{tmp_path}/sp?ool"
    assert [entry["identifier"] for entry in document["entries"]] == ["a?", "b\u00fc"]


@pytest.mark.parametrize("value", ["-iGWN4LT4DoSH4DtsCUruwXvZ3SOHM7xT39zX07VE7w", "-" * 42 + "A", "-" * 22 + "." + "A" * 43])
@pytest.mark.parametrize("end_of_options", [[], ["--"]])
def test_value_may_start_with_hyphens(spool: Spool, value: str, end_of_options: list[str]) -> None:
    assert run("add", *end_of_options, NAME, value, spool=spool.path).returncode == DONE
    assert (spool.path / NAME).read_text() == value + "\n"
    assert run("remove", *end_of_options, NAME, value, spool=spool.path).returncode == DONE
    assert spool.entries() == []


@pytest.mark.parametrize("value", ["-iGWN4", "--iGWN4", "--" * 22])
def test_other_arguments_that_start_with_a_hyphen_are_refused(spool: Spool, value: str) -> None:
    done = run("add", NAME, value, spool=spool.path)
    assert done.returncode == USAGE and "option" in done.stderr
    done = run("add", "--", NAME, value, spool=spool.path)
    assert done.returncode == USAGE and done.stderr.startswith("acme-alpn: value: ")
    assert spool.entries() == []


def test_list_writes_nothing_to_the_terminal_but_text(spool: Spool) -> None:
    (spool.path / "a\x1b[2Jb\u00fc").write_text("whatever")
    assert run("list", spool=spool.path).stdout.startswith("a?[2Jb?? ")


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
    with public_directory() as directory:
        spool = Spool(directory / "spool").create()
        tool = public_tool(directory)
        done = subprocess.run(
            [*as_user(STRANGER), tool, f"--spool={spool.path}", "add", NAME, "0" * 64],
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=poll.DEADLINE,
        )
    assert done.returncode == SPOOL_PROBLEM and "neither root nor the owner" in done.stderr


@pytest.mark.parametrize(
    "arguments, told",
    [
        ([], "usage: "),
        (["publish", NAME], "'publish' is not a command"),
        (["add", NAME], "wrong number of arguments"),
        (["add", NAME, "0" * 64, "more"], "wrong number of arguments"),
        (["list", "--wait", "1"], "takes --spool and --json"),
        (["add", NAME, "0" * 64, "--json"], "no other option"),
        (["check", NAME, "0" * 64, "--wait", "soon"], "'soon' is not a time"),
        (["check", NAME, "0" * 64, "--connect", "127.0.0.1"], "give HOST:PORT"),
        (["check", NAME, "0" * 64, "--connect", "127.0.0.1:99999"], "a port from 1 to 65535"),
        (["--spool", "", "list"], "--spool: give a directory"),
        (["--unknown"], "--unknown"),
    ],
)
def test_wrong_usage_is_told(spool: Spool, arguments: list[str], told: str) -> None:
    done = run(*arguments, spool=spool.path)
    assert done.returncode == USAGE and told in done.stderr and not done.stdout


def test_help_and_version() -> None:
    assert run("--help").stdout.startswith("usage: acme-alpn")
    assert run("--version").stdout.startswith("acme-alpn ")


# The check, against httpd


@pytest.fixture
def httpd(make_httpd: StartHttpd, authority: Authority) -> Httpd:
    httpd = make_httpd()
    httpd.vhost(NAME, credentials=[authority.issue(NAME)])
    return httpd.start()


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


def test_check_without_entry_has_nothing_to_compare(httpd: Httpd) -> None:
    done = check(httpd, NAME)
    assert done.returncode == SPOOL_PROBLEM and "no entry" in done.stderr


def test_refusal_is_told_with_its_cure(httpd: Httpd) -> None:
    done = check(httpd, NAME, KeyAuthorization.new().text, "--wait", "0")
    assert done.returncode == FAILED
    assert "FAIL" in done.stdout and ": refused: " in done.stdout and "AALPN0102" in done.stdout
    httpd.log.expect(REFUSED, "reason=no-entry ")


def test_other_clients_entry_is_told(httpd: Httpd) -> None:
    httpd.spool.publish(NAME)
    done = check(httpd, NAME, KeyAuthorization.new().text, "--wait", "0")
    assert done.returncode == FAILED
    assert ": certificate-wrong-digest: " in done.stdout and "another ACME client" in done.stdout
    httpd.log.expect(ANSWERED, f"identifier={NAME} ")


def test_httpd_without_the_module_is_told(make_httpd: StartHttpd, authority: Authority, spool: Spool) -> None:
    httpd = make_httpd(with_module=False)
    httpd.vhost(NAME, credentials=[authority.issue(NAME)])
    httpd.start()
    address = str(httpd.listeners["main"])
    done = run("check", NAME, "0" * 64, "--connect", address, "--wait", "0", spool=spool.path)
    assert done.returncode == FAILED
    assert ": other-protocol: " in done.stdout and "mod_acme_alpn is not loaded" in done.stdout


def test_several_addresses_each_have_their_verdict(httpd: Httpd) -> None:
    value = httpd.spool.publish(NAME)
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{unused.getsockname()[1]}"
        done = check(httpd, NAME, value.text, "--connect", nobody, "--json", "--wait", "0")
    assert done.returncode == FAILED
    document = json.loads(done.stdout)
    assert document["identifier"] == NAME and document["pass"] is False
    verdicts = {item["address"]: (item["pass"], item["reason"]) for item in document["checks"]}
    assert verdicts == {
        nobody: (False, "nobody-listens"),
        str(httpd.listeners["main"]): (True, "ok"),
    }
    httpd.log.expect(ANSWERED, f"identifier={NAME} ")


# The check, against what is not httpd


class Impostor:
    """A TLS server that negotiates acme-tls/1 and serves one certificate, whatever it is asked."""

    def __init__(self, credential: Credential, alpn: tuple[str, ...] = ("acme-tls/1",)) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(credential.certificate, credential.key)
        self._context.set_alpn_protocols(list(alpn))

    def serve(self, connection: socket.socket) -> None:
        with connection, self._context.wrap_socket(connection, server_side=True):
            pass


Serve = Callable[[socket.socket], object]


@contextmanager
def listening(*behaviours: Serve, address: tuple[str, int] = ("127.0.0.1", 0)) -> Iterator[str]:
    """A server that gives its first connection to the first behaviour, and so on; the last one takes all others."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with closing(socket.create_server(address, family=family)) as listener:

        def accept() -> None:
            for number in count():
                try:
                    connection = listener.accept()[0]
                except OSError:  # it is shut down
                    return
                threading.Thread(target=guarded, args=(behaviours[min(number, len(behaviours) - 1)], connection)).start()

        def guarded(behave: Serve, connection: socket.socket) -> None:
            with connection:
                try:
                    behave(connection)
                except OSError:  # the client has its verdict, and goes away
                    pass

        thread = threading.Thread(target=accept)
        thread.start()
        host, port = listener.getsockname()[:2]
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def silent(connection: socket.socket) -> None:
    while connection.recv(1 << 20):
        pass


@contextmanager
def swallowing() -> Iterator[str]:
    """As behind a firewall that drops what comes: the queue of connections is full."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as listener, ExitStack() as waiting:
        for _ in range(2):
            connection = waiting.enter_context(closing(socket.socket()))
            connection.setblocking(False)
            connection.connect_ex(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def verdicts(spool: Spool, *addresses: str, wait: str = "0") -> list[dict[str, object]]:
    connect = [option for address in addresses for option in ("--connect", address)]
    done = run("check", NAME, DIGEST.hex(), *connect, "--wait", wait, "--json", spool=spool.path)
    document = json.loads(done.stdout)
    assert document["pass"] == all(item["pass"] for item in document["checks"])
    assert done.returncode == (DONE if document["pass"] else FAILED)
    assert [item["address"] for item in document["checks"]] == list(addresses)
    return list(document["checks"])


def assert_verdict(address: str, spool: Spool, reason: str, advice: str, wait: str = "0") -> dict[str, object]:
    """The one address gets this reason, and advice that says this; both forms of the output agree."""
    verdict = verdicts(spool, address, wait=wait)[0]
    assert verdict["reason"] == reason
    if reason == "ok":
        assert verdict["pass"] is True and verdict["advice"] is None and str(verdict["tls"]).startswith("TLSv1.")
    else:
        assert verdict["pass"] is False and verdict["text"] and advice in str(verdict["advice"])
        done = run("check", NAME, DIGEST.hex(), "--connect", address, "--wait", wait, spool=spool.path)
        first, second = done.stdout.splitlines()
        assert first.startswith(f"FAIL {NAME} at {address}: {reason}: {verdict['text']}")
        assert second.strip() == verdict["advice"]
    return verdict


TWO_NAMES = (SUBJECT_ALT_NAME, san(NAME, "other.test"), False)
NOT_OURS = "it was not mod_acme_alpn that answered"
CASES = {
    "ok": (RIGHT, ""),
    "certificate-ordinary": (replace(RIGHT, extensions=(SAN,)), "something in front of httpd terminates TLS"),
    "certificate-wrong-name": (replace(RIGHT, extensions=(TWO_NAMES, ACME)), NOT_OURS),
    "certificate-not-critical": (replace(RIGHT, extensions=(SAN, (ACME[0], ACME[1], False))), NOT_OURS),
    "certificate-malformed": (replace(RIGHT, extensions=(SAN, (ACME[0], ACME[1][:-1], True))), NOT_OURS),
    "certificate-wrong-digest": (
        replace(RIGHT, extensions=(SAN, (ACME[0], b"\x04\x20" + bytes(32), True))),
        "another ACME client has an entry for the same name",
    ),
    "certificate-not-self-signed": (replace(RIGHT, issuer="somebody else"), NOT_OURS),
}


def credential(tmp_path: Path, der: bytes, recipe: Recipe) -> Credential:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_text(ssl.DER_cert_to_PEM_cert(der))
    key.write_bytes(recipe.private_key_pem())
    return Credential(certificate=certificate, key=key)


@pytest.mark.parametrize("reason", CASES)
def test_each_check_of_the_certificate(reason: str, tmp_path: Path, spool: Spool) -> None:
    recipe, advice = CASES[reason]
    with listening(Impostor(credential(tmp_path, recipe.build(), recipe)).serve) as address:
        assert_verdict(address, spool, reason, advice)


def test_repeated_extension_is_found(spool: Spool) -> None:
    with listening(serve(certificate([NAME], DIGEST, repeated=True))) as address:
        assert_verdict(address, spool, "certificate-repeated-extension", NOT_OURS)


def test_other_protocol_is_found(tmp_path: Path, spool: Spool) -> None:
    impostor = Impostor(credential(tmp_path, RIGHT.build(), RIGHT), alpn=("http/1.1",))
    with listening(impostor.serve) as address:
        assert_verdict(address, spool, "other-protocol", "something in front of httpd terminates TLS")


HANDSHAKE_FAILURE = b"\x15\x03\x03\x00\x02\x02\x28"


@pytest.mark.parametrize(
    "behave, reason, advice",
    [
        (say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "not-tls", "the port of the TLS vhosts"),
        (close, "closed", "httpd's error log says why"),
        (say(HANDSHAKE_FAILURE), "tls-failed", "httpd's error log says why"),
    ],
)
def test_handshake_that_fails_is_found(spool: Spool, behave: Serve, reason: str, advice: str) -> None:
    with listening(behave) as address:
        assert_verdict(address, spool, reason, advice)


def test_silence_ends_with_the_wait(spool: Spool) -> None:
    with listening(silent) as address:
        assert_verdict(address, spool, "timeout", "all of httpd's children are busy", wait="1")


def test_dropped_connection_ends_with_the_wait(spool: Spool) -> None:
    with swallowing() as address:
        verdict = assert_verdict(address, spool, "timeout", "let the connection through the firewall", wait="1")
        assert verdict["detail"]


def test_address_that_leads_nowhere_is_found(spool: Spool) -> None:
    assert_verdict("255.255.255.255:443", spool, "unreachable", "correct the address")


# What stands in front of httpd and terminates TLS


@contextmanager
def running(command: list[str], address: str, log: Path) -> Iterator[None]:
    """A server that runs until the end, in a directory of its own."""
    host, port = address.split(":")
    environment = {"PATH": "/usr/sbin:/usr/bin", "HOME": str(log.parent)}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*LEASH, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        )

    def listens() -> bool:
        assert process.poll() is None, log.read_text()
        with closing(socket.socket()) as probe:
            return probe.connect_ex((host, int(port))) == 0

    try:
        poll.until(listens, poll.DEADLINE, f"{command[0]} listens")
        yield
    finally:
        process.terminate()
        process.wait(poll.DEADLINE)


NGINX = """
daemon off;
pid {home}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    {paths}
    server {{
        listen {address} ssl;
        ssl_certificate {credential.certificate};
        ssl_certificate_key {credential.key};
    }}
}}
"""
CADDY = """{{
    admin off
    auto_https off
    skip_install_trust
}}
https://{name}:{port} {{
    bind 127.0.0.1
    tls {credential.certificate} {credential.key}
}}
"""


def nginx(home: Path, address: str, credential: Credential) -> list[str]:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = " ".join(f"{kind}_temp_path {home}/{kind};" for kind in kinds)
    (home / "nginx.conf").write_text(NGINX.format(home=home, paths=paths, address=address, credential=credential))
    return ["/usr/sbin/nginx", "-c", str(home / "nginx.conf")]


def caddy(home: Path, address: str, credential: Credential) -> list[str]:
    port = address.split(":")[1]
    (home / "Caddyfile").write_text(CADDY.format(name=NAME, port=port, credential=credential))
    return ["/usr/bin/caddy", "run", "--config", str(home / "Caddyfile"), "--adapter", "caddyfile"]


@pytest.mark.parametrize("server, reason", [(nginx, "refused"), (caddy, "tls-failed")])
def test_proxy_in_front_is_told(
    server: Callable[[Path, str, Credential], list[str]],
    reason: str,
    tmp_path: Path,
    spool: Spool,
    authority: Authority,
) -> None:
    skip_where_missing(server.__name__)
    address = f"127.0.0.1:{ports.choose()}"
    with running(server(tmp_path, address, authority.issue(NAME)), address, tmp_path / "log"):
        assert_verdict(address, spool, reason, "no such line at that time: something in front of httpd (nginx, Caddy")


# Hosts, and several addresses


def test_address_may_be_of_ipv6(tmp_path: Path, spool: Spool) -> None:
    impostor = Impostor(credential(tmp_path, RIGHT.build(), RIGHT))
    with listening(impostor.serve, address=("::1", 0)) as address:
        assert address.startswith("[::1]:")
        assert_verdict(address, spool, "ok", "")


@pytest.mark.parametrize("host", ["no such host", "a" * 300], ids=["space", "long"])
def test_host_without_address_is_a_verdict_like_others(tmp_path: Path, spool: Spool, host: str) -> None:
    impostor = Impostor(credential(tmp_path, RIGHT.build(), RIGHT))
    assert_verdict(f"{host}:443", spool, "host-unknown", "correct the host name")
    with listening(impostor.serve) as address:
        unknown, good = verdicts(spool, f"{host}:443", address)
    assert (unknown["reason"], good["reason"]) == ("host-unknown", "ok")


def check_with(
    file: Path, place: str, address: str, wait: str, wrapper: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """The tool, which alone sees this file in place of the system's."""
    return subprocess.run(
        [*wrapper, "unshare", "--mount", "sh", "-c", f'mount --bind "$0" {place} && exec "$@"', file]
        + [TOOL, "check", NAME, DIGEST.hex(), "--connect", address, "--wait", wait],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


# A network of its own, where no other name server has the port, and one that never answers.
HANGING_NAME_SERVER = """
import fcntl, os, socket, struct, sys
name_server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
fcntl.ioctl(name_server, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
name_server.bind(("127.0.0.77", 53))
name_server.set_inheritable(True)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_name_server_that_hangs_does_not_outlast_the_wait(tmp_path: Path) -> None:
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("nameserver 127.0.0.77\noptions timeout:30 attempts:1\n")
    wrapper = ["unshare", "--net", sys.executable, "-c", HANGING_NAME_SERVER]
    done = check_with(resolv_conf, "/etc/resolv.conf", "host.invalid.test:443", wait="1", wrapper=wrapper)
    assert done.returncode == FAILED
    assert ": host-unknown: the host's name has no address (it was not resolved in time)\n" in done.stdout


@pytest.mark.parametrize("hangs", ["127.0.0.1", "127.0.0.2"])
def test_each_address_of_a_host_is_tried(tmp_path: Path, spool: Spool, hangs: str) -> None:
    """Whichever comes first: one of the two cases begins with the one that hangs."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 two.test\n127.0.0.2 two.test\n")
    good = ({"127.0.0.1", "127.0.0.2"} - {hangs}).pop()
    impostor = Impostor(credential(tmp_path, RIGHT.build(), RIGHT))
    port = ports.choose(good)
    with listening(impostor.serve, address=(good, port)), listening(silent, address=(hangs, port)):
        done = check_with(hosts, "/etc/hosts", f"two.test:{port}", wait="5")
    assert done.returncode == DONE and done.stdout.startswith(f"PASS {NAME} at two.test:{port}"), done.stdout


@pytest.mark.parametrize("place", ["first", "last"])
def test_one_that_hangs_leaves_another_its_second_attempt(tmp_path: Path, spool: Spool, place: str) -> None:
    impostor = Impostor(credential(tmp_path, RIGHT.build(), RIGHT))
    with listening(close, impostor.serve) as soon, listening(silent) as hangs:
        addresses = [hangs, soon] if place == "first" else [soon, hangs]
        reasons = {item["address"]: item["reason"] for item in verdicts(spool, *addresses, wait="4")}
    assert reasons == {hangs: "timeout", soon: "ok"}


def test_one_that_hangs_leaves_another_time_for_a_slow_handshake(tmp_path: Path, spool: Spool) -> None:
    impostor = Impostor(credential(tmp_path, RIGHT.build(), RIGHT))

    def slowly(connection: socket.socket) -> None:
        over.wait(0.8)
        impostor.serve(connection)

    over = threading.Event()
    with listening(silent) as hangs, listening(slowly) as slow:
        found = [item["reason"] for item in verdicts(spool, hangs, slow, wait="8")]
    assert found == ["timeout", "ok"]
