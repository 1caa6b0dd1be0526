"""AcmeAlpnAccount: from spool and stores only the key authorizations of these accounts are answered."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import StartHttpd
from harness.acme import Certbot, Pebble
from harness.challenge import assert_answered, assert_refused
from harness.issuance import NAMES, issued, names_of, options
from harness.md import Store, load_mod_md
from harness.pki import Authority
from harness.redis import Redis
from harness.server import Httpd
from harness.spool import KeyAuthorization, Spool
from harness.status import LOCATION, MODULES, as_json, as_text, assert_told, metrics
from harness.upstream import Upstream, certificate, serve
from test_tool import DONE, SPOOL_PROBLEM, USAGE, run

NAME = "account.test"
DAY = 86400


def of_account(thumbprint: str) -> KeyAuthorization:
    """Another key authorization of that account."""
    return KeyAuthorization(f"{KeyAuthorization.new().text.partition('.')[0]}.{thumbprint}")


OURS, OTHERS, THIRDS = (KeyAuthorization(key).digest_base64url for key in ("ours", "others", "thirds"))
FORMS = {
    "base64url": lambda value: value.digest_base64url,
    "hex": lambda value: value.digest.hex(),
    "capitals": lambda value: value.digest.hex().upper(),
    "colons": lambda value: value.digest.hex(":"),
}


def make(
    make_httpd: StartHttpd, authority: Authority, *lines: str, vhosts: dict[str, list[str]] | None = None
) -> Httpd:
    httpd = make_httpd(modules=MODULES)
    httpd.server_lines += [*lines, *LOCATION]
    for name, own in (vhosts or {NAME: []}).items():
        httpd.vhost(name, credentials=[authority.issue(name)], lines=own)
    return httpd.start()


def assert_takes(httpd: Httpd, accounts: Iterable[str], name: str = NAME) -> None:
    """Answered for these, and not for the others."""
    for account in (OURS, OTHERS, THIRDS):
        value = httpd.spool.publish(name, of_account(account))
        if account in accounts:
            assert_answered(httpd, name, value, source="spool")
        else:
            assert f"({account})" in assert_refused(httpd, name, "account-other").text


# The spool


def test_one_account(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make(make_httpd, authority, f"AcmeAlpnAccount {OURS}")
    assert_takes(httpd, [OURS])
    assert_refused(httpd, "nothing.test", "no-entry")


@pytest.mark.parametrize("form", FORMS)
def test_bare_digest_tells_no_account(form: str, make_httpd: StartHttpd, authority: Authority) -> None:
    vhosts = {NAME: [], "any.test": ["AcmeAlpnAccount Any"]}
    httpd = make(make_httpd, authority, f"AcmeAlpnAccount {OURS}", vhosts=vhosts)
    value = of_account(OURS)
    for name in (NAME, "any.test"):
        httpd.spool.write(name, FORMS[form](value).encode())
    line = assert_refused(httpd, NAME, "account-unknown").text
    assert "publish the key authorization" in line and "(" not in line.partition("reason=")[2]
    assert_told(httpd, "account-unknown", line)
    assert_answered(httpd, "any.test", value)


@pytest.mark.parametrize("accounts", [[f"{OURS} {THIRDS}"], [OURS, THIRDS]], ids=["line", "lines"])
def test_several_accounts(accounts: list[str], make_httpd: StartHttpd, authority: Authority) -> None:
    lines = [f"AcmeAlpnAccount {each}" for each in accounts]
    assert_takes(make(make_httpd, authority, *lines), [OURS, THIRDS])


def test_vhost_inherits_overrides_and_lifts(make_httpd: StartHttpd, authority: Authority) -> None:
    vhosts = {
        "inherits.test": [],
        "own.test": [f"AcmeAlpnAccount {OTHERS}"],
        "any.test": ["AcmeAlpnAccount any"],
        "age.test": ["AcmeAlpnMaxAge 1h"],
    }
    httpd = make(make_httpd, authority, f"AcmeAlpnAccount {OURS}", vhosts=vhosts)
    takes = {"own.test": [OTHERS], "any.test": [OURS, OTHERS, THIRDS]}
    for name in vhosts:
        assert_takes(httpd, takes.get(name, [OURS]), name)


def test_entry_that_is_otherwise_wrong_has_that_reason(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make(make_httpd, authority, f"AcmeAlpnAccount {OURS}")
    httpd.spool.write(NAME, of_account(OTHERS).text.encode(), age=2 * DAY)
    assert_refused(httpd, NAME, "entry-too-old")
    httpd.spool.write(NAME, f"short.{OURS}".encode())
    assert_refused(httpd, NAME, "value-malformed")


# The store


def test_store(make_httpd: StartHttpd, authority: Authority, redis: Redis) -> None:
    lines = [f"AcmeAlpnAccount {OURS}", f"AcmeAlpnStore {redis.url} timeout=5s"]
    httpd = make(make_httpd, authority, *lines, vhosts={NAME: [], "any.test": ["AcmeAlpnAccount any"]})
    ours, others = of_account(OURS), of_account(OTHERS)
    redis.publish(NAME, others.text)
    line = assert_refused(httpd, NAME, "account-other").text
    assert f"({OTHERS})" in line and "source=store" in line
    assert_told(httpd, "account-other", line)
    for form in FORMS.values():
        redis.publish(NAME, form(ours))
        assert "source=store" in assert_refused(httpd, NAME, "account-unknown").text
    redis.publish(NAME, ours.text)
    assert_answered(httpd, NAME, ours, source="store")
    redis.publish("any.test", others.text)
    assert_answered(httpd, "any.test", others, source="store")


def test_look_up_goes_on_after_a_refusal(make_httpd: StartHttpd, authority: Authority, redis: Redis) -> None:
    """As after any other entry that is not valid."""
    with Redis() as second:
        stores = [f"AcmeAlpnStore {store.url} timeout=5s" for store in (redis, second)]
        httpd = make(make_httpd, authority, f"AcmeAlpnAccount {OURS}", *stores)
        ours, others, thirds = (of_account(account) for account in (OURS, OTHERS, THIRDS))
        httpd.spool.publish(NAME, others)
        assert f"({OTHERS})" in assert_refused(httpd, NAME, "account-other").text
        redis.publish(NAME, thirds.text)
        line = assert_refused(httpd, NAME, "account-other").text
        assert f"({THIRDS})" in line and "source=store" in line
        second.publish(NAME, ours.text)
        assert_answered(httpd, NAME, ours, source="store")
        second.kill()
        assert OTHERS not in assert_refused(httpd, NAME, "store-unreachable").text
        httpd.log.expect("AALPN0401")


# What the configuration names is trusted


def test_upstream_is_not_asked_for_its_account(make_httpd: StartHttpd, authority: Authority) -> None:
    value = of_account(OTHERS)
    with Upstream(serve(certificate([NAME], value.digest))) as upstream:
        httpd = make(make_httpd, authority, f"AcmeAlpnAccount {OURS}", f"AcmeAlpnUpstream {upstream}")
        assert_answered(httpd, NAME, value, source="upstream")
        httpd.spool.publish(NAME, of_account(THIRDS))
        assert_answered(httpd, NAME, value, source="upstream")


def test_mod_md_is_not_asked_for_its_account(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make_httpd()
    httpd.server_lines.append(f"AcmeAlpnAccount {OURS}")
    store: Store = load_mod_md(httpd, "after", (NAME,))
    httpd.vhost(NAME, credentials=[authority.issue(NAME, kind="rsa")])
    httpd.start()
    assert_answered(httpd, NAME, store.publish(NAME), source="module")


# Configuration


ALLOWED = "AcmeAlpnAccount: '{}' is not allowed; give 43 characters of base64url (certbot show_account), or any alone"
# With a bit of the last character that no SHA-256 has.
LOOSE = OURS[:-1] + chr(ord(OURS[-1]) + 1)


@pytest.mark.parametrize(
    "lines, bad",
    [
        ([f"AcmeAlpnAccount {OURS[:-1]}"], OURS[:-1]),
        ([f"AcmeAlpnAccount {OURS}A"], f"{OURS}A"),
        ([f"AcmeAlpnAccount {OURS}="], f"{OURS}="),
        ([f"AcmeAlpnAccount {OURS} {LOOSE}"], LOOSE),
        ([f"AcmeAlpnAccount {OURS[:-2]}+{OURS[-1]}"], f"{OURS[:-2]}+{OURS[-1]}"),
        (["AcmeAlpnAccount none"], "none"),
        ([f"AcmeAlpnAccount any {OURS}"], OURS),
        ([f"AcmeAlpnAccount {OURS} any"], "any"),
        ([f"AcmeAlpnAccount {OURS}", "AcmeAlpnAccount any"], "any"),
        ([f"AcmeAlpnAccount {hashlib.sha256().hexdigest()}"], hashlib.sha256().hexdigest()),
    ],
)
def test_bad_thumbprint_fails_configtest(lines: list[str], bad: str, make_httpd: StartHttpd) -> None:
    httpd = make_httpd(with_ssl=False)
    httpd.server_lines += lines
    code, output = httpd.configtest()
    assert code == 1 and ALLOWED.format(bad) in output, output


@pytest.mark.parametrize("argument", ["", "''"])
def test_no_thumbprint_fails_configtest(argument: str, make_httpd: StartHttpd) -> None:
    httpd = make_httpd(with_ssl=False)
    httpd.server_lines.append(f"AcmeAlpnAccount {argument}")
    code, output = httpd.configtest()
    assert code == 1 and "AcmeAlpnAccount requires at least one argument" in output, output


# The status page


def test_status_page(make_httpd: StartHttpd, authority: Authority) -> None:
    lines = {NAME: [f"{OURS} {THIRDS}"], "inherits.test": [], "own.test": [OTHERS]}
    vhosts = {name: [f"AcmeAlpnAccount {each}" for each in accounts] for name, accounts in lines.items()}
    httpd = make(make_httpd, authority, vhosts=vhosts)
    httpd.spool.publish("others.test", of_account(OTHERS))
    httpd.spool.write("bare.test", of_account(OURS).digest.hex().encode())
    told = as_json(httpd)
    reasons = {
        spool["accounts"]: {entry["identifier"]: (entry["valid"], entry["reason"]) for entry in spool["entries"]}
        for spool in told["spools"]
    }
    refused, unknown, good = (False, "account-other"), (False, "account-unknown"), (True, None)
    assert reasons == {
        f"{OURS} {THIRDS}": {"others.test": refused, "bare.test": unknown},
        "any": {"others.test": good, "bare.test": good},
        OTHERS: {"others.test": good, "bare.test": unknown},
    }
    settings = {
        vhost["name"]: [row["value"] for row in vhost["settings"] if row["directive"] == "AcmeAlpnAccount"]
        for vhost in told["vhosts"]
    }
    assert settings == {NAME: [f"{OURS} {THIRDS}"], "inherits.test": ["any"], "own.test": [OTHERS]}
    page = as_text(httpd)
    assert f"AcmeAlpnAccount {OURS} {THIRDS}" in page.all and page.row("bare.test", "account-unknown")
    # What one vhost refuses and another accepts is no problem.
    assert page.numbers["problems"] == 0 and "Nothing is wrong" in page.all
    labels = [f'spool="{httpd.spool.path}",max_age_seconds="{DAY}",accounts="{accounts}"' for accounts in reasons]
    assert all(metrics(httpd)[f"acme_alpn_spool_entries{{{label}}}"] == 2 for label in labels)


# The watch


def test_watch(make_httpd: StartHttpd, authority: Authority) -> None:
    """It tells of an account where all vhosts of the spool have the same list."""
    httpd = make_httpd(expects_watch=True)
    same, differing = Spool(httpd.root / "same").create(), Spool(httpd.root / "differing").create()
    for number, (spool, accounts) in enumerate(
        [(same, OURS), (same, OURS), (differing, OURS), (differing, OTHERS), (differing, OURS)]
    ):
        name = f"vhost-{number}.test"
        lines = [f"AcmeAlpnSpool {spool.path}", f"AcmeAlpnAccount {accounts}"]
        httpd.vhost(name, credentials=[authority.issue(name)], lines=lines)
    same.publish("early.test", of_account(OTHERS))
    httpd.start()
    httpd.log.expect("AALPN0212", f"spool={same.path} file=early.test reason=account-other: ", level="warn")
    for spool in (same, differing):
        spool.publish("ours.test", of_account(OURS))
        httpd.log.expect("AALPN0211", f"spool={spool.path} file=ours.test: ")
    same.publish("late.test", of_account(OTHERS))
    same.write("bare.test", of_account(OURS).digest.hex().encode())
    differing.publish("others.test", of_account(OTHERS))
    differing.publish("thirds.test", of_account(THIRDS))
    httpd.log.expect("AALPN0212", f"spool={same.path} file=late.test reason=account-other: ")
    httpd.log.expect("AALPN0212", f"spool={same.path} file=bare.test reason=account-unknown: ")
    for name in ("others.test", "thirds.test"):
        httpd.log.expect("AALPN0211", f"spool={differing.path} file={name}: ")


# The tool


@pytest.fixture(params=["spool", "store"])
def filled(request: pytest.FixtureRequest, tmp_path: Path, redis: Redis) -> str:
    """A spool or a store with an entry of ours, one of others', and a bare digest."""
    values = {"ours.test": of_account(OURS).text, "others.test": of_account(OTHERS).text, "bare.test": "0" * 64}
    spool = Spool(tmp_path / "spool").create()
    for name, value in values.items():
        spool.write(name, value.encode())
        redis.publish(name, value)
    return str(spool.path) if request.param == "spool" else redis.url


