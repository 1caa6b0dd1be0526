"""acme-alpn with the store of a fleet in place of a directory."""

from __future__ import annotations

import json
import re
import select
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest
from conftest import StartHttpd, start_vhost
from harness import poll
from harness.challenge import assert_answered, assert_refused
from harness.hooks import TOOL
from harness.pages import block
from harness.pki import Authority
from harness.recipe import DIGEST
from harness.redis import PREFIX, READER, WRITER, FakeStore, Redis, dripping, sending
from harness.server import accepts
from harness.spool import KeyAuthorization
from harness.upstream import Upstream, certificate, serve
from test_tool import DONE, FAILED, SPOOL_PROBLEM, USAGE, run

NAME = "tool.test"
VALUE = f"$64\r\n{DIGEST.hex()}\r\n".encode()


@pytest.fixture(scope="module", params=["plain", "acl-and-tls"])
def store(request: pytest.FixtureRequest, authority: Authority) -> Iterator[tuple[Redis, str]]:
    if request.param == "plain":
        with Redis() as redis:
            yield redis, redis.url
    else:
        with Redis(authority=authority, secret=True) as redis:
            identity = authority.issue("client.test")
            yield redis, (
                f"rediss://{WRITER}@localhost:{redis.tls_port}?passwordfile={redis.password_file(WRITER)}"
                f"&cafile={authority.root}&certfile={identity.certificate}&keyfile={identity.key}"
            )


@pytest.fixture
def redis(store: tuple[Redis, str]) -> Redis:
    store[0].run("FLUSHALL")
    return store[0]


@pytest.fixture
def url(store: tuple[Redis, str]) -> str:
    return store[1]


def tool(url: str, *arguments: str, code: int = DONE) -> str:
    done = run(f"--spool={url}", *arguments)
    assert done.returncode == code, done.stderr
    return done.stdout if code == DONE else done.stderr


def test_add_with_an_expiry_and_remove(redis: Redis, url: str) -> None:
    value = KeyAuthorization.new()
    tool(url, "add", NAME.upper(), value.text)
    assert redis.run("GET", PREFIX + NAME) == value.text
    assert 86000 < int(redis.run("TTL", PREFIX + NAME)) <= 86400
    tool(url + ("&" if "?" in url else "?") + "expiry=1h", "add", NAME, value.text)
    assert 3500 < int(redis.run("TTL", PREFIX + NAME)) <= 3600
    tool(url, "remove", NAME, value.digest_base64url)
    assert redis.run("EXISTS", PREFIX + NAME) == "0"
    tool(url, "remove", NAME, value.text)
    tool(url, "remove", NAME)


def test_remove_leaves_what_is_another_clients(redis: Redis, url: str) -> None:
    for text in (redis.publish(NAME).text, "garbage", "x" * 2000):
        redis.publish(NAME, text)
        assert "another value" in tool(url, "remove", NAME, KeyAuthorization.new().text, code=FAILED)
        assert redis.run("GET", PREFIX + NAME) == text
    tool(url, "remove", NAME)
    assert redis.run("EXISTS", PREFIX + NAME) == "0"


@pytest.mark.parametrize("moment", ["GET", "MULTI", "DEL", "EXEC"])
def test_remove_leaves_what_another_client_writes_meanwhile(moment: str) -> None:
    value, other = KeyAuthorization.new(), KeyAuthorization.new()
    with Redis() as redis:

        def serve(connection: socket.socket, over: threading.Event) -> None:
            """Pass all on, but before that command another client comes."""
            with socket.create_connection(("127.0.0.1", redis.port)) as behind:
                while not over.is_set():
                    for source in select.select([connection, behind], [], [], 0.1)[0]:
                        data = source.recv(65536)
                        if not data:
                            return
                        if source is connection and f"\r\n{moment}\r\n".encode() in data:
                            redis.publish(NAME, other.text)
                        (behind if source is connection else connection).sendall(data)

        with FakeStore(serve) as between:
            redis.publish(NAME, value.text)
            said = tool(f"{between.url}?timeout=10s", "remove", NAME, value.text, code=FAILED)
            assert "another value" in said
            assert redis.run("GET", PREFIX + NAME) == other.text


def test_list(redis: Redis, url: str) -> None:
    assert tool(url, "list") == ""
    for number in range(250):
        redis.run("SET", f"{PREFIX}n{number:03}.test", KeyAuthorization.new().text)
    redis.publish("bad.test", "garbage")
    redis.run("SET", "other:key", "x")
    listed = json.loads(tool(url, "list", "--json"))["entries"]
    assert len(listed) == 251 and [entry["identifier"] for entry in listed] == sorted(
        entry["identifier"] for entry in listed
    )
    assert (listed[0]["valid"], listed[0]["reason"]) == (False, "value-malformed")
    assert 0 < listed[0]["expires"] <= 600
    assert (listed[1]["valid"], listed[1]["expires"]) == (True, None)
    assert re.search("never expires  [A-Za-z0-9_-]{43}  valid", tool(url, "list"))


