"""AcmeAlpnPlaceholder: httpd starts without a certificate, answers challenges, and serves nothing until it has one."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest
from conftest import StartHttpd
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from harness import client
from harness.acme import Certbot, Pebble
from harness.challenge import assert_refused, publish_and_check
from harness.issuance import assert_validated, issued, options
from harness.md import ORDERS, load_mod_md
from harness.pages import block
from harness.pki import Authority
from harness.server import PAGE, REPOSITORY, Httpd, HttpdFailed
from harness.status import LOCATION, MODULES, as_json
from harness.wire import get

SITE, OTHER = "site.test", "other.test"
ON = ["AcmeAlpnPlaceholder On"]
FILE = "acme-alpn-placeholder.pem"
NAME = "Placeholder until there is a certificate"
CANNOT_START, WILL_NOT_START, MADE = "AALPN0020", "AALPN0021", "AALPN0022"
TEXT = "This site has no certificate yet"
CANNED = "temporarily unable to service"
WRAPPER = "ACME_ALPN_HTTPD_WRAPPER"
EXAMPLE = REPOSITORY / "conf" / "acme-alpn-site.conf"
LETSENCRYPT = "/etc/letsencrypt/live/www.example.com"


def make(make_httpd: StartHttpd, **arguments: object) -> Httpd:
    httpd = make_httpd(**arguments)
    httpd.vhost(SITE, lines=ON)
    return httpd


def placeholder(httpd: Httpd) -> Path:
    return httpd.root / "run" / FILE


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def common_name(der: bytes) -> str:
    subject = x509.load_der_x509_certificate(der).subject
    return str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def ask(httpd: Httpd, name: str | None, host: str | None = None, version: str = "1.3") -> client.Answer:
    return client.handshake(httpd.address(), name, alpn=(), version=version, send=get(host or name or SITE))


def assert_serves_nothing(answer: client.Answer) -> None:
    head, _, body = answer.data.decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 503 ")
    assert re.search(r"^Retry-After: \d+\r?$", head, re.MULTILINE)
    assert TEXT in body and PAGE not in body
    assert common_name(answer.leaf) == NAME


def test_starts_answers_challenges_and_serves_nothing(make_httpd: StartHttpd) -> None:
    httpd = make(make_httpd)
    assert httpd.configtest() == (0, "Syntax OK\n")
    assert not placeholder(httpd).exists()
    httpd.start()
    for version in ("1.2", "1.3"):
        answer = ask(httpd, SITE, version=version)
        assert_serves_nothing(answer)
        assert answer.chain == (load(placeholder(httpd)).public_bytes(serialization.Encoding.DER),)
    publish_and_check(httpd, SITE)
    publish_and_check(httpd, "no-vhost.test")
    assert_refused(httpd, SITE, "no-entry")


def test_vhost_whose_certificate_file_is_missing(make_httpd: StartHttpd) -> None:
    """The commonest failure of a first start, and its cure, are in docs/troubleshooting.md."""
    page = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
    cure = block("troubleshooting.md", "AcmeAlpnPlaceholder On").splitlines()
    httpd = make_httpd()
    vhost = httpd.vhost(SITE, lines=[line for line in cure if "IfFile" not in line])
    code, output = httpd.configtest()
    words = re.search(r"(AH00526: Syntax error) .*\n(SSLCertificateFile: file ').*('.*)", output)
    assert code == 1 and words and re.search(".*".join(map(re.escape, words.groups())), page), output
    vhost.lines = cure
    httpd.start()
    assert_serves_nothing(ask(httpd, SITE))


@pytest.mark.parametrize("sni", [None, "unknown.test"])
def test_who_names_no_vhost_is_served_nothing_either(sni: str | None, make_httpd: StartHttpd) -> None:
    """mod_ssl alone says 503 only where the server name has chosen the vhost."""
    httpd = make(make_httpd).start()
    assert_serves_nothing(ask(httpd, sni, SITE))


def test_own_error_document_is_used(make_httpd: StartHttpd) -> None:
    httpd = make(make_httpd)
    httpd.vhosts[0].lines += ['ErrorDocument 503 "come back soon"']
    httpd.start()
    answer = ask(httpd, SITE)
    assert answer.data.startswith(b"HTTP/1.1 503 ") and answer.data.endswith(b"\r\n\r\ncome back soon")


def test_one_line_for_all_vhosts_concerns_those_without_a_certificate(
    make_httpd: StartHttpd, authority: Authority
) -> None:
    """httpd has one configuration of the module for all vhosts that have no line of its own."""
    httpd = make_httpd(modules=MODULES)
    httpd.server_lines += [*ON, *LOCATION]
    names = ("first.test", SITE, OTHER)
    for name in names:
        httpd.vhost(name, credentials=[authority.issue(name)] if name != SITE else [])
    httpd.start()
    for _ in range(2):
        assert_serves_nothing(ask(httpd, SITE))
        for name in ("first.test", OTHER):
            assert client.https_get(httpd.address(), name, authority.root).body.decode() == PAGE
        vhosts = as_json(httpd)["vhosts"]
        problems = {vhost["name"]: [problem["reason"] for problem in vhost["problems"]] for vhost in vhosts}
        assert problems == {SITE: ["placeholder"], "first.test": [], OTHER: []}
        httpd.reload()
    for name in names:
        publish_and_check(httpd, name)


COMMANDS = ["SSLOpenSSLConfCmd Certificate {0.certificate}", "SSLOpenSSLConfCmd PrivateKey {0.key}"]
# Lines of the main server and of the vhost.
BY_COMMAND = {
    "vhost": ([], COMMANDS),
    "any-case": ([], ["sslopensslconfcmd certificate {0.certificate}", 'SSLOpenSSLConfCmd "PRIVATEKEY" {0.key}']),
    "ifmodule": ([], ["<IfModule mod_ssl.c>", *COMMANDS, "</IfModule>"]),
    "macro": (["<Macro Own>", *COMMANDS, "</Macro>"], ["Use Own"]),
    "main-server": (COMMANDS, []),
}


@pytest.mark.parametrize("way", BY_COMMAND)
def test_certificate_by_openssls_command_is_one(way: str, make_httpd: StartHttpd, authority: Authority) -> None:
    own = authority.issue(SITE)
    main, lines = ([line.format(own) for line in part] for part in BY_COMMAND[way])
    httpd = make_httpd(modules=["macro"])
    httpd.server_lines += main
    httpd.vhost(SITE, lines=[*ON, *lines])
    httpd.vhost(OTHER, lines=[*ON, "SSLOpenSSLConfCmd Options -SessionTicket", f"SSLCertificateKeyFile {own.key}"])
    httpd.start()
    for _ in range(2):
        assert client.https_get(httpd.address(), SITE, authority.root).body.decode() == PAGE
        if way != "main-server":  # whose commands count in each vhost
            assert_serves_nothing(ask(httpd, OTHER))
        for name in (SITE, OTHER):
            publish_and_check(httpd, name)
        httpd.reload()


@pytest.mark.parametrize("line", ["SSLCipherSuite DEFAULT@SECLEVEL=4", "SSLCipherSuite aRSA", "SSLProtocol TLSv1.3"])
def test_starts_and_answers_whatever_the_vhost_is_restricted_to(line: str, make_httpd: StartHttpd) -> None:
    httpd = make(make_httpd)
    httpd.vhosts[0].lines.append(line)
    httpd.start()
    publish_and_check(httpd, SITE)


@pytest.mark.parametrize("lines", [[], ["AcmeAlpnPlaceholder Off"], [*ON, "AcmeAlpnEngine Off"]])
def test_off_means_as_ever(lines: list[str], make_httpd: StartHttpd) -> None:
    httpd = make_httpd()
    httpd.vhost(SITE, lines=lines)
    with pytest.raises(HttpdFailed):
        httpd.start()
    httpd.log.expect(pattern="AH02572")
    httpd.log.allow(pattern="AH0[0-9]+|error:0A0000B1")
    httpd.log.allow(pattern="^SSL Library Error")
    assert not placeholder(httpd).exists()


def test_file_is_private_and_written_once_or_where_it_is_missing(make_httpd: StartHttpd) -> None:
    httpd = make(make_httpd).start()
    file = placeholder(httpd)
    assert httpd.log.expect(MADE, level="info")[0].text.endswith(f" {file}")
    first = file.stat()
    assert (stat.S_IMODE(first.st_mode), first.st_uid, first.st_gid) == (0o600, 0, 0)
    before = load(file).serial_number
    httpd.reload()
    assert load(file).serial_number == before
    file.unlink()
    httpd.reload()
    assert load(file).serial_number != before
    answer = ask(httpd, SITE)
    assert_serves_nothing(answer)
    assert answer.leaf == load(file).public_bytes(serialization.Encoding.DER)
    assert [path.name for path in file.parent.iterdir() if path.name != "httpd.pid"] == [FILE]


def runtime(httpd: Httpd, kind: str, patch: pytest.MonkeyPatch) -> Path:
    """A runtime directory in which no placeholder can be kept."""
    directory = httpd.root / "runtime"
    directory.mkdir()
    directory.chmod(0o777 if kind == "unsafe" else 0o755)
    if kind == "another's":
        os.chown(directory, 61234, 61234)
    if kind == "unwritable":
        mount = f"mount -t tmpfs -o ro,mode=755 tmpfs {directory}"
        patch.setenv(WRAPPER, f"unshare --mount sh -c '{mount} && exec \"$@\"' sh {os.environ.get(WRAPPER, '')}")
    httpd.server_lines += [f"DefaultRuntimeDir {directory}", f"PidFile {httpd.root}/run/httpd.pid"]
    return directory


RUNTIME = {"unwritable": "runtime-unwritable", "unsafe": "runtime-unsafe", "another's": "runtime-unsafe"}


@pytest.mark.parametrize("kind", RUNTIME)
def test_unusable_runtime_directory_is_one_clear_error(
    kind: str, make_httpd: StartHttpd, monkeypatch: pytest.MonkeyPatch
) -> None:
    httpd = make(make_httpd)
    directory = runtime(httpd, kind, monkeypatch)
    if kind != "unwritable":  # in the server's own mounts alone
        code, output = httpd.configtest()
        reported = [line for line in output.splitlines() if "AALPN" in line]
        assert code == 0 and len(reported) == 1, output
        assert WILL_NOT_START in reported[0] and str(directory) in reported[0] and "DefaultRuntimeDir" in reported[0]
    with pytest.raises(HttpdFailed):
        httpd.start()
    (record,) = [record for record in httpd.log.refresh() if record.tag == CANNOT_START]
    assert f"reason={RUNTIME[kind]}: " in record.text and str(directory) in record.text and SITE in record.text
    httpd.log.allow(CANNOT_START)
    httpd.log.allow(pattern="AH0[0-9]+|^SSL Library Error")


@pytest.mark.parametrize("order", ORDERS)
def test_beside_mod_md(order: str, make_httpd: StartHttpd) -> None:
    """mod_md's own fallback for its domains goes on working, also where the placeholder is on."""
    httpd = make(make_httpd)
    load_mod_md(httpd, order, ("managed.test",))
    httpd.vhost("managed.test", lines=ON)
    httpd.start()
    assert_serves_nothing(ask(httpd, SITE))
    answer = ask(httpd, "managed.test")
    assert common_name(answer.leaf) == "Apache Managed Domain Fallback"
    assert answer.data.startswith(b"HTTP/1.1 503 ") and CANNED in answer.data.decode()
    for name in (SITE, "managed.test"):
        publish_and_check(httpd, name)


