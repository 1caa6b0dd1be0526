"""docs/troubleshooting.md: its own commands find the cause of what has failed, in the words that it shows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import pytest
from conftest import StartHttpd
from harness import client, commands, poll
from harness.hooks import TOOL
from harness.pages import block
from harness.pki import Authority
from harness.redis import READER, WRITER, Redis
from harness.responders import refusing
from harness.server import REPOSITORY, Httpd
from harness.spool import KeyAuthorization, Spool

PAGE = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
NAME = "www.example.com"
LOADED = block("troubleshooting.md", "apachectl configtest")
CHECK = block("troubleshooting.md", f'acme-alpn add {NAME} "$(openssl rand -hex 32)"\n    acme-alpn check {NAME}')
PUBLIC = block("troubleshooting.md", f'acme-alpn add {NAME} "$(openssl rand -hex 32)"\n    acme-alpn check --public')
LOG = block("troubleshooting.md", "grep AALPN0102 /var/log")
ADD = CHECK.splitlines()[0]
StartVhost = Callable[..., Httpd]


def step(number: int) -> str:
    return next(part for part in re.split(r"^##+ ", PAGE, flags=re.MULTILINE) if part.startswith(f"{number}. "))


def row(text: str, key: str) -> str:
    """What the table has for the key, which may be one of several, or begin as `store-...` does."""
    for cell, rest in re.findall(r"^\| (`.*?) \| (.*) \|$", text, re.MULTILINE):
        if any(re.fullmatch(re.escape(one).replace(re.escape("..."), ".*"), key) for one in re.findall("`(.*?)`", cell)):
            return rest
    raise AssertionError(f"the page has no row {key}")


def shell(script: str, httpd: Httpd, spool: object = None) -> str:
    """With this server's paths in place of Debian's."""
    script = script.replace("apachectl configtest", "apachectl -t").replace("apachectl", shlex.join(httpd.command()))
    script = script.replace("/var/log/apache2/error.log", str(httpd.root / "error.log"))
    script = script.replace("acme-alpn ", f"{TOOL} --spool='{spool or httpd.spool.path}' ")
    return commands.run(["sh", "-c", script], poll.DEADLINE, env=httpd.variables()).stdout


def check(httpd: Httpd, script: str = CHECK, *, spool: object = None, at: str = "", wait: int = 0) -> str:
    """Step 2: PASS, or the reason."""
    at = at or f"127.0.0.1:{httpd.address()[1]}"
    script = script.replace("--public ", "").replace(f"check {NAME}", f"check --wait {wait} --connect {at} {NAME}")
    said = shell(script, httpd, spool)
    verdict = re.search(rf"^(PASS|FAIL) {NAME} at {at}(?:: ([a-z-]+): | \()", said, re.MULTILINE)
    assert verdict, said
    return verdict[2] or verdict[1]


def refusal(httpd: Httpd) -> tuple[str, str]:
    """Step 3: the reason in the last line AALPN0102, and all lines."""
    httpd.log.allow(pattern="AALPN(0102|0103|0401|0002)")
    lines = shell(LOG, httpd)
    found = re.findall(rf"AALPN0102: refused: identifier={NAME} .*reason=([a-z-]+) ", lines)
    return (found[-1] if found else "none"), lines


@pytest.fixture
def vhost(make_httpd: StartHttpd, authority: Authority) -> StartVhost:
    def start(*lines: str, **arguments: object) -> Httpd:
        httpd = make_httpd(**arguments)
        others = [] if httpd.with_module else ["proxy.test"]
        httpd.vhost(NAME, credentials=[authority.issue(NAME, *others)], lines=lines)
        return httpd.start()

    return start


def test_healthy_server_shows_what_is_good(vhost: StartVhost) -> None:
    """Steps 1, 2 and 4, and the page's own samples."""
    httpd = vhost()
    good = re.findall(r"^    ( ?\w.*(?:OK|\(shared\)))$", step(1), re.MULTILINE)
    said = shell(LOADED, httpd)
    assert len(good) == 3 and set(good) <= set(said.splitlines()), said
    assert check(httpd) == "PASS" and f"PASS {NAME} at 127.0.0.1:443 (TLSv1.3)" in step(2)
    peer = r"AALPN0101: answered: identifier=www.example.com peer=127.0.0.1:\d+ vhost=www.example.com "
    answered = shell(block("troubleshooting.md", "grep -E 'AALPN010"), httpd)
    assert all(re.search(peer, text) for text in (answered, step(4))), answered


