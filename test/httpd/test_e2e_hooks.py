"""dehydrated and uacme get real certificates through their hooks, while httpd goes on serving."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from conftest import StartHttpd
from harness import commands
from harness.acme import Pebble, skip_where_missing
from harness.challenge import ANSWERED
from harness.hooks import HOOKS, TOOL, Dehydrated, HookClient, Uacme, path_with
from harness.issuance import NAMES, NOBODY_THERE, OWNED, SITE, STRANGER, assert_validated, load, names_of, undisturbed
from harness.pages import block
from harness.pki import Authority
from harness.redis import PREFIX, Redis
from harness.server import Httpd
from harness.spool import KeyAuthorization, Spool

pytestmark = pytest.mark.flaky(reruns=2)

TOKEN = "token"

CHAINED = {"chain": True}
CLIENTS = [
    pytest.param(Dehydrated, {}, id="dehydrated"),
    pytest.param(Dehydrated, CHAINED, id="dehydrated-chain"),
    pytest.param(Uacme, {}, id="uacme"),
]
UNCHAINED = [CLIENTS[0], CLIENTS[2]]

MakeClient = Callable[..., HookClient]


@pytest.fixture
def make_client(httpd: Httpd, pebble: Pebble) -> MakeClient:
    """Make clients that have an account. They live beside httpd's files, which every user can reach."""
    homes = (path for number in count() if not (path := httpd.root / f"client-{number}").exists())

    def make(kind: type[HookClient], **arguments: object) -> HookClient:
        skip_where_missing(f"/usr/bin/{kind.__name__.lower()}")
        given = {"spool": httpd.spool.path, "check": str(httpd.listeners["main"]), **arguments}
        client = kind(next(homes), pebble, **given)  # type: ignore[arg-type]
        client.register()
        return client

    return make


def assert_issued(client: HookClient, done: subprocess.CompletedProcess[str], *names: str) -> None:
    assert done.returncode == 0, done.stdout
    assert names_of(load(client.certificate(names[0]))) == set(names)


@pytest.mark.parametrize("kind, options", CLIENTS)
def test_three_names(
    kind: type[HookClient], options: dict[str, object], httpd: Httpd, make_client: MakeClient, authority: Authority
) -> None:
    client = make_client(kind, **options)
    with undisturbed(httpd, authority):
        done = client.issue(NAMES)
    assert_issued(client, done, *NAMES)
    assert_validated(httpd, NAMES, checks=1)


def test_dehydrated_as_the_manual_sets_it_up(httpd: Httpd, make_client: MakeClient) -> None:
    """In Debian's conf.d, with the wrapper that reloads httpd when there is a certificate."""
    client = make_client(Dehydrated)
    config, conf_d, hook, reload = (client.home / name for name in ("config", "conf.d", "hook", "reload"))
    conf_d.mkdir()
    settings = block("clients.md", "CHALLENGETYPE=")
    (conf_d / "acme-alpn.sh").write_text(settings.replace("/etc/dehydrated/hook", str(hook)))
    kept = [line for line in config.read_text().splitlines() if line.partition("=")[0] + "=" not in settings]
    config.write_text("\n".join([*kept, f"CONFIG_D={conf_d}"]) + "\n")
    wrapper = block("clients.md", "#!/bin/sh").replace("/usr/share/acme-alpn/hooks", str(client.home / "bin"))
    hook.write_text(wrapper.replace("/usr/sbin/apachectl graceful", f"echo reload >>{reload}"))
    hook.chmod(0o755)
    assert_issued(client, client.issue(NAMES[:1]), NAMES[0])
    assert_validated(httpd, NAMES[:1], checks=1)
    assert reload.read_text() == "reload\n"
    assert call(str(hook), httpd.spool, "deploy_challenge", SITE, TOKEN, "garbage").returncode == 1


@pytest.mark.parametrize("kind, options", CLIENTS)
def test_check_that_fails_keeps_the_client_from_asking_the_ca(
    kind: type[HookClient], options: dict[str, object], httpd: Httpd, make_client: MakeClient, pebble: Pebble
) -> None:
    client = make_client(kind, **options, check=f"{NOBODY_THERE}:{httpd.address()[1]}")
    before = pebble.validations()
    done = client.issue(NAMES[:2])
    assert done.returncode != 0 and pebble.validations() == before
    # A CA gives the names in any order. One that fails is the end, if the hook is called for each.
    failed = {name for name in NAMES if f"FAIL {name} at {client.check}: connection-refused: " in done.stdout}
    assert len(failed) == (2 if options == CHAINED else 1), done.stdout
    assert f"the CA was not asked (ACME_ALPN_CHECK, where httpd must answer: {client.check})" in done.stdout
    assert httpd.spool.entries() == []