def listed(spool: str, *arguments: str) -> dict[str, tuple[str | None, str]]:
    done = run(f"--spool={spool}", "list", "--json", *arguments)
    assert done.returncode == DONE, done.stderr
    entries = json.loads(done.stdout)["entries"]
    assert all(entry["valid"] == (entry["reason"] == "ok") for entry in entries)
    return {entry["identifier"]: (entry["account"], entry["reason"]) for entry in entries}


def test_list_shows_and_judges_accounts(filled: str) -> None:
    accounts = {"ours.test": OURS, "others.test": OTHERS, "bare.test": None}
    other, unknown = "account-other", "account-unknown"
    for arguments, reasons in {
        (): ("ok", "ok", "ok"),
        (f"--account={OURS}",): ("ok", other, unknown),
        ("--account", OURS, "--account", OTHERS): ("ok", "ok", unknown),
        (f"--account={THIRDS}",): (other, other, unknown),
        ("--account=any",): ("ok", "ok", "ok"),
    }.items():
        assert listed(filled, *arguments) == {
            name: (account, reason) for (name, account), reason in zip(accounts.items(), reasons)
        }
    text = run(f"--spool={filled}", "list", f"--account={OURS}").stdout
    assert re.search(rf"^ours\.test .* {OURS}  valid$", text, re.MULTILINE)
    assert re.search(rf"^others\.test .* {OTHERS}  AcmeAlpnAccount does not name", text, re.MULTILINE)
    assert re.search(r"^bare\.test .* -  +.*bare digest", text, re.MULTILINE)


