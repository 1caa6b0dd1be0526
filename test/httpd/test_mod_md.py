"""Beside mod_md, loaded before or after: its challenges are answered too, and else it does what it did without us."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import StartHttpd, checked
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from harness import client
from harness.challenge import ANSWERED, assert_answered, assert_refused, publish_and_check
from harness.client import Answer
from harness.md import ORDERS, DualPebble, Store, load_mod_md, trust_ca, wait_for_certificate
from harness.pki import Authority, Credential
from harness.server import PAGE, RESUMABLE_SUITE, Httpd
from harness.spool import KeyAuthorization
from harness.twins import Twins
from harness.upstream import Upstream, certificate
from harness.wire import get

MANAGED, OTHER, LISTED = "managed.test", "other.test", "listed.test"
VERSIONS = ("1.2", "1.3")

LISTING_FIRST = ["Protocols acme-tls/1 http/1.1"]


@pytest.fixture(scope="module", params=ORDERS)
def order(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def configure(httpd: Httpd, authority: Authority, order: str, own: dict[str, list[str]]) -> Store:
    """A managed vhost, one that mod_md does not know, and one whose Protocols have acme-tls/1."""
    store = load_mod_md(httpd, order, (MANAGED, LISTED))
    httpd.server_lines.append("LogLevel acme_alpn:debug")
    for name in (MANAGED, OTHER, LISTED):
        httpd.vhost(name, credentials=[authority.issue(name, kind="rsa")], lines=[*own.get(name, []), RESUMABLE_SUITE])
    return store


@pytest.fixture(scope="module")
def both(make_shared_httpd: StartHttpd, authority: Authority, order: str) -> tuple[Httpd, Store]:
    httpd = make_shared_httpd()
    store = configure(httpd, authority, order, {LISTED: LISTING_FIRST})
    return httpd.start(), store


@pytest.fixture
def httpd(both: tuple[Httpd, Store]) -> Iterator[Httpd]:
    with checked(both[0]):
        yield both[0]


@pytest.fixture
def store(both: tuple[Httpd, Store]) -> Store:
    return both[1]


def theirs(authority: Authority, name: str) -> Credential:
    """What mod_md serves as its challenge certificate: whatever its store holds."""
    return authority.issue(name, "theirs.test", kind="rsa")


def shake(httpd: Httpd, name: str, version: str) -> Answer:
    return client.handshake(httpd.address(), name, version=version, send=get(name))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [MANAGED, OTHER, LISTED])
def test_challenges_of_both_are_answered(httpd: Httpd, store: Store, name: str, version: str) -> None:
    def handshake() -> Answer:
        return shake(httpd, name, version)

    assert publish_and_check(httpd, name, handshake).data == b""

    value = store.publish(name)
    assert assert_answered(httpd, name, value, handshake, source="module").data == b""

    # The spool's goes first where both have one: it is what somebody has just put there.
    publish_and_check(httpd, name, handshake)
    store.remove_challenge(name)
    assert_refused(httpd, name, "no-entry", handshake)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [MANAGED, LISTED])
def test_certificate_of_mod_md_is_only_read(httpd: Httpd, store: Store, name: str, version: str) -> None:
    """mod_ssl would put it in the place of ours where both have the same type of key."""
    value = KeyAuthorization.new()
    pem = certificate([name], value.digest, kind="rsa")
    store.put_challenge(name, pem)
    takes_rsa = (f"-tls{version.replace('.', '_')}", "-sigalgs", "RSA-PSS+SHA256")
    handshake = lambda: client.s_client(httpd.address(), name, *takes_rsa)
    answer = assert_answered(httpd, name, value, handshake, source="module")
    store.remove_challenge(name)
    assert answer.leaf != x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [MANAGED, LISTED])
@pytest.mark.parametrize("offer", [("acme-tls/1", "http/1.1"), ("http/1.1", "acme-tls/1")])
def test_beside_another_protocol_it_is_an_ordinary_handshake(
    httpd: Httpd, store: Store, authority: Authority, name: str, offer: tuple[str, ...], version: str
) -> None:
    """Although mod_md has a challenge, and would take acme-tls/1 from any list."""
    store.publish(name)
    httpd.spool.publish(name)
    answer = client.handshake(httpd.address(), name, alpn=offer, version=version, send=get(name))
    httpd.spool.withdraw(name)
    store.remove_challenge(name)
    assert (answer.alpn, answer.leaf) == ("http/1.1", authority.issue(name, kind="rsa").der)
    assert answer.data.endswith(PAGE.encode())


@pytest.mark.parametrize("version", VERSIONS)
def test_resumed_session_is_refused(httpd: Httpd, store: Store, authority: Authority, version: str) -> None:
    """mod_md would say yes, and no certificate would be sent."""
    value = store.publish(MANAGED)
    using = client.context(["http/1.1"], version)
    ordinary = client.handshake(httpd.address(), MANAGED, using=using, send=get(MANAGED))
    again = client.handshake(httpd.address(), MANAGED, using=using, session=ordinary.session, send=get(MANAGED))
    assert again.resumed
    using.set_alpn_protocols(["acme-tls/1"])
    resume = lambda: client.handshake(httpd.address(), MANAGED, using=using, session=again.session)
    assert_refused(httpd, MANAGED, "session-resumed", resume)
    assert_answered(httpd, MANAGED, value, lambda: shake(httpd, MANAGED, version), source="module")
    store.remove_challenge(MANAGED)


# AcmeAlpnEngine Off


@pytest.fixture(scope="module")
def off(make_shared_httpd: StartHttpd, authority: Authority, order: str) -> tuple[Twins, list[Store]]:
    """The engine is off for mod_md's vhosts; beside them is one that it is on for."""
    twins = Twins(make_shared_httpd(), make_shared_httpd(with_module=False))
    stores = []
    for httpd in twins:
        own: dict[str, list[str]] = {MANAGED: [], LISTED: LISTING_FIRST}
        stores.append(load_mod_md(httpd, order, own))
        for name in (OTHER, *own):
            engine = ["AcmeAlpnEngine Off"] if httpd.with_module and name in own else []
            httpd.vhost(name, credentials=[authority.issue(name, kind="rsa")], lines=own.get(name, []) + engine)
    return twins.start(), stores


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("offer", [("acme-tls/1",), ("acme-tls/1", "http/1.1"), ("http/1.1",), ()])
@pytest.mark.parametrize("live", [True, False], ids=["live", "none"])
@pytest.mark.parametrize("name", [MANAGED, LISTED])
def test_engine_off_leaves_all_to_mod_md(
    off: tuple[Twins, list[Store]], authority: Authority, name: str, live: bool, offer: tuple[str, ...], version: str
) -> None:
    twins, stores = off
    twins.with_module.spool.publish(name)
    if live:
        for store in stores:
            store.put_challenge(name, theirs(authority, name).pem)

    def observe(httpd: Httpd) -> tuple[object, ...]:
        answer = client.handshake(httpd.address(), name, alpn=offer, version=version, send=get(name))
        return answer.chain, answer.alpn, answer.alert, answer.error, answer.data.rpartition(b"\r\n\r\n")[2]

    with_module, without = twins.ask(observe)
    if live:
        for store in stores:
            store.remove_challenge(name)
    twins.with_module.spool.withdraw(name)
    assert with_module == without
    taken = name == LISTED and "acme-tls/1" in offer
    expected = theirs(authority, name) if live and taken else authority.issue(name, kind="rsa")
    refused = name == MANAGED and offer == ("acme-tls/1",)
    assert without[0] == (() if refused else (expected.der,))
    twins.settle()
    publish_and_check(twins.with_module, OTHER)
    twins.settle()


