"""acme-alpn: the spool as the module wants it, and the verdict of a CA on every way to fail."""

from __future__ import annotations

import json
import os
import socket
import ssl
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import StartHttpd
from harness.challenge import ANSWERED, REFUSED
from harness.pki import Authority, Credential
from harness.checker import SUBJECT_ALT_NAME, san
from harness.recipe import ACME, DIGEST, NAME, RIGHT, SAN, Recipe
from harness.server import REPOSITORY, Httpd
from harness.spool import KeyAuthorization, Spool

TOOL = Path(os.environ.get("ACME_ALPN_TOOL", REPOSITORY / "acme-alpn"))
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
        timeout=60,
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
    assert len(lines) == 4 and lines[2].split()[0] == "good.test" and lines[2].endswith("valid")


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


@pytest.mark.parametrize("command", [["add", NAME, "0" * 64], ["remove", NAME], ["list"], ["check", NAME]])
def test_problems_of_the_spool_have_their_exit_code(tmp_path: Path, command: list[str]) -> None:
    missing = tmp_path / "missing"
    done = run(*command, spool=missing)
    assert done.returncode == SPOOL_PROBLEM and "does not exist" in done.stderr
    unsafe = Spool(tmp_path / "unsafe").create()
    unsafe.path.chmod(0o777)
    done = run(*command, spool=unsafe.path)
    assert done.returncode == SPOOL_PROBLEM and "chmod" in done.stderr or "mode 0755" in done.stderr
    assert unsafe.entries() == []


def test_who_may_not_write_the_spool_is_told(spool: Spool) -> None:
    for parent in (spool.path, *spool.path.parents):
        if parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    done = subprocess.run(
        ["/usr/sbin/chroot", "--userspec=nobody", "/", TOOL, f"--spool={spool.path}", "add", NAME, "0" * 64],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == SPOOL_PROBLEM and "neither root nor the owner" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["publish", NAME],
        ["add", NAME],
        ["add", NAME, "0" * 64, "more"],
        ["list", "--wait", "1"],
        ["add", NAME, "0" * 64, "--json"],
        ["check", NAME, "0" * 64, "--wait", "soon"],
        ["check", NAME, "0" * 64, "--connect", "127.0.0.1"],
        ["check", NAME, "0" * 64, "--connect", "127.0.0.1:99999"],
        ["--unknown"],
    ],
)
def test_wrong_usage_is_told(spool: Spool, arguments: list[str]) -> None:
    done = run(*arguments, spool=spool.path)
    assert done.returncode == USAGE and done.stderr and not done.stdout


def test_help_and_version() -> None:
    assert run("--help").stdout.startswith("usage: acme-alpn")
    assert run("--version").stdout.startswith("acme-alpn ")


# The check, against httpd


@pytest.fixture
def httpd(make_httpd: StartHttpd, authority: Authority) -> Httpd:
    httpd = make_httpd()
    httpd.vhost(NAME, credentials=[authority.issue(NAME)])
    return httpd.start()


def check(httpd: Httpd, *arguments: str) -> subprocess.CompletedProcess[str]:
    address = str(httpd.listeners["main"])
    return run("check", *arguments, "--connect", address, spool=httpd.spool.path)


@pytest.mark.parametrize("identifier", [NAME, "192.0.2.7", "2001:db8::7"])
def test_right_answer_passes(httpd: Httpd, identifier: str) -> None:
    value = httpd.spool.publish(identifier)
    for arguments in ([identifier], [identifier, value.text], [identifier, value.digest_base64url]):
        done = check(httpd, *arguments)
        assert done.returncode == DONE and done.stdout.startswith(f"PASS {identifier} at "), done.stdout
    httpd.log.expect(ANSWERED, f"identifier={identifier} ", count=3)


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


@contextmanager
def listening(serve: object) -> Iterator[str]:
    """A server for one connection; `serve` gets it."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        listener.settimeout(20)

        def accept() -> None:
            try:
                serve(listener.accept()[0])  # type: ignore[operator]
            except OSError:  # the client has its verdict, and goes away
                pass

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def verdict(address: str, spool: Spool, wait: str = "0") -> str:
    done = run("check", NAME, DIGEST.hex(), "--connect", address, "--wait", wait, "--json", spool=spool.path)
    document = json.loads(done.stdout)
    assert done.returncode == (DONE if document["pass"] else FAILED)
    return str(document["checks"][0]["reason"])


TWO_NAMES = (SUBJECT_ALT_NAME, san(NAME, "other.test"), False)
CASES = {
    "ok": RIGHT,
    "certificate-ordinary": replace(RIGHT, extensions=(SAN,)),
    "certificate-wrong-name": replace(RIGHT, extensions=(TWO_NAMES, ACME)),
    "certificate-not-critical": replace(RIGHT, extensions=(SAN, (ACME[0], ACME[1], False))),
    "certificate-malformed": replace(RIGHT, extensions=(SAN, (ACME[0], ACME[1][:-1], True))),
    "certificate-wrong-digest": replace(RIGHT, extensions=(SAN, (ACME[0], b"\x04\x20" + bytes(32), True))),
    "certificate-not-self-signed": replace(RIGHT, issuer="somebody else"),
}


def credential(tmp_path: Path, der: bytes, recipe: Recipe) -> Credential:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_text(ssl.DER_cert_to_PEM_cert(der))
    key.write_bytes(recipe.private_key_pem())
    return Credential(certificate=certificate, key=key)


@pytest.mark.parametrize("reason", CASES)
def test_each_check_of_the_certificate(reason: str, tmp_path: Path, spool: Spool) -> None:
    recipe = CASES[reason]
    with listening(Impostor(credential(tmp_path, recipe.build(), recipe)).serve) as address:
        assert verdict(address, spool) == reason


def test_other_protocol_is_found(tmp_path: Path, spool: Spool) -> None:
    impostor = Impostor(credential(tmp_path, RIGHT.build(), RIGHT), alpn=("http/1.1",))
    with listening(impostor.serve) as address:
        assert verdict(address, spool) == "other-protocol"


def test_what_speaks_no_tls_is_found(spool: Spool) -> None:
    def serve(connection: socket.socket) -> None:
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with listening(serve) as address:
        assert verdict(address, spool) == "not-tls"


def test_connection_that_is_closed_is_found(spool: Spool) -> None:
    def serve(connection: socket.socket) -> None:
        with connection:
            connection.recv(4096)

    with listening(serve) as address:
        assert verdict(address, spool) == "closed"


def test_silence_ends_with_the_wait(spool: Spool) -> None:
    with listening(lambda connection: connection.recv(1 << 20) and connection.recv(1)) as address:
        assert verdict(address, spool, wait="1") == "timeout"