@pytest.mark.parametrize("kind, options", UNCHAINED)
def test_user_who_owns_the_spool(
    kind: type[HookClient], options: dict[str, object], httpd: Httpd, make_client: MakeClient, authority: Authority
) -> None:
    owned = Spool(httpd.root / "owned")
    client = make_client(kind, **options, uid=STRANGER, spool=owned.path)
    with undisturbed(httpd, authority):
        done = client.issue([OWNED])
    assert_issued(client, done, OWNED)
    assert client.certificate(OWNED).stat().st_uid == STRANGER
    assert_validated(httpd, [OWNED], checks=1)
    assert owned.entries() == []


# The hooks by themselves


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool").create()


def call(
    name: str, spool: Spool | str, *arguments: str, check: str = "none", tool: Path | None = None, cwd: Path = HOOKS
) -> subprocess.CompletedProcess[str]:
    """The hook with the tool on its PATH or, where one is given, in ACME_ALPN alone."""
    where = {"ACME_ALPN": str(tool), "PATH": "/usr/bin:/bin"} if tool else {"PATH": path_with(TOOL.parent)}
    place = spool.path if isinstance(spool, Spool) else spool
    return commands.run(
        [HOOKS / name, *arguments],
        60,
        cwd=cwd,
        env={**where, "ACME_ALPN_SPOOL": str(place), "ACME_ALPN_CHECK": check},
    )


def colons(value: KeyAuthorization) -> str:
    """As `openssl dgst -c` writes it."""
    return value.digest.hex(":")


@pytest.mark.parametrize(
    "given, file",
    [
        ("7.0.0.0." + "0." * 20 + "8.b.d.0.1.0.0.2.ip6.arpa", "2001:db8::7"),
        ("Example.TEST", "example.test"),
    ],
)
def test_dehydrated_identifiers(spool: Spool, given: str, file: str) -> None:
    value = KeyAuthorization.new()
    assert call("dehydrated", spool, "deploy_challenge", given, TOKEN, colons(value)).returncode == 0
    assert spool.entries() == [file]
    assert (spool.path / file).read_text() == f"{colons(value)}\n"
    assert call("dehydrated", spool, "clean_challenge", given, TOKEN, colons(value)).returncode == 0
    assert spool.entries() == []


@pytest.mark.parametrize(
    "event", [[], ["exit_hook", "an error"], ["deploy_cert", "a", "b", "c", "d", "e", "1"]]
)
def test_dehydrated_events_that_are_none_of_our_business(spool: Spool, event: list[str]) -> None:
    done = call("dehydrated", spool, *event)
    assert (done.returncode, done.stdout) == (0, "")
    assert spool.entries() == []


def test_dehydrated_takes_back_what_it_published_when_one_is_refused(spool: Spool) -> None:
    good = ["good.test", TOKEN, colons(KeyAuthorization.new())]
    done = call("dehydrated", spool, "deploy_challenge", *good, "a_b.test", TOKEN, "0" * 64)
    assert done.returncode == 1 and "identifier 'a_b.test'" in done.stdout
    assert spool.entries() == []
    assert call("dehydrated", spool, "deploy_challenge", *good).returncode == 0
    assert spool.entries() == ["good.test"]


@pytest.mark.parametrize(
    "name, event, code",
    # dehydrated throws the order away when this fails; uacme ignores it.
    [("dehydrated", ["clean_challenge"], 0), ("uacme", ["done", "tls-alpn-01"], 1)],
)
def test_hooks_leave_what_another_client_published(spool: Spool, name: str, event: list[str], code: int) -> None:
    own = KeyAuthorization.new()
    spool.publish("replaced.test")
    spool.publish(SITE, own)
    names = ["replaced.test", TOKEN, own.digest_base64url]
    # dehydrated's removes the others, though.
    names += [SITE, TOKEN, own.digest_base64url] if name == "dehydrated" else []
    done = call(name, spool, *event, *names)
    assert done.returncode == code and "replaced.test: the entry has another value" in done.stdout
    assert spool.entries() == ["replaced.test"] if name == "dehydrated" else [SITE, "replaced.test"]


# Stands in for the tool: writes down how it is called, and finds every check failed.
RECORDER = """#!/bin/sh
echo "$*" >>"$0.calls"
[ "$1" != check ]
"""


@pytest.fixture
def recorder(tmp_path: Path) -> Path:
    tool = tmp_path / "recorder"
    tool.write_text(RECORDER)
    tool.chmod(0o755)
    return tool