def test_list_goes_on_after_keys_that_cannot_be_read() -> None:
    with Redis(secret=True) as redis:
        redis.publish("large.test", "x" * 100_000)
        for name in ("closed.test", "open.test"):
            redis.publish(name)
        redis.run("ACL", "SETUSER", WRITER, "resetkeys", f"~{PREFIX}open*", f"~{PREFIX}large*")
        url = f"redis://{WRITER}@127.0.0.1:{redis.port}?passwordfile={redis.password_file(WRITER)}"
        done = run(f"--spool={url}", "list", "--json")
    assert done.returncode == SPOOL_PROBLEM and "closed.test: the store denies" in done.stderr
    entries = {entry["identifier"]: entry["reason"] for entry in json.loads(done.stdout)["entries"]}
    assert entries == {"large.test": "entry-too-large", "open.test": "ok"}


@pytest.mark.parametrize("last", ["0", "1"])
def test_list_has_an_end(last: str) -> None:
    """SCAN names one key twice, and one that goes, and then it comes to its end or never does."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        names = iter(["twice.test", "twice.test", "gone.test"])
        while data := connection.recv(4096):
            name = PREFIX + next(names, "again.test")
            cursor = last if name.endswith("gone.test") else "1"
            if b"SCAN" in data:
                over.wait(0.05)
                connection.sendall(f"*2\r\n$1\r\n{cursor}\r\n*1\r\n${len(name)}\r\n{name}\r\n".encode())
            else:
                connection.sendall(b":9000\r\n" if b"PTTL" in data else b"$-1\r\n" if b"gone" in data else VALUE)

    with FakeStore(serve) as store:
        if last == "0":
            assert tool(store.url, "list").split()[::7] == ["twice.test"]
        else:
            said = tool(store.url, "list", code=SPOOL_PROBLEM)
            assert "the list is incomplete" in said and "did not end in time" in said


@pytest.mark.parametrize(("digits", "keys", "scans", "why"), [(1, 100_000, 10, "too many keys"), (1_000_000, 0, 1, "")])
def test_list_takes_no_more_than_it_can_keep(digits: int, keys: int, scans: int, why: str) -> None:
    key = f"${len(PREFIX) + 1}\r\n{PREFIX}x\r\n"
    reply = f"*2\r\n${digits}\r\n{'1' * digits}\r\n*{keys}\r\n{key * keys}".encode()
    asked = []

    def serve(connection: socket.socket, _: threading.Event) -> None:
        while data := connection.recv(4096):
            asked.append(data)
            connection.sendall(reply)

    with FakeStore(serve) as store:
        said = tool(store.url, "list", code=SPOOL_PROBLEM)
    assert "the list is incomplete" in said and why in said and "did not end in time" not in said
    assert len(asked) == scans


@pytest.mark.parametrize("command", [["add", NAME, DIGEST.hex()], ["remove", NAME], ["list"], ["check", NAME]])
def test_words_of_a_store_are_not_raw_and_its_time_ends(command: list[str]) -> None:
    with FakeStore(sending(b"-ERR \x1b[31mred\x07\r\n")) as store:
        assert "(ERR %1b[31mred%07)" in tool(store.url, *command, code=SPOOL_PROBLEM)
    with FakeStore(dripping) as store:
        assert "in time" in tool(f"{store.url}?timeout=200ms", *command, code=SPOOL_PROBLEM)


def test_environment_and_wrong_urls() -> None:
    for url in ("redis://", "redis://u:secret@host", "redis://host?x=1", "unix://host/path"):
        done = run("list", environment={"ACME_ALPN_SPOOL": url})
        assert done.returncode == USAGE and "the store's URL: " in done.stderr and "secret" not in done.stderr


def test_files_of_the_url_are_part_of_the_spools_state() -> None:
    with Redis(secret=True) as redis:
        open_to_all = redis.password_file(READER)
        open_to_all.chmod(0o644)
        tls = f"rediss://localhost:{redis.tls_port}"
        for url, told in (
            (f"{redis.url}?passwordfile={redis.directory}/missing", "No such file"),
            (f"{redis.url}?passwordfile={open_to_all}", str(open_to_all)),
            (f"{tls}?cafile={redis.directory}/missing.pem", "missing.pem"),
        ):
            assert told in tool(url, "list", code=SPOOL_PROBLEM)


def test_check_takes_the_value_of_the_store(redis: Redis, url: str) -> None:
    pem = certificate([NAME], DIGEST)
    with Upstream(serve(pem)) as responder:
        check = ("check", NAME, "--connect", str(responder), "--wait", "0")
        assert "no entry" in tool(url, *check, code=SPOOL_PROBLEM)
        redis.publish(NAME, DIGEST.hex())
        assert tool(url, *check).startswith(f"PASS {NAME} at {responder} ")
        redis.publish(NAME)
        done = run(f"--spool={url}", *check)
        assert done.returncode == FAILED and ": certificate-wrong-digest: " in done.stdout


def test_failures() -> None:
    with Redis(secret=True) as redis:
        tool(redis.url, "list", code=SPOOL_PROBLEM)
        wrong = f"{redis.url}?passwordfile={redis.password_file(text='wrong-secret')}"
        output = tool(wrong, "add", NAME, KeyAuthorization.new().text, code=SPOOL_PROBLEM)
        assert "WRONGPASS" in output and "wrong-secret" not in output


class AsTheManualSetsItUp(Redis):
    """With the lines of docs/fleet.md; this machine's names, ports and files are in place of theirs."""

    def here(self, begin: str, page: str = "fleet.md") -> str:
        assert self._authority
        credential, text = self._authority.issue("localhost"), block(page, begin)
        for there, here in (
            (r"^bind .*", "bind 127.0.0.1"),
            (r"^tls-port 6379", f"tls-port {self.tls_port}"),
            (r"\bstore\.example\.com(:6379)?", f"localhost:{self.tls_port}"),
            (r"/etc/redis/store\.pem", str(credential.certificate)),
            (r"/etc/redis/store\.key", str(credential.key)),
            (r"/etc/\w+/store-ca\.pem", str(self._authority.root)),
            (r"/etc/\w+/(users\.acl|[a-z-]+-password)\b", rf"{self.directory}/\1"),
        ):
            text = re.sub(there, here, text, flags=re.MULTILINE)
        return text

    def _lines(self) -> list[str]:
        users = [self.here("user default off"), self.here("user replica on", "capacity.md")]
        (self.directory / "users.acl").write_text("".join(users))
        return [self.here("bind "), f"dir {self.directory}", f"logfile {self.directory}/redis.log"]

    def _answers(self) -> bool:
        return accepts(("127.0.0.1", self.tls_port))

    def start(self) -> Redis:
        for file, password in (("acme-alpn-password", "PASSWORD1"), ("store-password", "PASSWORD2")):
            (self.directory / file).write_text(password)
            (self.directory / file).chmod(0o600)
        return super().start()

    @property
    def directive(self) -> str:
        return self.here("AcmeAlpnStore").strip() + " timeout=5s"

    @property
    def writer(self) -> str:
        (url,) = re.findall("'(rediss:.*)'", self.here("certbot certonly"))
        return url


