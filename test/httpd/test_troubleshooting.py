"""docs/troubleshooting.md, row by row: each is provoked, and found where the page sends its reader.

What reaches httpd as a challenge has its reason in the log, on the status page and in the JSON. What
does not is seen there, too: nobody came.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from conftest import StartHttpd
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from harness import boulder, client, plugin, poll
from harness.acme import CERTBOT, UNCONFIGURED, skip_where_missing
from harness.challenge import ANSWERED, INCOMPLETE, REFUSED, wait_for_rate_limit
from harness.checker import SUBJECT_ALT_NAME, san
from harness.responders import REASONS, Asked, dropping, failing, refusing
from harness.hooks import TOOL, as_user
from harness.mounts import WRAPPER
from harness.pki import Authority, common_name, make_key, unsigned
from harness.recipe import ACME, DIGEST, NAME, RIGHT, SAN, Recipe, extension
from harness.server import REPOSITORY, Httpd, HttpdFailed
from harness.spool import KeyAuthorization, Spool
from harness.status import LOCATION, MODULES, as_json, as_text, assert_told
from harness.strangers import public_directory, public_tool
from harness.upstream import ANONYMOUS, Behaviour, Upstream, anonymous, reset, serve
from harness.wire import get

MANUAL = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
OFF, ONLY_1_3, OTHER = "off.test", "only-1-3.test", "other.test"
LETS_ENCRYPT, CERTBOT_SAYS = "What Let's Encrypt says", "What certbot says"
TOOL_SAYS, LOG_SAYS, BROWSER_SAYS = "What acme-alpn check says", "What httpd's error log says", "What a browser says"

# A suite that servers have only where they are told to.
NO_CIPHER_IN_COMMON = ("-ciphersuites", "TLS_AES_128_CCM_8_SHA256", "-cipher", "DEFAULT@SECLEVEL=0")


def rows() -> list[tuple[str, ...]]:
    """Of all tables: the section, and the cells but for the last, which is the cure."""
    found = []
    for part in re.split(r"^## ", MANUAL, flags=re.MULTILINE)[1:]:
        section = part.splitlines()[0]
        for table in re.findall(r"^\|(?:---\|)+\n((?:\|.*\n)+)", part, re.MULTILINE):
            cells = [line.replace("`", "").split("|")[1:-2] for line in table.splitlines()]
            found += [(section, *map(str.strip, row)) for row in cells]
    return found


class Stage:
    """A server that CAs reach, one that they never reach, and one whose upstreams fail."""

    def __init__(self, httpd: Httpd, quiet: Httpd, relay: Httpd, upstreams: dict[str, str], authority: Authority):
        self.httpd, self.quiet, self.relay = httpd, quiet, relay
        self.upstreams, self.authority = upstreams, authority

    def assert_nobody_came(self) -> None:
        assert as_json(self.quiet)["handshakes"] == []
        assert "No client has offered" in as_text(self.quiet).all
        assert not self.quiet.log.find(pattern="AALPN010")

    def assert_refused(self, reason: str) -> None:
        """In the log, on the page, in the JSON, in the metrics."""
        line = self.httpd.log.expect(REFUSED, rf"\breason={reason}\b", level="warn")[0].text
        assert_told(self.httpd, reason, line)

    def assert_incomplete(self, name: str, alert: int) -> None:
        """Who ended it, and with which alert, before there was anything to look up."""
        self.httpd.log.expect(INCOMPLETE, rf"={name} .*alert={alert} alert-by=server\b", level="warn")
        row = as_json(self.httpd)["handshakes"][0]
        assert (row["outcome"], row["tag"], row["sni"]) == ("incomplete", INCOMPLETE, name)
        assert row["alert"] == {"number": alert, "by": "server"}
        assert as_text(self.httpd).row(name, row["peer"], row["text"])

    def assert_answered(self) -> None:
        """httpd has done its part: the value is another one than the CA's."""
        self.httpd.log.expect(ANSWERED, f"identifier={NAME} .*source=spool")
        row = as_json(self.httpd)["handshakes"][0]
        assert (row["outcome"], row["tag"], row["identifier"]) == ("answered", ANSWERED, NAME)
        assert "answered" in "".join(as_text(self.httpd).row(row["peer"], NAME))
        self.httpd.spool.withdraw(NAME)

    def assert_off(self) -> None:
        vhost = next(vhost for vhost in as_json(self.httpd)["vhosts"] if vhost["name"] == OFF)
        assert [problem["reason"] for problem in vhost["problems"]] == ["engine-off"]
        assert "engine-off" in as_text(self.httpd).row(OFF, "AcmeAlpnEngine")[2]