def calls(recorder: Path, command: str) -> list[list[str]]:
    lines = map(str.split, Path(f"{recorder}.calls").read_text().splitlines())
    return [line[1:] for line in lines if line[0] == command]


def test_dehydrated_waits_for_the_first_failure_alone(spool: Spool, recorder: Path) -> None:
    names = [argument for number in range(3) for argument in (f"n{number}.test", TOKEN, "0" * 64)]
    done = call("dehydrated", spool, "deploy_challenge", *names, check="127.0.0.1:443", tool=recorder)
    assert done.returncode == 1
    to_address = ["0" * 64, "--connect", "127.0.0.1:443"]
    assert calls(recorder, "check") == [
        ["n0.test", *to_address],
        ["n1.test", *to_address, "--wait", "0"],
        ["n2.test", *to_address, "--wait", "0"],
    ]
    assert len(calls(recorder, "remove")) == 3


@pytest.mark.parametrize("ending", ["done", "failed"])
@pytest.mark.parametrize("value", ["A" * 43, "-iGWN4LT4DoSH4DtsCUruwXvZ3SOHM7xT39zX07VE7w"])
def test_uacme_begins_and_ends(spool: Spool, value: str, ending: str) -> None:
    assert call("uacme", spool, "begin", "tls-alpn-01", SITE, TOKEN, value).returncode == 0
    assert (spool.path / SITE).read_text() == f"{value}\n"
    assert call("uacme", spool, ending, "tls-alpn-01", SITE, TOKEN, value).returncode == 0
    assert spool.entries() == []


@pytest.mark.parametrize("kind", ["http-01", "dns-01"])
def test_uacme_declines_other_challenges(spool: Spool, kind: str) -> None:
    value = KeyAuthorization.new()
    done = call("uacme", spool, "begin", kind, SITE, TOKEN, value.digest_base64url)
    assert (done.returncode, done.stdout) == (1, "")
    assert spool.entries() == []


@pytest.mark.parametrize("arguments", [[], ["begin", "tls-alpn-01", SITE, TOKEN], ["x"] * 6])
def test_uacme_hook_called_by_hand_shows_its_usage(spool: Spool, arguments: list[str]) -> None:
    done = call("uacme", spool, *arguments)
    assert done.returncode == 2 and "begin|done|failed TYPE IDENTIFIER TOKEN VALUE" in done.stdout


@pytest.mark.parametrize("name", ["dehydrated", "uacme"])
def test_several_addresses_are_all_checked(spool: Spool, httpd: Httpd, name: str) -> None:
    value = KeyAuthorization.new()
    arguments = {
        "dehydrated": ["deploy_challenge", SITE, TOKEN, colons(value)],
        "uacme": ["begin", "tls-alpn-01", SITE, TOKEN, value.digest_base64url],
    }[name]
    good, bad = str(httpd.listeners["main"]), f"{NOBODY_THERE}:{httpd.address()[1]}"
    done = call(name, httpd.spool, *arguments, check=f"{good} {bad}")
    assert done.returncode == 1
    assert f"PASS {SITE} at {good}" in done.stdout and f"FAIL {SITE} at {bad}: connection-refused" in done.stdout
    assert httpd.spool.entries() == []
    assert call(name, httpd.spool, *arguments, check=good).returncode == 0
    httpd.spool.withdraw(SITE)


@pytest.mark.parametrize(
    "name, begin, end",
    [
        ("dehydrated", ["deploy_challenge", SITE, TOKEN], ["clean_challenge", SITE, TOKEN]),
        ("uacme", ["begin", "tls-alpn-01", SITE, TOKEN], ["done", "tls-alpn-01", SITE, TOKEN]),
    ],
)
def test_spool_may_be_the_store_of_a_fleet(
    make_httpd: StartHttpd, authority: Authority, name: str, begin: list[str], end: list[str]
) -> None:
    value = KeyAuthorization.new().digest_base64url
    with Redis() as redis:
        httpd = make_httpd()
        httpd.vhost(SITE, credentials=[authority.issue(SITE)], lines=[f"AcmeAlpnStore {redis.url} timeout=5s"])
        httpd.start()
        done = call(name, redis.url, *begin, value, check=str(httpd.listeners["main"]))
        assert done.returncode == 0 and f"PASS {SITE}" in done.stdout
        assert redis.run("GET", PREFIX + SITE) == value
        assert call(name, redis.url, *end, value).returncode == 0
        assert redis.run("EXISTS", PREFIX + SITE) == "0"
        httpd.log.expect(ANSWERED, f"identifier={SITE} .*source=store ")
        httpd.stop()
