"""The status page: a row and a counter for each outcome and source, and a problem for each way to set a vhost up wrongly."""

from __future__ import annotations

import os
import pwd
import re
import time
from typing import Any

import pytest
from conftest import StartHttpd
from harness.challenge import assert_answered
from harness.md import load_mod_md
from harness.pki import Authority
from harness.redis import Redis
from harness.server import REPOSITORY, USER, Httpd
from harness.spool import KeyAuthorization, Spool
from harness.status import LOCATION, MODULES, PATH, as_json, as_text, metrics
from harness.upstream import Upstream, certificate, serve

NAME = "row.test"
SHIPPED = REPOSITORY / "conf" / "acme_alpn.conf.in"


def make(make_httpd: StartHttpd, authority: Authority, *lines: str) -> Httpd:
    httpd = make_httpd(modules=MODULES)
    httpd.server_lines += LOCATION
    httpd.vhost(NAME, credentials=[authority.issue(NAME)], lines=lines)
    return httpd


@pytest.fixture
def httpd(make_httpd: StartHttpd, authority: Authority) -> Httpd:
    return make(make_httpd, authority).start()


def assert_row(httpd: Httpd, **expected: object) -> Any:
    """Of the last handshake, in the JSON and on the page."""
    told = as_json(httpd)
    row = told["handshakes"][0]
    assert {name: row[name] for name in expected} == expected
    cells = as_text(httpd).row(row["peer"], str(row["outcome"]))
    assert {row["tag"], row["source"], row["tls"]} <= set(" ".join(cells).split())
    return told


# Outcomes and sources


@pytest.mark.parametrize("source", ["module", "store", "upstream"])
def test_answer_of_each_source_is_told(source: str, make_httpd: StartHttpd, authority: Authority) -> None:
    value = KeyAuthorization.new()
    with Redis() as redis, Upstream(serve(certificate([NAME], value.digest))) as upstream:
        lines = {"store": f"AcmeAlpnStore {redis.url} timeout=2s", "upstream": f"AcmeAlpnUpstream {upstream} timeout=5s"}
        httpd = make(make_httpd, authority, *([lines[source]] if source in lines else []))
        store = load_mod_md(httpd, "before", (NAME,))
        httpd.start()
        redis.publish(NAME, value.text)
        if source == "module":
            value = store.publish(NAME)
        assert_answered(httpd, NAME, value, source=source)
        told = assert_row(httpd, outcome="answered", source=source, identifier=NAME, key="EC-P256", tls="TLSv1.3")
        counted = dict.fromkeys(("spool", "module", "store", "upstream"), 0)
        assert told["counters"]["answered"] == {**counted, source: 1}
        assert told["counters"]["relays"] == metrics(httpd)["acme_alpn_relays_total"] == int(source == "upstream")
        assert metrics(httpd)[f'acme_alpn_handshakes_answered_total{{source="{source}"}}'] == 1


def test_certificates_and_durations_are_counted(httpd: Httpd) -> None:
    value = httpd.spool.publish(NAME)
    with httpd.only_child(min(httpd.children())):
        for _ in range(3):
            assert_answered(httpd, NAME, value)
    told, numbers = as_json(httpd), metrics(httpd)
    counters = told["counters"]
    assert (counters["minted"], counters["cached"]) == (1, 2)
    assert numbers['acme_alpn_certificates_total{origin="cache"}'] == 2
    assert as_text(httpd).row("certificates from the cache")[1].strip() == "2"
    total = sum(row["duration_seconds"] for row in told["handshakes"])
    assert total > 0 and counters["answered_seconds"] == pytest.approx(total)
    assert numbers["acme_alpn_handshake_duration_seconds_sum"] == pytest.approx(total)
    assert numbers["acme_alpn_handshake_duration_seconds_count"] == 3


# Spools and vhosts


def problems(httpd: Httpd) -> list[str]:
    (vhost,) = as_json(httpd)["vhosts"]
    told = [str(problem["reason"]) for problem in vhost["problems"]]
    state = as_text(httpd).row(NAME, "AcmeAlpnEngine")[2]
    assert all(f"{problem['reason']}: {problem['text']}" in state for problem in vhost["problems"])
    return told


def test_spool_that_httpd_can_write_is_told(httpd: Httpd) -> None:
    assert problems(httpd) == []
    user = pwd.getpwnam(USER)
    os.chown(httpd.spool.path, user.pw_uid, user.pw_gid)
    assert problems(httpd) == ["spool-owner"]
    os.chown(httpd.spool.path, 0, 0)
    assert problems(httpd) == []


def test_unsafe_parent_is_told(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make(make_httpd, authority)
    parent = httpd.root / "parent"
    parent.mkdir()
    spool = Spool(parent / "spool").create()
    httpd.vhosts[0].lines.append(f"AcmeAlpnSpool {spool.path}")
    httpd.start()
    assert problems(httpd) == []
    parent.chmod(0o777)
    assert problems(httpd) == ["spool-parent"]
    assert str(parent) in as_json(httpd)["vhosts"][0]["problems"][0]["text"]


@pytest.mark.parametrize(("age", "shown"), [(3 * 3600, "h"), (-60, "s")])
def test_age_of_an_entry_is_told(age: int, shown: str, httpd: Httpd) -> None:
    began = time.monotonic()
    httpd.spool.write(NAME, KeyAuthorization.new().text.encode(), age=age)
    (entry,) = as_json(httpd)["spools"][0]["entries"]
    passed = time.monotonic() - began
    assert age - 1 <= entry["age_seconds"] <= age + passed + 1
    assert re.fullmatch(rf"-?\d+ {shown}", as_text(httpd).row(NAME, "valid")[1])


# What is shipped


def test_shipped_configuration_works_when_all_of_it_is_uncommented(
    make_httpd: StartHttpd, authority: Authority
) -> None:
    httpd = make_httpd(modules=MODULES)
    text = SHIPPED.read_text().replace("@spooldir@", str(httpd.spool.path))
    lines = [line[1:] for line in text.splitlines() if re.match(r"#(?:\S| {4})", line)]
    assert f'<Location "{PATH}">' in lines and len(lines) > 6
    httpd.server_lines += lines
    httpd.vhost(NAME, credentials=[authority.issue(NAME)])
    assert httpd.configtest() == (0, "Syntax OK\n")
    httpd.start()
    (vhost,) = as_json(httpd)["vhosts"]
    written = {tuple(line.split()) for line in lines if line.startswith("AcmeAlpn")}
    told = {(item["directive"], item["value"].split()[0]) for item in vhost["settings"]}
    assert {(name, value) for name, value in written if name != "AcmeAlpnMaxAge"} <= told and vhost["problems"] == []
    assert_answered(httpd, NAME, httpd.spool.publish(NAME))