@pytest.fixture(scope="module")
def stage(make_shared_httpd: StartHttpd, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    def make(*names: str) -> Httpd:
        httpd = make_shared_httpd(modules=MODULES)
        httpd.server_lines += LOCATION
        for name in names:
            httpd.vhost(name, credentials=[authority.issue(name)])
        return httpd

    httpd, quiet = make(NAME, OFF, ONLY_1_3), make(NAME)
    httpd.vhosts[1].lines.append("AcmeAlpnEngine Off")
    httpd.vhosts[2].lines.append("SSLProtocol TLSv1.3")
    quiet.listen("plain")
    quiet.vhost(NAME, tls=False, listener="plain")
    relay = make(*(f"{reason}.test" for reason in REASONS))
    with ExitStack() as running:
        upstreams = {}
        for reason, vhost in zip(REASONS, relay.vhosts):
            asked = Asked(vhost.names[0], DIGEST, authority)
            upstreams[reason] = running.enter_context(failing(reason, asked))
            # No busy machine makes a time-out of another reason.
            timeout = "500ms" if reason == "timeout" else "8s"
            vhost.lines.append(f"AcmeAlpnUpstream {upstreams[reason]} timeout={timeout}")
        relay.environment.update(taking_no_certificate(tmp_path_factory.mktemp("openssl")))
        for server in (httpd, quiet, relay):
            server.start()
        relay.log.expect("AALPN0033", "has no address")
        yield Stage(httpd, quiet, relay, upstreams, authority)


def taking_no_certificate(directory: Path) -> dict[str, str]:
    """The environment in which OpenSSL's clients take a server that has none."""
    config = directory / "openssl.cnf"
    config.write_text(f"openssl_conf=a\n[a]\nssl_conf=b\n[b]\nsystem_default=c\n[c]\nCipherString=ALL:{ANONYMOUS}\n")
    directory.chmod(0o755)
    return {"OPENSSL_CONF": str(config)}


# What Let's Encrypt says. Each scenario returns what its Boulder would.

CA = Callable[[Stage], boulder.Verdict]


def validate(httpd: Httpd, name: str = NAME, digest: bytes = DIGEST, using: ssl.SSLContext | None = None) -> boulder.Verdict:
    wait_for_rate_limit(httpd)
    return boulder.validate(httpd.address(), name, digest, using)


def ca_is_refused(stage: Stage) -> boulder.Verdict:
    said = validate(stage.httpd)
    stage.assert_refused("no-entry")
    return said


def ca_takes_no_key(stage: Stage) -> boulder.Verdict:
    stage.httpd.spool.publish(NAME)
    wait_for_rate_limit(stage.httpd)
    answer = client.s_client(stage.httpd.address(), NAME, "-sigalgs", "ed25519")
    line = stage.httpd.log.expect(REFUSED, "reason=no-key-type ")[0].text
    assert_told(stage.httpd, "no-key-type", line)
    stage.httpd.spool.withdraw(NAME)
    return boulder.judge(answer, NAME, DIGEST)


def ca_has_other_ciphers(stage: Stage) -> boulder.Verdict:
    wait_for_rate_limit(stage.httpd)
    answer = client.s_client(stage.httpd.address(), NAME, "-tls1_3", *NO_CIPHER_IN_COMMON)
    stage.assert_incomplete(NAME, client.HANDSHAKE_FAILURE)
    return boulder.judge(answer, NAME, DIGEST)


def ca_has_other_versions(stage: Stage) -> boulder.Verdict:
    said = validate(stage.httpd, ONLY_1_3, using=client.context(version="1.2"))
    stage.assert_incomplete(ONLY_1_3, client.PROTOCOL_VERSION)
    return said


def ca_gets_another_value(stage: Stage) -> boulder.Verdict:
    stage.httpd.spool.publish(NAME)
    said = validate(stage.httpd)
    stage.assert_answered()
    return said


def ca_gets_another_protocol(stage: Stage) -> boulder.Verdict:
    before = as_json(stage.httpd)["handshakes"]
    said = validate(stage.httpd, OFF)
    stage.assert_off()
    assert as_json(stage.httpd)["handshakes"] == before
    return said


def ca_reaches(address: client.Address, using: ssl.SSLContext | None = None) -> boulder.Verdict:
    return boulder.validate(address, NAME, DIGEST, using)


def ca_reaches_nobody(stage: Stage) -> boulder.Verdict:
    with refusing() as address:
        return ca_reaches(address)


def ca_reaches_a_firewall(stage: Stage) -> boulder.Verdict:
    with dropping() as address:
        return ca_reaches(address)


def ca_reaches_another(make: Callable[[Stage], Behaviour | None], using: ssl.SSLContext | None = None) -> CA:
    """Something that answers in httpd's place."""

    def scenario(stage: Stage) -> boulder.Verdict:
        with Upstream(make(stage)) as other:
            return ca_reaches(other.address, using)

    return scenario


def ca_gets(recipe: Recipe, protocols: tuple[str, ...] = ("acme-tls/1",)) -> CA:
    pem = ssl.DER_cert_to_PEM_cert(recipe.build()).encode() + recipe.private_key_pem()
    return ca_reaches_another(lambda stage: serve(pem, protocols=protocols))


def with_extensions(*extensions: tuple[str, bytes, bool]) -> CA:
    return ca_gets(replace(RIGHT, extensions=extensions))


# As this table has them, whatever the server: the CA does not connect.
CA_DOES_NOT_COME = {
    ("dns", "no valid A records found for"),
    ("dns", "DNS problem:"),
    ("caa", "prevents issuance"),
    ("rateLimited", "too many failed authorizations"),
    ("rateLimited", "too many certificates"),
    ("rejectedIdentifier", ""),
}

# Whether httpd sees a challenge is asserted by these scenarios themselves.
CA_COMES: dict[tuple[str, str], CA] = {
    ("tls", "remote error: tls: no application protocol"): ca_is_refused,
    ("tls", "remote error: tls: internal error"): ca_takes_no_key,
    ("tls", "remote error: tls: handshake failure"): ca_has_other_ciphers,
    ("tls", "remote error: tls: protocol version not supported"): ca_has_other_versions,
    ("connection", "Error getting validation data"): ca_gets_another_protocol,
    ("unauthorized", "Received certificate with acmeValidationV1 extension value"): ca_gets_another_value,
}

CA_IS_ASTRAY: dict[tuple[str, str], CA] = {
    ("connection", "Connection refused"): ca_reaches_nobody,
    ("connection", "Timeout during connect (likely firewall problem)"): ca_reaches_a_firewall,
    ("connection", "Timeout after connect (your server may be slow or overloaded)"): ca_reaches_another(lambda _: None),
    ("connection", "Connection reset by peer"): ca_reaches_another(lambda _: reset),
    ("connection", "Network unreachable"): lambda _: ca_reaches(("127.255.255.255", 443)),
    ("malformed", "Server only speaks HTTP, not TLS"): lambda stage: ca_reaches(stage.quiet.address("plain")),
    ("malformed", "no IPv4 addresses to try as fallback"): lambda _: ca_reaches(("::1", 1)),
    (
        "unauthorized",
        'Cannot negotiate ALPN protocol "acme-tls/1" for tls-alpn-01 challenge',
    ): ca_gets(RIGHT, protocols=()),
    (
        "unauthorized",
        "Incorrect validation certificate for tls-alpn-01 challenge.",
    ): with_extensions(SAN),
    ("unauthorized", "Received certificate which is not self-signed."): ca_gets(replace(RIGHT, issuer="another")),
    (
        "unauthorized",
        "Received certificate with unexpected extensions:",
    ): with_extensions(SAN, ACME, ("1.3.6.1.5.5.7.1.32", ACME[1], False)),
    (
        "unauthorized",
        "Received certificate with unexpected identifiers",
    ): with_extensions((SUBJECT_ALT_NAME, san(OTHER), False), ACME),
    ("unauthorized", "Received certificate with no acmeValidationV1 extension."): with_extensions(SAN),
    (
        "unauthorized",
        "Received certificate with acmeValidationV1 extension that is not Critical.",
    ): with_extensions(SAN, (ACME[0], ACME[1], False)),
    (
        "unauthorized",
        "Received certificate with malformed acmeValidationV1 extension value.",
    ): with_extensions(SAN, (ACME[0], ACME[1][:-1], True)),
    ("unauthorized", "No certs presented for tls-alpn-01 challenge"): ca_reaches_another(
        lambda _: anonymous(), client.context(version="1.2", ciphers=ANONYMOUS)
    ),
}


@pytest.mark.parametrize("row", CA_COMES, ids=" ".join)
def test_what_the_ca_says_when_it_reaches_httpd(row: tuple[str, str], stage: Stage) -> None:
    kind, detail = CA_COMES[row](stage)
    assert kind == row[0] and row[1] in detail


@pytest.mark.parametrize("row", CA_IS_ASTRAY, ids=" ".join)
def test_what_the_ca_says_when_it_is_astray(row: tuple[str, str], stage: Stage) -> None:
    kind, detail = CA_IS_ASTRAY[row](stage)
    assert kind == row[0] and row[1] in detail
    stage.assert_nobody_came()


@pytest.mark.parametrize("row", sorted(CA_DOES_NOT_COME), ids=" ".join)
def test_what_the_ca_says_without_a_connection(row: tuple[str, str], stage: Stage) -> None:
    """Nothing can provoke it here; the page says what there is to say."""
    stage.assert_nobody_came()


# What certbot says. Each scenario returns the plugin's words.

Plugin = Callable[[Stage, Path], str]


def plugin_is_refused(stage: Stage, directory: Path) -> str:
    wait_for_rate_limit(stage.httpd)
    said = plugin.check(*stage.httpd.address(), NAME)
    stage.assert_refused("no-entry")
    return said


def plugin_gets_another_protocol(stage: Stage, directory: Path) -> str:
    said = plugin.check(*stage.httpd.address(), OFF)
    stage.assert_off()
    return said


def plugin_gets_another_value(stage: Stage, directory: Path) -> str:
    stage.httpd.spool.publish(NAME)
    said = plugin.check(*stage.httpd.address(), NAME)
    stage.assert_answered()
    return said


def plugin_reaches(reason: str) -> Plugin:
    """A responder that is not httpd."""

    def scenario(stage: Stage, directory: Path) -> str:
        value = KeyAuthorization.new()
        with failing(reason, Asked(NAME, value.digest, stage.authority)) as address:
            host, _, port = address.rpartition(":")
            said = plugin.check(host, int(port), NAME, value)
        stage.assert_nobody_came()
        return said

    return scenario


def plugin_reaches_a_firewall(stage: Stage, directory: Path) -> str:
    with dropping() as address:
        said = plugin.check(*address, NAME)
    stage.assert_nobody_came()
    return said


def plugin_gets_a_signature(stage: Stage, directory: Path) -> str:
    """Of a key of a kind that no CA verifies."""
    entry, subject = plugin.entry(NAME), common_name("challenge")
    builder = unsigned(subject, subject, ed25519.Ed25519PrivateKey.generate())  # type: ignore[arg-type]
    for oid, value, critical in (SAN, (ACME[0], b"\x04\x20" + entry.digest, True)):
        builder = builder.add_extension(extension(oid, value, critical).value, critical)
    made = builder.sign(make_key("p256"), hashes.SHA256())
    return plugin.problem(plugin.part("certificate").verify, made.public_bytes(Encoding.DER), entry)


def plugin_uses_a_spool(make: Callable[[Path], object]) -> Plugin:
    def scenario(stage: Stage, directory: Path) -> str:
        spool = directory / "spool"
        make(spool)
        return plugin.problem(plugin.spool(spool).check)

    return scenario


def of_mode(mode: int) -> Callable[[Path], object]:
    return lambda path: (path.mkdir(), path.chmod(mode))


def under_a_file(path: Path) -> None:
    path.parent.joinpath("file").write_text("")
    path.symlink_to(path.parent / "file" / "spool")


def plugin_is_a_stranger(group: int) -> Plugin:
    """A user who is not the spool's owner; the group can write it, as root's may."""

    def scenario(stage: Stage, directory: Path) -> str:
        with public_directory() as spool:
            spool.chmod(0o775)
            with strangers(group):
                return plugin.problem(plugin.spool(spool).check)

    return scenario


@contextmanager
def strangers(group: int) -> Iterator[None]:
    """This process has the rights of nobody in this group."""
    plugin.part("spool")  # which nobody may not be allowed to read
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(group)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def plugin_writes(stage: Stage, directory: Path) -> str:
    return plugin.problem(plugin.spool(directory / "nowhere").publish, plugin.entry(NAME))


def plugin_removes(stage: Stage, directory: Path) -> str:
    spool = directory / "file"
    spool.write_text("")
    return plugin.problem(plugin.spool(spool).withdraw, plugin.entry(NAME))


def plugin_uses_a_store(url: str) -> Plugin:
    return lambda stage, directory: plugin.problem(lambda: plugin.part("store").Store(url).check())


def plugin_lacks_redis(stage: Stage, directory: Path) -> str:
    with mock.patch.dict(sys.modules, {"redis": None}):
        return plugin_uses_a_store("redis://127.0.0.1:1")(stage, directory)


def plugin_passes_and_the_ca_fails(stage: Stage, directory: Path) -> str:
    stage.assert_nobody_came()
    return str(plugin.authenticator(f"--acme-alpn-spool={stage.quiet.spool.path}").auth_hint([]))


def certbot_without_the_plugin(stage: Stage, directory: Path) -> str:
    options = [f"--{name}-dir={directory}/{name}" for name in ("config", "work", "logs")]
    command = [*UNCONFIGURED, CERTBOT, "certonly", "-n", "-a", "acme-alpn", "-d", NAME, *options]
    command += ["--server=https://127.0.0.1:1"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=240)
    assert done.returncode == 1
    return done.stdout


def ca_offers_something_else(stage: Stage, directory: Path) -> str:
    """A wildcard, for which there is dns-01 alone."""
    plugin.part("challenge")
    handler = importlib.import_module("certbot._internal.auth_handler")
    messages, challenges = (importlib.import_module(f"acme.{name}") for name in ("messages", "challenges"))
    body = messages.ChallengeBody(chall=challenges.DNS01(token=b"x" * 16), uri="https://ca.test/1", status=None)
    return plugin.problem(handler.gen_challenge_path, [body], [plugin.part("challenge").challenge_class()])


CERTBOT_ROWS: dict[str, Plugin] = {
    "The CA was not asked to validate": plugin_is_refused,
    "httpd refused acme-tls/1 (TLS alert no_application_protocol)": plugin_is_refused,
    "the server did not choose acme-tls/1": plugin_gets_another_protocol,
    "what listens there does not speak TLS": plugin_reaches("not-tls"),
    "nothing listens there (connection refused)": plugin_reaches("nobody-listens"),
    "no connection in time, as if a firewall dropped it": plugin_reaches_a_firewall,
    "no connection (": plugin_reaches("unreachable"),
    "the host name cannot be resolved": plugin_reaches("host-unknown"),
    "the connection was closed in the middle of the TLS handshake": plugin_reaches("closed"),
    "the connection was accepted, but the TLS handshake did not end in time": plugin_reaches("timeout"),
    "the TLS handshake failed (": plugin_reaches("tls-failed"),
    "an ordinary certificate was served over acme-tls/1": plugin_reaches("certificate-ordinary"),
    "the certificate served is for another key authorization": plugin_gets_another_value,
    "the certificate served cannot be read as a CA would read it": plugin_reaches("certificate-repeated-extension"),
    "is not critical: it was not mod_acme_alpn that answered": plugin_reaches("certificate-not-critical"),
    "the subjectAltName of the certificate served is": plugin_reaches("certificate-wrong-name"),
    "the certificate served is not signed with its own key": plugin_reaches("certificate-not-self-signed"),
    "the signature of the certificate served cannot be verified": plugin_gets_a_signature,
    "cannot get a certificate for": lambda stage, _: plugin.problem(
        plugin.authenticator(domains=("*.example.test",)).prepare
    ),
    "is neither a DNS name in A-labels": lambda stage, _: plugin.problem(plugin.entry, "a_b.test"),
    "put the challenges into": plugin_passes_and_the_ca_fails,
    "turns the check off, so it cannot be given with another address": lambda stage, _: plugin.problem(
        plugin.authenticator("--acme-alpn-check=none", "--acme-alpn-check=127.0.0.1:443").prepare
    ),
    "is not allowed:": lambda stage, _: plugin.problem(plugin.part("addresses").parse, "nonsense"),
    "does not exist: install mod_acme_alpn": plugin_uses_a_spool(lambda path: None),
    "cannot be looked at:": plugin_uses_a_spool(under_a_file),
    "is not a directory": plugin_uses_a_spool(lambda path: path.write_text("")),
    "who can write to it can get certificates for every name": plugin_uses_a_spool(of_mode(0o777)),
    "is not writable by the user that certbot runs as": plugin_is_a_stranger(group=65534),
    "httpd ignores files that belong neither to root nor to the owner of the directory": plugin_is_a_stranger(group=0),
    "cannot write": plugin_writes,
    "cannot remove": plugin_removes,
    "takes the path of a directory": lambda stage, _: plugin.problem(plugin.part("authenticator")._directory, ""),
    "--acme-alpn-spool: ": plugin_uses_a_store("redis://"),
    "passwordfile": plugin_uses_a_store("redis://127.0.0.1:1?passwordfile=/nonexistent"),
    "the store ": plugin_uses_a_store("redis://127.0.0.1:1"),
    "redis for Python is not installed": plugin_lacks_redis,
    "the server sent no certificate": lambda stage, _: plugin.problem(
        plugin.part("handshake")._challenge_certificate, Certificateless()
    ),
    "The requested acme-alpn plugin does not appear to be installed": certbot_without_the_plugin,
    "does not support any combination of challenges that will satisfy the CA": ca_offers_something_else,
}


class Certificateless:
    """A connection without a certificate, which this client offers no cipher for."""

    def selected_alpn_protocol(self) -> str:
        return "acme-tls/1"

    def getpeercert(self, binary_form: bool) -> None:
        return None


@pytest.mark.parametrize("row", CERTBOT_ROWS)
def test_what_certbot_says(row: str, stage: Stage, tmp_path: Path) -> None:
    skip_where_missing(CERTBOT)
    assert row in CERTBOT_ROWS[row](stage, tmp_path)


# What acme-alpn check says: the tool itself, and httpd where the same responder is its upstream


def tool(
    *arguments: str, environment: dict[str, str] | None = None, command: Sequence[str | Path] = (TOOL,)
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=poll.DEADLINE,
        env={"PATH": os.environ["PATH"], **(environment or {})},
    )


@pytest.mark.parametrize("reason", REASONS)
def test_what_the_tool_says(reason: str, stage: Stage, tmp_path: Path) -> None:
    check = ["check", f"{reason}.test", DIGEST.hex(), "--connect", stage.upstreams[reason], "--json", "--wait", "1" if reason == "timeout" else "0"]
    done = tool(*check, environment=taking_no_certificate(tmp_path))
    assert [item["reason"] for item in json.loads(done.stdout)["checks"]] == [reason]


@pytest.mark.parametrize("reason", REASONS)
def test_what_httpd_says_of_an_upstream(reason: str, stage: Stage) -> None:
    name = f"{reason}.test"
    wait_for_rate_limit(stage.relay)
    answer = client.handshake(stage.relay.address(), name)
    if reason == "certificate-wrong-digest":  # which only somebody who has the right one can tell
        stage.relay.log.expect(ANSWERED, f"identifier={name} .*source=upstream")
        row = as_json(stage.relay)["handshakes"][0]
        assert (row["outcome"], row["source"], row["identifier"]) == ("answered", "upstream", name)
        return
    assert answer.alert == client.NO_APPLICATION_PROTOCOL
    line = stage.relay.log.expect(REFUSED, rf"identifier={name} .*source=upstream reason={reason} ")[0].text
    assert_told(stage.relay, reason, line)


def said_of_an_identifier(*arguments: str) -> Callable[[Spool], str]:
    return lambda spool: tool(f"--spool={spool.path}", *arguments).stderr


def said_by_a_stranger(spool: Spool) -> str:
    command = [*as_user(65534), public_tool(spool.path.parent), f"--spool={spool.path}"]
    return tool("add", NAME, DIGEST.hex(), command=command).stderr


def said_of_anothers_entry(spool: Spool) -> str:
    spool.publish(NAME)
    return tool(f"--spool={spool.path}", "remove", NAME, DIGEST.hex()).stderr


def said_of_a_good_entry(spool: Spool) -> str:
    spool.publish(NAME)
    return tool(f"--spool={spool.path}", "list", "--json").stdout


# The reason as JSON or its text, which is acme_error.c's.
BEFORE: dict[str, tuple[Callable[[Spool], str], str]] = {
    "name-not-ascii": (said_of_an_identifier("add", "b\u00fccher.test", DIGEST.hex()), "beyond ASCII"),
    "name-wildcard": (said_of_an_identifier("add", "*.example.test", DIGEST.hex()), "use dns-01"),
    "spool-not-ours": (said_by_a_stranger, "neither root nor the owner of the spool"),
    "entry-other-value": (said_of_anothers_entry, "another value"),
    "ok": (said_of_a_good_entry, '"reason": "ok"'),
}
# Of another build: build/check-without-hiredis has it.
OF_ANOTHER_BUILD = {"store-unsupported"}


@pytest.mark.parametrize("reason", BEFORE)
def test_what_the_tool_says_before_it_asks(reason: str) -> None:
    scenario, said = BEFORE[reason]
    with public_directory() as directory:
        assert said in scenario(Spool(directory / "spool").create())


# What httpd's error log says


def placeholder(make_httpd: StartHttpd, authority: Authority, *lines: str) -> Httpd:
    """And a neighbour with a certificate, which serves the page."""
    httpd = make_httpd(modules=MODULES)
    httpd.server_lines += LOCATION
    httpd.vhost(OTHER, credentials=[authority.issue(OTHER)])
    httpd.vhost(NAME, lines=["AcmeAlpnPlaceholder On", *lines])
    return httpd


def start_fails(httpd: Httpd) -> None:
    with pytest.raises(HttpdFailed):
        httpd.start()


def no_certificate_at_all(make_httpd: StartHttpd, authority: Authority) -> Httpd:
    httpd = make_httpd()
    httpd.vhost(NAME)
    start_fails(httpd)
    return httpd


def vhost_with_the_placeholder(make_httpd: StartHttpd, authority: Authority) -> Httpd:
    httpd = placeholder(make_httpd, authority).start()
    vhost = next(vhost for vhost in as_json(httpd)["vhosts"] if vhost["name"] == NAME)
    assert [problem["reason"] for problem in vhost["problems"]] == ["placeholder"]
    assert "placeholder" in as_text(httpd).row(NAME, "AcmeAlpnPlaceholder On")[2]
    return httpd


def placeholder_with_stapling(make_httpd: StartHttpd, authority: Authority) -> Httpd:
    httpd = placeholder(make_httpd, authority, "SSLUseStapling on")
    httpd.server_lines.append("SSLStaplingCache shmcb:run/stapling(32768)")
    httpd.start()
    httpd.log.expect(pattern="AH02604")
    return httpd


LOG_ROWS: dict[str, Callable[[StartHttpd, Authority], Httpd]] = {
    "AH02572: Failed to configure at least one certificate and key": no_certificate_at_all,
    "AH10085: Init: ... will respond with '503 Service Unavailable' for now": vhost_with_the_placeholder,
    "AH01909: ... server certificate does NOT include an ID which matches the server name": vhost_with_the_placeholder,
    "AH02217: ssl_stapling_init_cert: can't retrieve issuer certificate!, and AH02604": placeholder_with_stapling,
}


@pytest.mark.parametrize("row", LOG_ROWS)
def test_what_the_error_log_says(row: str, make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = LOG_ROWS[row](make_httpd, authority)
    pattern = ".*".join(map(re.escape, row.partition(", and ")[0].split("...")))
    httpd.log.expect(pattern=pattern)
    httpd.log.allow(pattern="^AH[0-9]+|^SSL Library Error")


def runtime_missing(httpd: Httpd, patch: pytest.MonkeyPatch) -> None:
    """Without the directive it is the system's, which this server does not see."""
    render, line = httpd.render, f"DefaultRuntimeDir {httpd.root}/run\n"
    patch.setattr(httpd, "render", lambda: render().replace(line, ""))
    mounting("mount -t tmpfs -o mode=755 tmpfs /var/run", patch)


def runtime_unwritable(httpd: Httpd, patch: pytest.MonkeyPatch) -> None:
    mounting(f"mount -t tmpfs -o ro,mode=755 tmpfs {own_runtime(httpd, 0o755)}", patch)


def runtime_unsafe(httpd: Httpd, patch: pytest.MonkeyPatch) -> None:
    own_runtime(httpd, 0o777)
    code, output = httpd.configtest()
    assert code == 0 and re.search("AALPN0021: .*reason=runtime-unsafe: ", output), output


def own_runtime(httpd: Httpd, mode: int) -> Path:
    directory = httpd.root / "runtime"
    directory.mkdir()
    directory.chmod(mode)
    httpd.server_lines += [f"DefaultRuntimeDir {directory}", f"PidFile {httpd.root}/run/httpd.pid"]
    return directory


def mounting(command: str, patch: pytest.MonkeyPatch) -> None:
    """The server gets mounts of its own, and does this to them first."""
    wrapper = f"unshare --mount sh -c '{command} && exec \"$@\"' sh {os.environ.get(WRAPPER, '')}"
    patch.setenv(WRAPPER, wrapper)


RUNTIME_ROWS = {
    "runtime-missing": runtime_missing,
    "runtime-unwritable": runtime_unwritable,
    "runtime-unsafe": runtime_unsafe,
}


@pytest.mark.parametrize("reason", RUNTIME_ROWS)
def test_what_is_wrong_with_the_runtime_directory(
    reason: str, make_httpd: StartHttpd, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    httpd = placeholder(make_httpd, authority)
    RUNTIME_ROWS[reason](httpd, monkeypatch)
    start_fails(httpd)
    httpd.log.expect("AALPN0020", f"reason={reason}: ", level="emerg")
    httpd.log.allow(pattern="^AH[0-9]+|^SSL Library Error")


# What a browser says


def browser_gets_the_placeholder(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = vhost_with_the_placeholder(make_httpd, authority)
    answer = client.handshake(httpd.address(), NAME, alpn=(), send=get(NAME))
    assert answer.data.startswith(b"HTTP/1.1 503 ") and b"This site has no certificate yet" in answer.data


def browser_gets_the_old_certificate(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make_httpd()
    old, new = authority.issue(NAME), authority.issue(NAME, OTHER)
    files = [httpd.root / name for name in ("certificate.pem", "key.pem")]

    def renew(credential: object) -> None:
        for file, source in zip(files, (credential.certificate, credential.key)):  # type: ignore[attr-defined]
            file.write_bytes(source.read_bytes())

    renew(old)
    httpd.vhost(NAME, lines=[f"SSLCertificateFile {files[0]}", f"SSLCertificateKeyFile {files[1]}"])
    httpd.start()
    renew(new)
    assert client.handshake(httpd.address(), NAME, alpn=()).leaf == old.der
    httpd.reload()
    assert client.handshake(httpd.address(), NAME, alpn=()).leaf == new.der


BROWSER_ROWS = {
    "This site has no certificate yet, 503, after a warning about the certificate": browser_gets_the_placeholder,
    "The old certificate after a renewal": browser_gets_the_old_certificate,
}


@pytest.mark.parametrize("row", BROWSER_ROWS)
def test_what_a_browser_says(row: str, make_httpd: StartHttpd, authority: Authority) -> None:
    BROWSER_ROWS[row](make_httpd, authority)


# All of it


def test_each_row_has_its_scenario_and_each_scenario_its_row() -> None:
    scenarios = [(LETS_ENCRYPT, *row) for row in (*CA_COMES, *CA_IS_ASTRAY, *CA_DOES_NOT_COME)]
    scenarios += [(CERTBOT_SAYS, row) for row in CERTBOT_ROWS]
    scenarios += [(TOOL_SAYS, row) for row in (*REASONS, *BEFORE, *OF_ANOTHER_BUILD)]
    scenarios += [(LOG_SAYS, row) for row in (*LOG_ROWS, *RUNTIME_ROWS)]
    scenarios += [(BROWSER_SAYS, row) for row in BROWSER_ROWS]
    assert sorted(rows()) == sorted(tuple(map(str.strip, row)) for row in scenarios)
