"""What fails beneath the module at the start: httpd runs all the same, and the log tells what does not work."""

from __future__ import annotations

import pytest
from conftest import StartHttpd
from harness import client
from harness.challenge import REFUSED, assert_answered, assert_refused
from harness.faults import Faults
from harness.pki import Authority
from harness.server import Httpd
from harness.status import LOCATION, MODULES, as_json

NAME = "fault.test"
NO_KEY, NO_CACHE, NO_RECORD = "AALPN0006", "AALPN0007", "AALPN0008"
NO_WAITING, NO_CLIENT, NO_PLACES, NO_WATCHDOG = "AALPN0030", "AALPN0031", "AALPN0032", "AALPN0217"
KEY_TYPES = ("EC-P256", "RSA-2048", "EC-P384")


@pytest.fixture
def httpd(make_httpd: StartHttpd, authority: Authority) -> Httpd:
    httpd = make_httpd(modules=MODULES, expects_watch=True)
    httpd.server_lines += LOCATION
    httpd.vhost(NAME, credentials=[authority.issue(NAME)])
    httpd.log.allow("AALPN0211")
    return httpd


def started(httpd: Httpd, *functions: str) -> Faults:
    faults = Faults(httpd)
    faults.begin(*functions)
    httpd.start()
    return faults


def test_without_a_fault_nothing_is_told(httpd: Httpd) -> None:
    started(httpd)
    assert_answered(httpd, NAME, httpd.spool.publish(NAME))


def test_without_keys_challenges_are_refused(httpd: Httpd) -> None:
    started(httpd, "EVP_PKEY_keygen")
    assert_refused(httpd, NAME, "no-entry")
    httpd.spool.publish(NAME)
    assert not client.handshake(httpd.address(), NAME).chain
    httpd.log.expect(REFUSED, r"\breason=system-error\b")
    for key_type in KEY_TYPES:
        assert httpd.log.expect(NO_KEY, f"no key of type {key_type} ")[0].level == "error"


def test_without_a_cache_certificates_are_minted(httpd: Httpd) -> None:
    started(httpd, "apr_thread_mutex_create")
    httpd.log.allow(NO_CACHE)
    assert httpd.log.expect(NO_CACHE)[0].level == "error"
    key_authorization = httpd.spool.publish(NAME)
    count = 3 * len(httpd.children())
    for _ in range(count):
        assert_answered(httpd, NAME, key_authorization)
    counters = as_json(httpd)["counters"]
    assert (counters["minted"], counters["cached"]) == (count, 0)


def test_without_shared_memory_each_child_keeps_a_record(httpd: Httpd) -> None:
    started(httpd, "apr_shm_create")
    assert httpd.log.expect(NO_RECORD)[0].level == "warn"
    one, other = sorted(httpd.children())[:2]
    with httpd.only_child(one):
        assert_answered(httpd, NAME, httpd.spool.publish(NAME))
        assert [row["identifier"] for row in as_json(httpd)["handshakes"]] == [NAME]
    with httpd.only_child(other):
        assert as_json(httpd)["handshakes"] == []


def test_record_of_another_layout_is_forgotten_though_none_can_be_made(httpd: Httpd) -> None:
    """And there is one again as soon as that can be made."""
    faults = started(httpd)
    faults.begin("apr_shm_size_get", "apr_shm_create")
    for _ in range(2):
        httpd.reload()
        httpd.log.expect(NO_RECORD)
    faults.end()
    httpd.reload()
    assert_answered(httpd, NAME, httpd.spool.publish(NAME))
    for child in sorted(httpd.children())[:2]:
        with httpd.only_child(child):
            assert [row["identifier"] for row in as_json(httpd)["handshakes"]] == [NAME]


@pytest.mark.parametrize(
    ("function", "tags"), [("apr_shm_create", (NO_WAITING, NO_PLACES)), ("SSL_CTX_new", (NO_CLIENT,))]
)
def test_upstreams_are_not_asked(function: str, tags: tuple[str, ...], httpd: Httpd) -> None:
    httpd.vhosts[0].lines.append("AcmeAlpnUpstream 127.0.0.1:9")
    for tag in (*tags, NO_RECORD):
        httpd.log.allow(tag)
    started(httpd, function)
    assert [httpd.log.expect(tag)[0].level for tag in tags] == ["error" for _ in tags]
    assert_refused(httpd, NAME, "system-error")
    assert as_json(httpd)["counters"]["relays"] == 0
    assert_answered(httpd, NAME, httpd.spool.publish(NAME))


def test_without_mod_watchdog_nobody_watches(httpd: Httpd) -> None:
    started(httpd, "apr_dynamic_fn_retrieve")
    assert httpd.log.expect(NO_WATCHDOG)[0].level == "notice"
    assert_answered(httpd, NAME, httpd.spool.publish(NAME))