def test_module_is_not_loaded(vhost: StartVhost) -> None:
    httpd = vhost(with_module=False)
    assert "acme_alpn_module" not in shell(LOADED, httpd)
    assert "A line is missing: `a2enmod ssl acme_alpn && " in step(1)
    assert "step 1: the module is not loaded" in row(step(2), check(httpd))
    httpd.vhosts[0].lines.append("AcmeAlpnEngine On")
    assert "The module is not loaded" in row(PAGE, "Invalid command 'AcmeAlpn")
    assert "Invalid command 'AcmeAlpnEngine'" in httpd.configtest()[1]


def test_engine_is_off(vhost: StartVhost) -> None:
    httpd = vhost("AcmeAlpnEngine Off")
    assert "`AcmeAlpnEngine` is Off" in row(step(2), check(httpd))
    # Debian links what is enabled.
    (httpd.root / "sites-enabled").mkdir()
    (httpd.root / "sites-enabled" / "site.conf").symlink_to(httpd.config)
    look = re.search(r"`(grep .*AcmeAlpn.* /etc/apache2/\S+)` shows the module's directives.\s*`(AcmeAlpnEngine Off)`", step(1))
    assert look and look[2] in shell(look[1].replace("/etc/apache2", str(httpd.root)), httpd)
    assert refusal(httpd)[0] == "none"


# What is done to an entry or to the spool, the reason in httpd's log, and the cause in the page.
ENTRY = "{spool}/" + NAME
SPOOL_FAULTS = [
    (f"chmod 600 {ENTRY}", "entry-unreadable", "and 0644"),
    (f"chmod 666 {ENTRY}", "entry-writable", "and 0644"),
    (f"chown 4711 {ENTRY}", "entry-owner", "root or the spool's owner"),
    (f"touch -d '1 year ago' {ENTRY}", "entry-too-old", "an old entry"),
    (f"touch -d 'next year' {ENTRY}", "entry-future", "a wrong clock"),
    ("chmod 775 {spool}", "spool-writable", "owner or mode of the spool"),
    ("chmod 700 {spool}", "spool-unreadable", "or of a directory above it"),
    ("mv {spool} {spool}.old", "spool-missing", "`namei -l /var/spool/acme-alpn`"),
]


@pytest.mark.parametrize("fault, reason, cause", SPOOL_FAULTS, ids=[reason for _, reason, _ in SPOOL_FAULTS])
def test_spool_or_entry_is_wrong(fault: str, reason: str, cause: str, vhost: StartVhost) -> None:
    httpd = vhost()
    assert shell(f"{ADD} && {fault.format(spool=httpd.spool.path)}", httpd) == ""
    client.handshake(httpd.address(), NAME)
    said, lines = refusal(httpd)
    assert said == reason and f" file={httpd.spool.path}" in lines
    assert cause in row(step(3), said)
    said = shell(f"acme-alpn check --wait 0 --connect 127.0.0.1:{httpd.address()[1]} {NAME}", httpd)
    if "FAIL" not in said:
        assert said.startswith(f"acme-alpn: {httpd.spool.path}") and "A line begins with `acme-alpn:`" in step(2), said
    else:
        assert "step 3: httpd has a line AALPN0102" in row(step(2), said.split(": ")[1])


def test_entry_is_in_another_spool(vhost: StartVhost) -> None:
    httpd = vhost()
    assert "step 3" in row(step(2), check(httpd, spool=Spool(httpd.root / "other").create().path))
    said, lines = refusal(httpd)
    assert f" file={httpd.spool.path}/{NAME}: " in lines and "another spool than that in `file`" in row(step(3), said)