def shipped_example(certbot: Certbot, name: str) -> list[str]:
    """The lines of the shipped example's vhost, with this name and where this certbot keeps its certificate."""
    text = EXAMPLE.read_text().replace(LETSENCRYPT, str(certbot.live(name))).replace("www.example.com", name)
    body = re.search(r"^<VirtualHost \*:443>\n(.*)^</VirtualHost>", text, re.DOTALL | re.MULTILINE)
    assert body
    ours = ("ServerName", "DocumentRoot", "SSLEngine")
    return [line.strip() for line in body[1].splitlines() if line.strip() and not line.strip().startswith(ours)]


@pytest.mark.flaky(reruns=2)
def test_empty_server_becomes_a_trusted_site(
    make_httpd: StartHttpd, plugin: Path, authority: Authority, tmp_path: Path
) -> None:
    """Port 443 alone, no certificate anywhere; certbot; a reload; 200 for whoever trusts the CA."""
    httpd = make_httpd()
    vhost = httpd.vhost(SITE)
    httpd.listeners["main"].choose_port()
    with Pebble(tmp_path, authority, httpd.address()[1]) as pebble:
        certbot = Certbot(tmp_path / "certbot", plugin, pebble)
        vhost.lines = shipped_example(certbot, SITE)
        httpd.start()
        assert_serves_nothing(ask(httpd, SITE))

        done = certbot.certonly([SITE], *options(httpd, "main"))
        assert done.returncode == 0, done.stdout
        assert pebble.validations() == 1
        assert_validated(httpd, (SITE,), checks=1)
        assert_serves_nothing(ask(httpd, SITE))

        httpd.reload()
        trust = tmp_path / "root.pem"
        trust.write_bytes(pebble.root())
    response = client.https_get(httpd.address(), SITE, trust)
    assert (response.status, response.body.decode()) == (200, PAGE)
    assert x509.load_der_x509_certificate(response.certificate) == issued(certbot, SITE)