class ReplicaAsTheManualSetsItUp(AsTheManualSetsItUp):
    def __init__(self, primary: AsTheManualSetsItUp, authority: Authority) -> None:
        self._primary = primary
        super().__init__(authority=authority)

    def _lines(self) -> list[str]:
        text = block("capacity.md", "replicaof")
        return [*super()._lines(), text.replace("store.example.com 6379", f"127.0.0.1 {self._primary.tls_port}")]


def test_store_and_both_users_as_the_manual_sets_them_up(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd, value = make_httpd(), KeyAuthorization.new()
    with AsTheManualSetsItUp(authority=authority) as redis:
        httpd.server_lines.append(redis.directive)
        start_vhost(httpd, NAME, authority)
        assert run("add", NAME, value.text, environment={"ACME_ALPN_SPOOL": redis.writer}).returncode == DONE
        assert_answered(httpd, NAME, value, source="store")
        tool(redis.writer, "remove", NAME, value.text)
        assert_refused(httpd, NAME, "no-entry")
        script = redis.here("acme-alpn add").replace("www.example.com", NAME).replace("acme-alpn ", f"{TOOL} ")
        script = re.sub(r"192\.0\.2\.\d:443", str(httpd.listeners["main"]), script)
        environment = {"ACME_ALPN_SPOOL": redis.writer, "PATH": "/usr/bin:/bin"}
        done = subprocess.run(["sh", "-ec", script], env=environment, capture_output=True, text=True, check=True)
        assert re.findall(r"^(\w+) ", done.stdout, re.MULTILINE) == ["PASS"] * 3
        httpd.stop()


def test_replica_as_the_manual_sets_it_up(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd, value = make_httpd(), KeyAuthorization.new()
    with AsTheManualSetsItUp(authority=authority) as primary, ReplicaAsTheManualSetsItUp(primary, authority) as replica:
        httpd.server_lines.append(replica.directive)
        start_vhost(httpd, NAME, authority)
        tool(primary.writer, "add", NAME, value.text)
        try:
            poll.until(lambda: NAME in tool(replica.writer, "list"), 30, "the replica has the entry")
        except TimeoutError:
            pytest.fail("".join((redis.directory / "redis.log").read_text()[-2000:] for redis in (primary, replica)))
        assert_answered(httpd, NAME, value, source="store")
        assert "READONLY" in tool(replica.writer, "add", NAME, value.text, code=SPOOL_PROBLEM)
        httpd.stop()
