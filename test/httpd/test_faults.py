"""What fails beneath the module at the start: the log tells what does not work, or why httpd does not start."""

from __future__ import annotations

import pytest
from conftest import StartHttpd
from harness import client
from harness.challenge import REFUSED, assert_answered, assert_refused
from harness.faults import Faults
from harness.pki import Authority
from harness.server import Httpd, HttpdFailed
from harness.status import LOCATION, MODULES, as_json

NAME = "fault.test"
NO_KEY, NO_CACHE, NO_MEMORY = "AALPN0006", "AALPN0007", "AALPN0008"
NO_CLIENT, NO_ROW, NO_WATCHDOG = "AALPN0031", "AALPN0034", "AALPN0217"
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
        assert httpd.log.expect(NO_KEY, rf"\b{key_type}\b")[0].level == "error"


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


def test_without_shared_memory_httpd_does_not_start(httpd: Httpd) -> None:
    with pytest.raises(HttpdFailed, match="AALPN0008: httpd cannot start: .* shared memory"):
        started(httpd, "apr_shm_create")
    httpd.log.expect(NO_MEMORY, level="emerg")
    httpd.log.expect(pattern="AH00016")


def test_memory_is_there_over_a_reload(httpd: Httpd) -> None:
    faults = started(httpd)
    assert_answered(httpd, NAME, httpd.spool.publish(NAME))
    faults.begin("apr_shm_create")
    httpd.reload()
    for child in sorted(httpd.children())[:2]:
        with httpd.only_child(child):
            assert [row["identifier"] for row in as_json(httpd)["handshakes"]] == [NAME]


def test_upstreams_are_not_asked(httpd: Httpd) -> None:
    httpd.vhosts[0].lines.append("AcmeAlpnUpstream 127.0.0.1:9")
    httpd.log.allow(NO_CLIENT)
    started(httpd, "SSL_CTX_new")
    assert httpd.log.expect(NO_CLIENT)[0].level == "error"
    assert_refused(httpd, NAME, "system-error")
    assert as_json(httpd)["counters"]["relays"] == 0
    assert_answered(httpd, NAME, httpd.spool.publish(NAME))


@pytest.mark.parametrize("stores", [255, 256])
def test_lines_of_stores_and_upstreams(httpd: Httpd, stores: int) -> None:
    """There can be 256; the same line in two vhosts is one."""
    httpd.vhosts[0].lines.append("AcmeAlpnUpstream 127.0.0.1:9")
    httpd.server_lines.append("AcmeAlpnUpstream 127.0.0.1:9")
    httpd.server_lines += [f"AcmeAlpnStore redis://127.0.0.1:{port}" for port in range(1, stores + 1)]
    if stores == 255:
        httpd.start()
        return
    with pytest.raises(HttpdFailed, match="AALPN0034: httpd cannot start: .*256"):
        httpd.start()
    httpd.log.expect(NO_ROW, level="emerg")
    httpd.log.expect(pattern="AH00016")


def test_without_mod_watchdog_nobody_watches(httpd: Httpd) -> None:
    started(httpd, "apr_dynamic_fn_retrieve")
    assert httpd.log.expect(NO_WATCHDOG)[0].level == "notice"
    assert_answered(httpd, NAME, httpd.spool.publish(NAME))


def test_watch_finds_what_the_kernel_does_not_tell(httpd: Httpd) -> None:
    """Such as another node's write to a shared file system."""
    httpd.log_level += " acme_alpn:debug"
    started(httpd, "inotify_add_watch")
    httpd.log.expect("AALPN0220")
    httpd.spool.publish(NAME)
    httpd.log.expect("AALPN0211", f"file={NAME}: ")


def test_watch_asks_the_kernel_no_more_once_it_is_denied(httpd: Httpd) -> None:
    """As by SELinux, which logs each try."""
    faults = Faults(httpd)
    faults.begin("inotify_add_watch", "denied")
    denied = httpd.root / "faults" / "denied"
    denied.chmod(0o666)
    httpd.start()
    httpd.log.expect("AALPN0218", r"\(13\)Permission denied: ")
    for name in (NAME, "another.test"):
        httpd.spool.publish(name)
        httpd.log.expect("AALPN0211", f"file={name}: ")
    assert denied.stat().st_size == 1