# The challenge type


@pytest.mark.flaky(reruns=2)
@pytest.mark.parametrize("order", ORDERS)
def test_mod_md_chooses_its_challenge_type_and_gets_its_certificates(
    make_httpd: StartHttpd, authority: Authority, tmp_path: Path, order: str
) -> None:
    """From a real CA: http-01 where acme-tls/1 is not in Protocols, tls-alpn-01 where it is."""
    httpd = make_httpd()
    httpd.listen("plain")
    for listener in httpd.listeners.values():
        listener.choose_port()
    ports = {name: listener.port for name, listener in httpd.listeners.items()}
    with DualPebble(tmp_path, authority, ports["main"], ports["plain"]) as pebble:
        store = load_mod_md(httpd, order, (MANAGED, LISTED), pebble.url)
        trust_ca(httpd, authority, f"http:{ports['plain']} https:{ports['main']}")
        httpd.server_lines.append("MDPrivateKeys secp256r1")
        httpd.vhost(MANAGED)
        httpd.vhost(LISTED, lines=["Protocols http/1.1 acme-tls/1"])
        httpd.vhost(MANAGED, LISTED, tls=False, listener="plain")
        httpd.start()
        httpd.log.allow(pattern="AH01909|AH10085|AH10059")
        chosen = {name: wait_for_choice(httpd, store, name) for name in (MANAGED, LISTED)}
        httpd.log.expect(ANSWERED, f"identifier={LISTED} .* source=module ")
        httpd.reload()
        for name in (MANAGED, LISTED):
            leaf = client.handshake(httpd.address(), name, alpn=["http/1.1"]).leaf
            assert "Pebble" in x509.load_der_x509_certificate(leaf).issuer.rfc4514_string()
            publish_and_check(httpd, name)
        # mod_md talks to its CA to the end.
        httpd.stop()
    assert chosen == {MANAGED: "http-01", LISTED: "tls-alpn-01"}