def test_account_is_another(vhost: StartVhost) -> None:
    """The page's random value shows no account; the page has another value for that."""
    ours, another = (KeyAuthorization.new().text.split(".")[1] for _ in range(2))
    httpd = vhost(f"AcmeAlpnAccount {ours}")
    (value,) = re.findall(r'`("\$\(openssl rand -hex 16\)\.THUMBPRINT")`', step(2))
    with_account = CHECK.replace('"$(openssl rand -hex 32)"', value)
    for script, reason in (CHECK, "account-unknown"), (with_account.replace("THUMBPRINT", another), "account-other"):
        assert "step 3" in row(step(2), check(httpd, script))
        said, _ = refusal(httpd)
        assert said == reason and "`AcmeAlpnAccount` does not name" in row(step(3), said)
    assert check(httpd, with_account.replace("THUMBPRINT", ours)) == "PASS"


def test_nothing_listens_on_the_public_address(vhost: StartVhost) -> None:
    with refusing() as (host, port):
        verdict = check(vhost(), PUBLIC, at=f"{host}:{port}")
    assert "no `Listen 443`" in row(step(2), verdict) and f"- `{verdict}`: httpd does not listen" in step(4)


def test_proxy_terminates_tls(vhost: StartVhost) -> None:
    """Another httpd without the module stands for it, as it would in front of this one."""
    httpd = vhost()
    proxy = vhost(f"ProxyPass / http://127.0.0.1:{httpd.address()[1]}/", with_module=False, modules=["proxy", "proxy_http"])
    assert check(httpd) == "PASS"
    places = [f"127.0.0.1:{server.address()[1]}" for server in (httpd, proxy)]
    verdict = check(httpd, PUBLIC, at=places[1])
    assert re.search(rf"check --public` fails with (`[a-z-]+`,?\s(or\s)?)*`{verdict}`", step(5)), verdict
    assert "step 1" in row(step(2), verdict) and refusal(httpd)[0] == "none"
    script = block("troubleshooting.md", "for address in").replace("$address:443", "$address")
    script = script.replace(f"127.0.0.1 {NAME}", " ".join(places))
    fingerprints = re.findall(r"^sha(?:1|256) Fingerprint=(\S+)$", shell(script, httpd), re.MULTILINE | re.IGNORECASE)
    assert len(set(fingerprints)) == 2 and "the certificates differ" in step(5)


@pytest.mark.parametrize("reason, words", [("store-denied", "WRONGPASS"), ("store-unreachable", "refused")])
def test_store_refuses_or_is_down(reason: str, words: str, vhost: StartVhost) -> None:
    with Redis(secret=True) as redis, refusing() as (host, port):
        wrong = f"redis://{READER}@127.0.0.1:{redis.port} passwordfile={redis.password_file(READER, 'wrong')}"
        httpd = vhost(f"AcmeAlpnStore {wrong if reason == 'store-denied' else f'redis://{host}:{port}'}")
        url = f"redis://{WRITER}@127.0.0.1:{redis.port}?passwordfile={redis.password_file(WRITER)}"
        # More lines AALPN0102 follow the one AALPN0401 than tail shows.
        assert "step 3" in row(step(2), check(httpd, spool=url, wait=3))
    said, lines = refusal(httpd)
    assert said == reason and re.search(f"AALPN0401.*{words}", lines), lines
    assert "AALPN0401, which the second command shows" in row(step(3), said)


def test_tls_version_of_the_ca_is_off(vhost: StartVhost) -> None:
    httpd = vhost("SSLProtocol -all +TLSv1.1")
    assert "| any other |" in step(2)
    assert "No common TLS version" in row(PAGE.split("## What acme-alpn check says")[1], check(httpd))
    assert "AALPN0103" in refusal(httpd)[1] and "AALPN0103 (the client's TLS does not fit)" in step(3)
