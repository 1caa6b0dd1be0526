"""AcmeAlpnUpstream: what spool and store lack is asked of another responder, within bounds."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from threading import Event

import pytest
from conftest import StartHttpd
from harness import client, load, poll
from harness.challenge import ANSWERED, REFUSED, assert_answered, assert_refused, wait_for_rate_limit
from harness.checker import check_answer
from harness.crowded import Crowded
from harness.errorlog import Record
from harness.pki import Authority
from harness.redis import Redis
from harness.responders import REASONS, Asked, failing
from harness.server import Httpd
from harness.spool import KeyAuthorization
from harness.status import LOCATION, MODULES, assert_told
from harness.upstream import (
    SLOW, Upstream, by_name, certificate, close, give_addresses, held, say, serve, slowly, swallowing,
)

NAME, ALIAS, WILD = "relayed.test", "alias.test", "*.wild.test"
NODE, HOST = "node.test", "host.test"
LINES_PER_SECOND = 10
# At once with one upstream, by default.
PLACES = 8
TIMEOUT = 0.5
# All upstreams together get so long, whatever their time-outs are: for those that wait until a test says so.
LONGEST = 8
# What a handshake may take beyond the time-out. A busy machine adds to some, and not to all.
SLACK = 1.5
# What two clocks may be apart by when they are rounded.
MARGIN = 0.01
# What a server says that knows no such protocol (RFC 7301 section 3.2).
LACKS = say(b"\x15\x03\x03\x00\x02\x02\x78")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


def set_up(httpd: Httpd, authority: Authority, *directives: str) -> Httpd:
    # In each process as many threads as the tests let wait, twice; each source is told of at this level.
    threads = [] if httpd.mpm == "prefork" else ["ThreadsPerChild 16", "MaxRequestWorkers 96"]
    httpd.server_lines += ["LogLevel acme_alpn:debug", *threads, *directives, *LOCATION]
    vhost = httpd.vhost(NAME, ALIAS, credentials=[authority.issue(NAME)])
    vhost.lines.append(f"ServerAlias {WILD}")
    return httpd


def server(make_httpd: StartHttpd, authority: Authority, *directives: str) -> Httpd:
    return set_up(make_httpd(modules=MODULES), authority, *directives).start()


def relay(make_httpd: StartHttpd, authority: Authority, upstream: object, *options: str) -> Httpd:
    return server(make_httpd, authority, " ".join(["AcmeAlpnUpstream", str(upstream), *options]))


def answering(upstream: Upstream, name: str = NAME) -> KeyAuthorization:
    """From now on, with this new value."""
    value = KeyAuthorization.new()
    upstream.behaviour = serve(certificate([name], value.digest))
    return value


def let_retry() -> None:
    """The second is over for which an upstream that timed out is not asked, or for which lines are counted."""
    poll.let_pass(1.05)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_answer_of_the_upstream_is_served(
    make_httpd: StartHttpd, authority: Authority, upstream: Upstream, version: ssl.TLSVersion
) -> None:
    httpd = relay(make_httpd, authority, upstream)
    for name in (NAME, ALIAS, "any.wild.test", NAME):
        value = KeyAuthorization.new()
        upstream.behaviour = serve(certificate([name], value.digest), version=version)
        assert_answered(httpd, name, value)
    assert len(httpd.log.find(ANSWERED, f"source=upstream .*upstream={upstream}")) == upstream.connections == 4
    assert client.https_get(httpd.address(), NAME, authority.root).status == 200


def test_spool_comes_first(make_httpd: StartHttpd, authority: Authority, upstream: Upstream) -> None:
    httpd = relay(make_httpd, authority, upstream)
    value = httpd.spool.publish(NAME)
    assert_answered(httpd, NAME, value)
    assert upstream.connections == 0


@pytest.mark.parametrize("any_name", [False, True])
def test_only_names_of_this_server(
    make_httpd: StartHttpd, authority: Authority, upstream: Upstream, any_name: bool
) -> None:
    httpd = relay(make_httpd, authority, upstream, *(["any-name"] if any_name else []))
    for name in ("foreign.test", "wild.test"):
        value = answering(upstream, name)
        if any_name:
            assert_answered(httpd, name, value)
        else:
            assert_told(httpd, "relay-foreign-name", assert_refused(httpd, name, "relay-foreign-name").text)
    assert bool(upstream.connections) == any_name


# What only somebody who knows the right digest can tell, and what takes a client that is told to.
NOT_HERE = {"certificate-wrong-digest", "no-certificate"}


@pytest.mark.parametrize("reason", sorted({*REASONS} - NOT_HERE))
def test_fault_is_refused_in_time(make_httpd: StartHttpd, authority: Authority, reason: str) -> None:
    """test_tool.py checks the advice for each reason."""
    with failing(reason, Asked(NAME, KeyAuthorization.new().digest, authority)) as where:
        assert_refused_in_time(make_httpd, authority, where, reason)


def test_certificate_for_two_names_is_refused(make_httpd: StartHttpd, authority: Authority, upstream: Upstream) -> None:
    upstream.behaviour = serve(certificate([NAME, "b.test"], KeyAuthorization.new().digest))
    assert_refused_in_time(make_httpd, authority, upstream, "certificate-wrong-name")


def test_upstream_that_drips_is_left_in_time(make_httpd: StartHttpd, authority: Authority, upstream: Upstream) -> None:
    upstream.behaviour = upstream.drip
    assert_refused_in_time(make_httpd, authority, upstream, "timeout")


def refused_within(httpd: Httpd, reason: str, seconds: float) -> Record:
    """What the log says of a refusal that took no longer; each one that is tried is made anew."""

    def refused() -> Record | None:
        line = assert_refused(httpd, NAME, reason)
        if reason == "timeout":
            assert line.duration >= seconds - MARGIN
        if line.duration < seconds + SLACK * poll.FACTOR:
            return line
        let_retry()
        return None

    return poll.until(refused, poll.DEADLINE, f"a handshake is refused within {seconds:g} s")


def assert_refused_in_time(make_httpd: StartHttpd, authority: Authority, where: object, reason: str) -> None:
    httpd = relay(make_httpd, authority, where, f"timeout={int(TIMEOUT * 1000)}ms")
    httpd.log.allow("AALPN0033", "has no address")
    line = refused_within(httpd, reason, TIMEOUT)
    assert f"upstream={where}" in line.text and "source=upstream" in line.text
    assert_told(httpd, reason, line.text)
    # And the server goes on.
    assert_answered(httpd, NAME, httpd.spool.publish(NAME))
    assert client.https_get(httpd.address(), NAME, authority.root).status == 200


def test_connection_that_is_never_made_ends_in_time(make_httpd: StartHttpd, authority: Authority) -> None:
    with Crowded() as crowded:
        httpd = relay(make_httpd, authority, crowded, f"timeout={int(TIMEOUT * 1000)}ms")
        refused_within(httpd, "timeout", TIMEOUT)


def test_no_answer_is_not_remembered(make_httpd: StartHttpd, authority: Authority, upstream: Upstream) -> None:
    upstream.behaviour = close
    httpd = relay(make_httpd, authority, upstream)
    for count in range(1, 4):
        assert_refused(httpd, NAME, "closed")
        assert upstream.connections == count
    assert_answered(httpd, NAME, answering(upstream))


def test_time_out_is_for_all_for_a_second(make_httpd: StartHttpd, authority: Authority, upstream: Upstream) -> None:
    """Nobody waits once one has; then one tries, and an answer ends it."""
    httpd = relay(make_httpd, authority, upstream, f"timeout={int(TIMEOUT * 1000)}ms", "any-name")
    httpd.log.allow(REFUSED, "reason=(timeout|relay-backoff) ")

    def told_at_once() -> Record | None:
        for name in ("first.test", NAME):
            assert client.handshake(httpd.address(), name).alert == client.NO_APPLICATION_PROTOCOL
        line = httpd.log.expect(REFUSED, f"identifier={NAME} ")[0]
        return line if "reason=relay-backoff " in line.text and line.duration < TIMEOUT else None

    # On a busy machine the second may be over already.
    told = poll.until(told_at_once, poll.DEADLINE, "one is refused at once")
    assert_told(httpd, "relay-backoff", told.text)
    value = answering(upstream)
    let_retry()
    for _ in range(3):
        assert_answered(httpd, NAME, value)


def test_default_time(make_httpd: StartHttpd, authority: Authority, upstream: Upstream) -> None:
    httpd = relay(make_httpd, authority, upstream)
    refused_within(httpd, "timeout", 2)


def test_store_comes_before_the_upstream_which_is_asked_while_that_is_down(
    make_httpd: StartHttpd, authority: Authority, upstream: Upstream
) -> None:
    with Redis() as redis:
        httpd = server(make_httpd, authority, f"AcmeAlpnUpstream {upstream}", f"AcmeAlpnStore {redis.url} timeout=5s")
        value = answering(upstream)
        assert_answered(httpd, NAME, redis.publish(NAME))
        assert upstream.connections == 0
        redis.withdraw(NAME)
        assert_answered(httpd, NAME, value)
        assert upstream.connections == 1
        redis.kill()
        for connections in (2, 3):
            assert_answered(httpd, NAME, value)
            assert upstream.connections == connections
    httpd.log.expect("AALPN0401", level="error")


def test_answer_is_not_remembered(make_httpd: StartHttpd, authority: Authority, upstream: Upstream) -> None:
    httpd = relay(make_httpd, authority, upstream)
    for count in range(1, 4):
        assert_answered(httpd, NAME, answering(upstream))
        assert upstream.connections == count


def test_more_names_than_places(make_httpd: StartHttpd, authority: Authority, upstream: Upstream) -> None:
    """An order of twelve names, of which each is validated twice: those beyond the eight places wait for one."""
    names = [f"name{number}.test" for number in range(12)]
    values = {name: KeyAuthorization.new() for name in names}
    upstream.behaviour = slowly(
        by_name({name: serve(certificate([name], value.digest)) for name, value in values.items()})
    )
    httpd = make_httpd(modules=MODULES)
    httpd.server_lines += (
        ["StartServers 50", "ServerLimit 50", "MaxRequestWorkers 50"]
        if httpd.mpm == "prefork"
        else ["StartServers 1", "ServerLimit 1", "ThreadLimit 64", "ThreadsPerChild 64", "MaxRequestWorkers 64"]
    )
    httpd.server_lines.append(f"AcmeAlpnUpstream {upstream} timeout={LONGEST}s")
    httpd.vhost(*names, credentials=[authority.issue(names[0])])
    httpd.start()
    begin = time.monotonic()
    with ThreadPoolExecutor(2 * len(names)) as pool:
        answers = [(name, pool.submit(client.handshake, httpd.address(), name)) for name in names * 2]
        for name, answer in answers:
            check_answer(answer.result(), name, values[name].digest)
    # Eight at a time.
    assert time.monotonic() - begin >= 2 * len(names) / PLACES * SLOW - MARGIN
    httpd.log.expect(ANSWERED, "source=upstream", count=2 * len(names))


def test_no_more_than_max_at_once_and_the_rest_waits(
    make_httpd: StartHttpd, authority: Authority, upstream: Upstream
) -> None:
    """Until its time is over."""
    httpd = relay(make_httpd, authority, upstream, "max=2", f"timeout={int(TIMEOUT * 1000)}ms", "any-name")
    httpd.log.allow(REFUSED, "reason=(timeout|closed|relay-busy|relay-backoff) ")
    over = Event()
    upstream.behaviour = held(over)
    with ThreadPoolExecutor(3) as pool:
        for answer in pool.map(client.handshake, [httpd.address()] * 3, [f"wait{number}.test" for number in range(3)]):
            assert answer.alert == client.NO_APPLICATION_PROTOCOL
        assert_answered(httpd, NAME, httpd.spool.publish(NAME))
        over.set()
    assert upstream.most_open == 2


def test_place_of_a_killed_child_comes_back(make_httpd: StartHttpd, authority: Authority, upstream: Upstream) -> None:
    httpd = relay(make_httpd, authority, upstream, "max=1", "timeout=2s", "any-name")
    httpd.log.allow(REFUSED, "reason=(timeout|relay-busy|relay-backoff) ")
    httpd.log.allow(pattern="exit signal Killed")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.handshake, httpd.address(), "killed.test")
        poll.until(lambda: upstream.open == 1, poll.DEADLINE, "one waits")
        for child in httpd.children():
            os.kill(child, 9)
        waiting.exception(timeout=poll.DEADLINE)
    value = answering(upstream, "next.test")

    def answered() -> bool:
        try:
            return value.digest in client.handshake(httpd.address(), "next.test").leaf
        except OSError:
            return False

    poll.until(answered, poll.DEADLINE, "the place is free again")


def test_limit_holds_over_a_graceful_restart(make_httpd: StartHttpd, authority: Authority, upstream: Upstream) -> None:
    httpd = relay(make_httpd, authority, upstream, "max=1", "timeout=3s", "any-name")
    httpd.log.allow(REFUSED, "reason=(timeout|closed|relay-busy|relay-backoff) ")
    over = Event()
    upstream.behaviour = held(over)
    restarted = lambda: len(httpd.log.find(pattern="resuming normal operations"))  # noqa: E731
    before = restarted()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.handshake, httpd.address(), "before.test")
        poll.until(lambda: upstream.open == 1, poll.DEADLINE, "one waits")
        os.kill(httpd.pid, 10)
        poll.until(lambda: restarted() > before, poll.DEADLINE, "httpd restarts")
        # It waits for the place, or for the time-out of the first.
        assert client.handshake(httpd.address(), "after.test").alert == client.NO_APPLICATION_PROTOCOL
        httpd.log.expect(REFUSED, "identifier=after.test .*reason=relay-(busy|backoff) ")
        over.set()
        assert waiting.result().alert == client.NO_APPLICATION_PROTOCOL
    assert upstream.most_open == 1


def test_upstreams_are_asked_in_their_order(make_httpd: StartHttpd, authority: Authority, upstream: Upstream) -> None:
    value = KeyAuthorization.new()
    with Upstream(close) as first:
        upstream.behaviour = serve(certificate([NAME], value.digest))
        httpd = server(make_httpd, authority, f"AcmeAlpnUpstream {first}", f"AcmeAlpnUpstream {upstream}")
        assert_answered(httpd, NAME, value)
        assert (first.connections, upstream.connections) == (1, 1)
        other = KeyAuthorization.new()
        let_retry()
        first.behaviour = serve(certificate([NAME], other.digest))
        assert_answered(httpd, NAME, other)
        assert (first.connections, upstream.connections) == (2, 1)


def test_upstream_that_just_lacks_the_name_does_not_hide_one_that_fails(
    make_httpd: StartHttpd, authority: Authority, upstream: Upstream
) -> None:
    upstream.behaviour = LACKS
    with Upstream(close) as first, Upstream(LACKS) as last:
        lines = [f"AcmeAlpnUpstream {each}" for each in (last, first, upstream)]
        httpd = server(make_httpd, authority, *lines)
        line = assert_refused(httpd, NAME, "closed")
        assert f"upstream={first}" in line.text
        assert [each.connections for each in (last, first, upstream)] == [1, 1, 1]


@pytest.mark.parametrize("lost", ["refusing", "swallowing"])
def test_next_address_of_a_host(make_httpd: StartHttpd, authority: Authority, upstream: Upstream, lost: str) -> None:
    """Also where the first one says nothing at all, which costs its share of the time."""
    value, port = KeyAuthorization.new(), upstream.address[1]
    upstream.behaviour = serve(certificate([NAME], value.digest))
    httpd = make_httpd(modules=MODULES)
    give_addresses(httpd, HOST, "127.0.0.2", upstream.address[0])
    with swallowing(("127.0.0.2", port)) if lost == "swallowing" else nullcontext():
        set_up(httpd, authority, f"AcmeAlpnUpstream {HOST}:{port} timeout=4s").start()
        assert_answered(httpd, NAME, value)
        assert upstream.connections == 1


def test_address_that_takes_the_connection_is_the_last(
    make_httpd: StartHttpd, authority: Authority, upstream: Upstream
) -> None:
    """And has all the time that is left for its handshake."""
    httpd = make_httpd(modules=MODULES)
    give_addresses(httpd, HOST, upstream.address[0], "127.0.0.2")
    set_up(httpd, authority, f"AcmeAlpnUpstream {HOST}:{upstream.address[1]} timeout=1s").start()
    line = assert_refused(httpd, NAME, "timeout")
    assert line.duration >= 1 - MARGIN and upstream.connections == 1


def test_host_that_is_a_name(make_httpd: StartHttpd, authority: Authority, upstream: Upstream) -> None:
    httpd = relay(make_httpd, authority, f"localhost:{upstream.address[1]}")
    for _ in range(3):
        assert_answered(httpd, NAME, answering(upstream))


def test_name_is_resolved_again(make_httpd: StartHttpd, authority: Authority, upstream: Upstream) -> None:
    """By the watchdog; a handshake does not wait for that."""
    value = answering(upstream)
    httpd = make_httpd(modules=MODULES)
    addresses = give_addresses(httpd, HOST)
    set_up(httpd, authority, f"AcmeAlpnUpstream {HOST}:{upstream.address[1]}").start()
    httpd.log.expect("AALPN0033", HOST, level="warn")
    httpd.log.allow(REFUSED, "reason=host-unknown ")
    addresses.write_text(upstream.address[0])

    def answered() -> bool:
        return bool(client.handshake(httpd.address(), NAME).chain)

    poll.until(answered, poll.DEADLINE, "the name is resolved again")
    httpd.log.expect(ANSWERED)


def test_upstream_that_fails_cannot_flood_the_log_nor_hide_the_spools_state(
    make_httpd: StartHttpd, authority: Authority, upstream: Upstream
) -> None:
    upstream.behaviour = close
    httpd = relay(make_httpd, authority, upstream, "any-name")
    httpd.spool.publish("broken.test")
    (httpd.spool.path / "broken.test").chmod(0o666)
    httpd.log.allow(REFUSED, "reason=(closed|relay-busy) ")
    count = 400
    flood = load.run(httpd.address(), [(f"name{number}.test", None) for number in range(count)], count, threads=8)
    assert flood.refused == count
    lines = httpd.log.find(REFUSED, "reason=closed ")
    assert 1 <= len(lines) <= LINES_PER_SECOND * (int(flood.seconds) + 2)
    # The next line says how many there were none for: in a later second, or this one.
    let_retry()
    assert client.handshake(httpd.address(), "last.test").alert == client.NO_APPLICATION_PROTOCOL
    httpd.log.expect(REFUSED, "identifier=last.test ")
    if flood.seconds < count / LINES_PER_SECOND / 4:
        assert httpd.log.find(REFUSED, r"reason=closed .* suppressed=\d+")
    # What an upstream just lacks does not hide what is wrong with the spool's entry.
    upstream.behaviour = LACKS
    assert client.handshake(httpd.address(), "broken.test").alert == client.NO_APPLICATION_PROTOCOL
    httpd.log.expect(REFUSED, "identifier=broken.test .*source=spool .*reason=entry-writable ")


def test_two_nodes_that_name_each_other(make_httpd: StartHttpd, authority: Authority) -> None:
    """Neither asks back what the other asks, and each has the other's challenges."""
    nodes = [make_httpd(modules=MODULES), make_httpd(modules=MODULES)]
    for node in nodes:
        node.server_lines += LOCATION
        for listener in node.listeners.values():
            listener.choose_port()
    for node, other in zip(nodes, reversed(nodes)):
        node.vhost(NODE, credentials=[authority.issue(NODE)])
        node.server_lines.append(f"AcmeAlpnUpstream {other.listeners['main']}")
        node.start()
    one, two = nodes
    assert_refused(one, NODE, "refused")
    assert_told(two, "relay-loop", two.log.expect(REFUSED, "reason=relay-loop ")[0].text)
    wait_for_rate_limit(one)
    let_retry()
    value = two.spool.publish(NODE)
    assert_answered(one, NODE, value)
    two.log.expect(ANSWERED, "source=spool")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("", "is not an address"),
        ("127.0.0.1", "is not an address"),
        ("127.0.0.1:0", "is not an address"),
        (":443", "is not an address"),
        ("127.0.0.1:443 timeout=0s", "timeout='0s' is not a time"),
        ("127.0.0.1:443 timeout=1h", "timeout='1h' is not a time"),
        ("127.0.0.1:443 max=0", "max='0' is not a number"),
        ("127.0.0.1:443 max=129", "max='129' is not a number"),
        ("127.0.0.1:443 max=8x", "max='8x' is not a number"),
        ("127.0.0.1:443 anyname", "'anyname' is not an option"),
    ],
)
def test_bad_arguments_fail_configtest(make_httpd: StartHttpd, authority: Authority, arguments: str, told: str) -> None:
    httpd = make_httpd()
    httpd.vhost(NAME, credentials=[authority.issue(NAME)])
    httpd.server_lines.append(f"AcmeAlpnUpstream {arguments}")
    code, output = httpd.configtest()
    assert code != 0 and "AcmeAlpnUpstream" in output and told in output
    httpd.server_lines[-1] = "AcmeAlpnUpstream [::1]:443 timeout=500ms max=3 any-name"
    code, output = httpd.configtest()
    assert code == 0, output