def wait_for_choice(httpd: Httpd, store: Store, name: str) -> str:
    """The type of the challenge that mod_md has set up for the certificate that it now has."""
    wait_for_certificate(httpd, name)
    job = json.loads((store.path / "staging" / name / "job.json").read_text())
    events = [entry["type"] for entry in job["log"]["entries"]]
    prefix, suffix = "message-challenge-setup:", f":{name}"
    (chosen,) = {event[len(prefix) : -len(suffix)] for event in events if event.startswith(prefix)}
    return str(chosen)


# As a source beside others


@pytest.mark.parametrize(
    "line, reason",
    [("AcmeAlpnUpstream {} timeout=500ms any-name", "timeout"), ("AcmeAlpnStore redis://{} timeout=500ms", "store-timeout")],
)
def test_network_is_not_asked_for_what_mod_md_has(
    make_httpd: StartHttpd, authority: Authority, line: str, reason: str
) -> None:
    with Upstream() as silent:
        httpd = make_httpd()
        store = load_mod_md(httpd, "before", [MANAGED])
        httpd.server_lines.append(line.format(silent))
        httpd.log.allow("AALPN0401")
        httpd.vhost(MANAGED, credentials=[authority.issue(MANAGED)])
        httpd.start()
        assert_answered(httpd, MANAGED, store.publish(MANAGED), source="module")
        assert silent.connections == 0
        store.remove_challenge(MANAGED)
        assert_refused(httpd, MANAGED, reason)
        assert silent.connections == 1


# What a module may answer that is no challenge certificate of the name; test_inspect.c has the other flaws.
WRONG = {
    "module-unreadable": lambda value: b"-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n",
    "certificate-wrong-name": lambda value: certificate(["elsewhere.test"], value.digest),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("reason", [*WRONG, "certificate-ordinary"])
def test_what_is_no_challenge_certificate_is_refused(
    httpd: Httpd, store: Store, authority: Authority, reason: str, version: str
) -> None:
    make = WRONG.get(reason, lambda value: theirs(authority, MANAGED).pem)
    store.put_challenge(MANAGED, make(KeyAuthorization.new()))
    told = assert_refused(httpd, MANAGED, reason, lambda: shake(httpd, MANAGED, version))
    store.remove_challenge(MANAGED)
    assert " source=module " in told.text