@pytest.mark.parametrize("name, told", [("others.test", f" ({OTHERS})\n"), ("bare.test", "a bare digest")])
def test_check_refuses_before_the_handshake(filled: str, name: str, told: str) -> None:
    where = ["--connect=127.0.0.1:1", "--wait=0"]
    done = run(f"--spool={filled}", "check", name, f"--account={OURS}", *where)
    assert (done.returncode, done.stdout) == (SPOOL_PROBLEM, "") and told in done.stderr, done.stderr
    # Of ours, or of any: the handshake is made, with a port where nothing listens.
    for arguments in ([name], ["ours.test", f"--account={OURS}"], [name, of_account(OURS).text, f"--account={OURS}"]):
        assert "connection-refused" in run(f"--spool={filled}", "check", *arguments, *where).stdout
    done = run(f"--spool={filled}", "check", name, of_account(OTHERS).text, f"--account={OURS}", *where)
    assert done.returncode == USAGE and "value: AcmeAlpnAccount does not name" in done.stderr


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["list", "--account", OURS[:-1]], "--account: '{}' is not allowed; give 43 characters of base64url"),
        (["list", "--account", ""], "--account: '{}' is not allowed"),
        (["list", f"--account={OURS}", "--account=any"], "--account: 'any' is not allowed"),
        (["add", NAME, "0" * 64, f"--account={OURS}"], "add: accepts --spool only"),
        (["remove", NAME, f"--account={OURS}"], "remove: accepts --spool only"),
    ],
)
def test_wrong_account_is_wrong_usage(arguments: list[str], told: str, tmp_path: Path) -> None:
    done = run(*arguments, spool=Spool(tmp_path / "spool").create().path)
    assert done.returncode == USAGE and told.format(arguments[-1]) in done.stderr


# A client


def certbots_thumbprint(certbot: Certbot) -> str:
    """As RFC 7638 has it, from the account's key; Debian 12's certbot does not print it."""
    (key,) = (certbot.directory / "config" / "accounts").rglob("private_key.json")
    public = {name: json.loads(key.read_text())[name] for name in ("e", "kty", "n")}
    text = json.dumps(public, sort_keys=True, separators=(",", ":"))
    return KeyAuthorization(text).digest_base64url


@pytest.mark.flaky(reruns=2)
def test_certbot(make_httpd: StartHttpd, authority: Authority, plugin: Path, tmp_path: Path) -> None:
    httpd = make_httpd()
    httpd.vhost(NAMES[0], credentials=[authority.issue(NAMES[0])])
    httpd.start()
    with Pebble(tmp_path, authority, httpd.address()[1]) as pebble:
        certbot = Certbot(tmp_path / "certbot", plugin, pebble)
        done = certbot.run("register", "--agree-tos", "--register-unsafely-without-email")
        assert done.returncode == 0, done.stdout
        ours = certbots_thumbprint(certbot)
        httpd.server_lines.append(f"AcmeAlpnAccount {OTHERS}")
        httpd.reload()
        done = certbot.certonly(NAMES[:1], *options(httpd, "main"))
        assert done.returncode == 1 and "The CA was not asked to validate" in done.stdout, done.stdout
        httpd.log.allow("AALPN0102", rf"reason=account-other .*\({ours}\)")
        assert httpd.log.find("AALPN0102", rf"reason=account-other .*\({ours}\)")
        assert pebble.validations() == 0
        httpd.server_lines[-1] += f" {ours}"
        httpd.reload()
        done = certbot.certonly(NAMES[:1], *options(httpd, "main"))
        assert done.returncode == 0, done.stdout
        assert names_of(issued(certbot, NAMES[0])) == {NAMES[0]}
        httpd.log.expect("AALPN0101", f"identifier={NAMES[0]} ")
