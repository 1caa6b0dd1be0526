"""The status page: what it says of each way to fail, in all of its forms, and to whom."""

from __future__ import annotations

import base64
import hashlib
import os
import pwd
import re
import signal
import subprocess
import textwrap
import time
from collections import Counter
from datetime import datetime, timezone
from typing import Any, Callable

import pytest
from conftest import StartHttpd, checked
from harness import client, poll
from harness.challenge import assert_answered, assert_incomplete, assert_refused, wait_for_rate_limit
from harness.md import load_mod_md
from harness.pki import Authority
from harness.prometheus import PROMETHEUS, PROMTOOL, scraping
from harness.redis import Redis
from harness.server import REPOSITORY, USER, Httpd
from harness.spool import KeyAuthorization, Spool
from harness.status import LOCATION, MODULES, PATH, as_json, as_text, assert_told, metrics, request
from harness.upstream import Upstream, certificate, serve

NAME, OFF, MISSING, WRITABLE = "status.test", "off.test", "missing.test", "writable.test"
FILE, CLOSED = "file.test", "closed.test"
NO_COMMON_SUITE = ("-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256", "-cipher", "DEFAULT@SECLEVEL=0")
MANUAL = (REPOSITORY / "docs" / "status.md").read_text()
HOSTILE = "<script>\"'&%\\x=\x7f"


@pytest.fixture(scope="module")
def shared(make_shared_httpd: StartHttpd, authority: Authority) -> Httpd:
    httpd = make_shared_httpd(modules=MODULES)
    httpd.server_lines += LOCATION
    writable = Spool(httpd.root / "writable").create()
    closed = Spool(httpd.root / "closed").create()
    spools = {MISSING: httpd.root / "missing", WRITABLE: writable.path, CLOSED: closed.path, FILE: httpd.config}
    httpd.vhost(NAME, credentials=[authority.issue(NAME)])
    httpd.vhost(OFF, credentials=[authority.issue(OFF)], lines=["AcmeAlpnEngine Off"])
    for name, path in spools.items():
        httpd.vhost(name, credentials=[authority.issue(name)], lines=[f"AcmeAlpnSpool {path}"])
    writable.path.chmod(0o777)
    closed.path.chmod(0o744)
    httpd.log.allow("AALPN0002")
    return httpd.start()


# In the order of the vhosts above.
VHOST_PROBLEMS = ["spool-missing", "spool-writable", "spool-unreadable", "spool-not-directory"]


@pytest.fixture
def httpd(shared: Httpd) -> Any:
    with checked(shared) as server:
        yield server
        for entry in shared.spool.path.iterdir():
            entry.rmdir() if entry.is_dir() and not entry.is_symlink() else entry.unlink()


# Every way to fail: the log, the page, the JSON and the metrics tell the same reason.


def valid() -> bytes:
    return KeyAuthorization.new().text.encode()


FAILURES: dict[str, tuple[str | None, Callable[[Httpd], object]]] = {
    "no-entry": (NAME, lambda httpd: None),
    "no-sni": (None, lambda httpd: None),
    "name-invalid": ("under_score.test", lambda httpd: None),
    "spool-missing": (MISSING, lambda httpd: None),
    "spool-writable": (WRITABLE, lambda httpd: None),
    "spool-not-directory": (FILE, lambda httpd: None),
    "spool-unreadable": (CLOSED, lambda httpd: None),
    "entry-unreadable": (NAME, lambda httpd: httpd.spool.write(NAME, valid(), mode=0o600)),
    "entry-symlink": (NAME, lambda httpd: (httpd.spool.path / NAME).symlink_to(httpd.config)),
    "entry-not-regular": (NAME, lambda httpd: (httpd.spool.path / NAME).mkdir()),
    "entry-owner": (NAME, lambda httpd: os.chown(httpd.spool.write(NAME, valid()), 4711, 4711)),
    "entry-writable": (NAME, lambda httpd: httpd.spool.write(NAME, valid(), mode=0o666)),
    "entry-too-large": (NAME, lambda httpd: httpd.spool.write(NAME, b"x" * 1025)),
    "entry-too-old": (NAME, lambda httpd: httpd.spool.write(NAME, valid(), age=86400 + 60)),
    "entry-future": (NAME, lambda httpd: httpd.spool.write(NAME, valid(), age=-3600)),
    "value-empty": (NAME, lambda httpd: httpd.spool.write(NAME, b"")),
    "value-lines": (NAME, lambda httpd: httpd.spool.write(NAME, b"one\ntwo\n")),
    "value-malformed": (NAME, lambda httpd: httpd.spool.write(NAME, b"rubbish\n")),
}


@pytest.mark.parametrize("reason", FAILURES)
def test_reason_of_a_failure_is_everywhere(reason: str, httpd: Httpd) -> None:
    name, prepare = FAILURES[reason]
    label = f'acme_alpn_handshakes_refused_total{{reason="{reason}"}}'
    before = metrics(httpd).get(label, 0)
    prepare(httpd)
    line = assert_refused(httpd, name, reason).text
    told = assert_told(httpd, reason, line)
    row = told["handshakes"][0]
    assert (row["identifier"] or row["sni"]) == name
    assert metrics(httpd)[label] == before + 1
    if reason.startswith(("entry-", "value-")):
        assert_entry_is_told(httpd, told, reason)
    if reason.startswith("spool-"):
        vhost = next(vhost for vhost in told["vhosts"] if vhost["name"] == name)
        assert reason in [problem["reason"] for problem in vhost["problems"]]


def assert_entry_is_told(httpd: Httpd, told: Any, reason: str) -> None:
    """Before any CA comes, among what is pending."""
    entry = next(entry for spool in told["spools"] for entry in spool["entries"] if entry["identifier"] == NAME)
    assert (entry["valid"], entry["reason"], entry["source"]) == (False, reason, "spool")
    assert as_text(httpd).row(NAME, reason)[:2] == [NAME, f"{reason}: {entry['text']}"]


def test_client_without_a_usable_key_type_is_told(httpd: Httpd) -> None:
    httpd.spool.publish(NAME)
    answer = client.s_client(httpd.address(), NAME, "-sigalgs", "ed25519")
    assert not answer.chain
    httpd.log.expect("AALPN0102", "reason=no-key-type ")
    row = as_json(httpd)["handshakes"][0]
    assert (row["outcome"], row["reason"], row["identifier"]) == ("refused", "no-key-type", NAME)
    assert as_text(httpd).row(row["peer"], "no-key-type")


def assert_incomplete_is_told(httpd: Httpd, text: str) -> dict[str, Any]:
    """The last handshake, in JSON."""
    row: dict[str, Any] = as_json(httpd)["handshakes"][0]
    assert (row["outcome"], row["tag"], row["reason"]) == ("incomplete", "AALPN0103", None)
    assert text in row["text"]
    assert any(row["text"] in cell for cell in as_text(httpd).row(row["peer"], "incomplete"))
    return row


def test_handshake_that_ends_early_is_told(httpd: Httpd) -> None:
    """Before it comes to the certificate: no cipher in common. The page tells what the CA will say."""
    before = metrics(httpd)["acme_alpn_handshakes_incomplete_total"]
    assert_incomplete(httpd, lambda: client.s_client(httpd.address(), NAME, *NO_COMMON_SUITE), NAME)
    assert metrics(httpd)["acme_alpn_handshakes_incomplete_total"] == before + 1
    row = assert_incomplete_is_told(httpd, "this server ended the handshake with the alert handshake failure (40)")
    assert (row["sni"], row["identifier"], row["alert"]) == (NAME, None, {"number": 40, "by": "server"})


def test_client_that_breaks_off_is_told(httpd: Httpd) -> None:
    """It does not trust a challenge certificate, which no CA's validator minds."""
    httpd.spool.publish(NAME)
    wait_for_rate_limit(httpd)
    client.s_client(httpd.address(), NAME, "-verify_return_error", "-tls1_3")
    row = assert_incomplete_is_told(httpd, "the client ended the handshake with the alert ")
    assert row["identifier"] == NAME and row["alert"]["by"] == "client"
    httpd.log.expect("AALPN0103", f"identifier={NAME} .* alert={row['alert']['number']} alert-by=client: ")


def test_answered_handshake_is_told(httpd: Httpd) -> None:
    key_authorization = httpd.spool.publish(NAME)
    before = metrics(httpd)
    assert_answered(httpd, NAME, key_authorization)
    told, after = as_json(httpd), metrics(httpd)
    row = told["handshakes"][0]
    expected = {"identifier": NAME, "sni": None, "outcome": "answered", "tag": "AALPN0101", "key": "EC-P256"}
    expected |= {"source": "spool", "vhost": NAME, "tls": "TLSv1.3", "reason": None}
    assert expected.items() <= row.items() and 0 < row["duration_seconds"] < 60
    entries = [entry for spool in told["spools"] for entry in spool["entries"]]
    assert [(entry["identifier"], entry["valid"]) for entry in entries] == [(NAME, True)]
    assert as_text(httpd).row(NAME, "valid")
    label = 'acme_alpn_handshakes_answered_total{source="spool"}'
    assert after[label] == before[label] + 1 == told["counters"]["answered"]["spool"]
    minted = [numbers['acme_alpn_certificates_total{origin="minted"}'] for numbers in (before, after)]
    assert minted[1] == minted[0] + 1


@pytest.mark.parametrize("source", ["module", "store", "upstream"])
def test_answer_of_each_source_is_told(source: str, make_httpd: StartHttpd, authority: Authority) -> None:
    value = KeyAuthorization.new()
    with Redis() as redis, Upstream(serve(certificate([NAME], value.digest))) as upstream:
        lines = {"store": f"AcmeAlpnStore {redis.url} timeout=5s", "upstream": f"AcmeAlpnUpstream {upstream}"}
        httpd = fresh(make_httpd, authority, *([lines[source]] if source in lines else []))
        store = load_mod_md(httpd, "before", (NAME,))
        httpd.start()
        redis.publish(NAME, value.text)
        if source == "module":
            value = store.publish(NAME)
        assert_answered(httpd, NAME, value, source=source)
    told = as_json(httpd)
    row = told["handshakes"][0]
    assert (row["outcome"], row["source"], row["identifier"], row["key"]) == ("answered", source, NAME, "EC-P256")
    assert {row["tag"], source, row["tls"]} <= set(" ".join(as_text(httpd).row(row["peer"], "answered")).split())
    counted = dict.fromkeys(("spool", "module", "store", "upstream"), 0)
    assert told["counters"]["answered"] == {**counted, source: 1}
    assert told["counters"]["relays"] == metrics(httpd)["acme_alpn_relays_total"] == int(source == "upstream")
    assert metrics(httpd)[f'acme_alpn_handshakes_answered_total{{source="{source}"}}'] == 1


def fresh(make_httpd: StartHttpd, authority: Authority, *lines: str) -> Httpd:
    httpd = make_httpd(modules=MODULES)
    httpd.server_lines += LOCATION
    httpd.vhost(NAME, credentials=[authority.issue(NAME)], lines=lines)
    return httpd


def test_certificates_and_durations_are_counted(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = fresh(make_httpd, authority).start()
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


# Times


def test_age_of_an_entry_is_told(httpd: Httpd) -> None:
    for age in (3 * 3600, -60):
        began = time.monotonic()
        httpd.spool.write(NAME, valid(), age=age)
        (entry,) = [entry for spool in as_json(httpd)["spools"] for entry in spool["entries"]]
        assert age - 1 <= entry["age_seconds"] <= age + time.monotonic() - began + 1


UNITS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400}


def in_words(age: int) -> str:
    """At least two of the largest unit."""
    if abs(age) < 2:
        return "just now"
    unit, size = [(unit, size) for unit, size in UNITS.items() if size == 1 or abs(age) >= 2 * size][-1]
    return f"{abs(age) // size} {unit} {'ago' if age > 0 else 'in the future'}"


def test_words_and_exact_time_agree(make_httpd: StartHttpd, authority: Authority) -> None:
    """Of each entry, of the handshakes and of the counters. Some ages are seconds before the next unit."""
    httpd = fresh(make_httpd, authority).start()
    assert_answered(httpd, NAME, httpd.spool.publish(NAME))
    ages = [-200, -60, 0, 60, 117, 120, 7000, 7200, 86400, 172700, 172800, 10**7]
    for age in ages:
        httpd.spool.write(f"n{age}.test".replace("-", "m"), valid(), age=age)
    now = time.time()
    page = request(httpd, accept="text/html").text
    told = re.findall(r'<time datetime="([^"]+)">([^<]+)</time> <span class=dim>([^<]+)</span>', page)
    assert len(told) == page.count("<time datetime") == len(ages) + 3
    for exact, words, beside in told:
        assert exact == beside
        age = now - datetime.strptime(exact, "%Y-%m-%dT%H:%M:%S%z").timestamp()
        assert words in {in_words(int(age) + more) for more in (-2, -1, 0, 1, 2)}, exact
    assert {"just now", "3 minutes in the future", "2 hours ago", "115 days ago"} <= {words for _, words, _ in told}
    written = {int((httpd.spool.path / entry).stat().st_mtime) for entry in httpd.spool.entries()}
    stamps = {datetime.fromtimestamp(when, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ") for when in written}
    entries = as_json(httpd)["spools"][0]["entries"]
    assert {entry["time"] for entry in entries} == stamps <= {exact for exact, _, _ in told}


# What is wrong comes first


def test_problems_come_first(httpd: Httpd) -> None:
    """Each once, with the path of an entry; a vhost with Engine Off is none."""
    httpd.spool.write(NAME, b"rubbish\n")
    httpd.spool.publish("good.test")
    told, text = as_json(httpd), as_text(httpd)
    assert list(text.sections) == ["problems", "pending", "handshakes", "counters", "vhosts"]
    problems = text.sections["problems"]
    wanted = [problem for vhost in told["vhosts"] for problem in vhost["problems"] if vhost["name"] != OFF]
    assert [problem["reason"] for problem in wanted] == VHOST_PROBLEMS
    assert all(f"{problem['reason']}: {problem['text']}" in problems for problem in wanted)
    assert f"value-malformed: {httpd.spool.path}/{NAME}: the entry is neither" in problems
    assert "engine-off" not in problems and "good.test" not in problems
    numbers = {"problems": len(wanted) + 1, "pending": 1, "TLS vhosts": len(told["vhosts"])}
    assert numbers.items() <= text.numbers.items()


def test_nothing_is_wrong(make_httpd: StartHttpd, authority: Authority) -> None:
    """Also where two vhosts share a problem, which is listed once."""
    httpd = fresh(make_httpd, authority)
    httpd.vhost(OFF, credentials=[authority.issue(OFF)], lines=["AcmeAlpnMaxAge 2d"])
    httpd.start()
    text = as_text(httpd)
    zeros = dict.fromkeys(("problems", "pending", "answered", "refused", "incomplete"), 0)
    assert text.numbers == {**zeros, "TLS vhosts": 2}
    assert text.sections["problems"].strip() == "Nothing is wrong" and "Entries: 0" in text.all
    httpd.spool.write(NAME, b"rubbish\n")
    text = as_text(httpd)
    assert text.numbers["problem"] == 1 and text.sections["problems"].count("value-malformed") == 1
    httpd.spool.path.chmod(0o777)
    httpd.log.allow("AALPN0002")
    text = as_text(httpd)
    assert text.numbers["problem"] == 1 and text.sections["problems"].count("spool-writable") == 1


def test_nothing_is_said_of_entries_that_are_not_read(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = fresh(make_httpd, authority).start()
    for number in range(200):
        httpd.spool.write(f"n{number}.test", valid())
    assert as_text(httpd).sections["problems"].strip() == "Nothing is wrong"
    httpd.spool.write(NAME, valid())
    text = as_text(httpd)
    assert text.numbers["problems"] == 0 and "Nothing is wrong" not in text.all
    assert text.sections["problems"].strip() == "No problem among the entries that this page read"


def test_wrong_entries_precede_the_others(httpd: Httpd) -> None:
    """Among 300, of which the page reads 200. The first problems are listed, and the others counted."""
    for number in range(300):
        httpd.spool.write(f"n{number}.test", valid() if number % 3 else b"rubbish")
    told, text = as_json(httpd), as_text(httpd)
    spool = next(spool for spool in told["spools"] if spool["directory"] == str(httpd.spool.path))
    states = [entry["valid"] for entry in spool["entries"]]
    bad = states.count(False)
    assert len(states) == 200 and 20 < bad < 200 and states == sorted(states)
    names = [entry["identifier"] for entry in spool["entries"]]
    assert names == sorted(names[:bad]) + sorted(names[bad:])
    rows = [row[0] for row in text.rows if re.fullmatch(r"n\d+\.test", row[0])]
    assert rows == names
    vhosts = text.numbers["problems"] - bad
    assert vhosts == len(VHOST_PROBLEMS)
    problems = text.sections["problems"]
    assert problems.count("value-malformed") == 20 - vhosts and f"{bad + vhosts - 20} more" in problems
    assert "100 of 300 entries are not shown" in text.sections["pending"]


# Vhosts


def test_vhosts_say_what_is_wrong_with_them_first(httpd: Httpd) -> None:
    told = as_json(httpd)
    problems = {vhost["name"]: [problem["reason"] for problem in vhost["problems"]] for vhost in told["vhosts"]}
    assert problems == {
        OFF: ["engine-off"],
        MISSING: ["spool-missing"],
        WRITABLE: ["spool-writable"],
        CLOSED: ["spool-unreadable"],
        FILE: ["spool-not-directory"],
        NAME: [],
    }
    assert told["vhosts"][-1]["name"] == NAME
    assert (told["vhosts_total"], told["vhosts_with_problems"]) == (6, 5)
    settings = {item["directive"]: item["value"] for item in told["vhosts"][-1]["settings"]}
    expected = {"AcmeAlpnEngine": "On", "AcmeAlpnSpool": str(httpd.spool.path), "AcmeAlpnMaxAge": "86400s"}
    assert expected.items() <= settings.items()
    text = as_text(httpd)
    assert "ready" in text.row(NAME, "AcmeAlpnSpool")[1] and "engine-off" in text.row(OFF, "AcmeAlpnEngine")[1]


def test_spool_that_httpd_can_write_and_unsafe_parent_are_told(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = fresh(make_httpd, authority)
    parent = httpd.root / "parent"
    parent.mkdir()
    spool = Spool(parent / "spool").create()
    httpd.vhosts[0].lines.append(f"AcmeAlpnSpool {spool.path}")
    httpd.start()

    def problems() -> list[str]:
        (vhost,) = as_json(httpd)["vhosts"]
        state = as_text(httpd).row(NAME, "AcmeAlpnEngine")[1]
        assert all(f"{problem['reason']}: {problem['text']}" in state for problem in vhost["problems"])
        return [str(problem["reason"]) for problem in vhost["problems"]]

    assert problems() == []
    user = pwd.getpwnam(USER)
    os.chown(spool.path, user.pw_uid, user.pw_gid)
    assert problems() == ["spool-owner"]
    os.chown(spool.path, 0, 0)
    parent.chmod(0o777)
    assert problems() == ["spool-parent"]


def test_store_that_is_down_is_told(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make_httpd(modules=MODULES)
    httpd.server_lines += LOCATION
    urls = [f"unix://{httpd.root}/nobody", f"unix://{httpd.root}/nobody-either"]
    httpd.vhost(NAME, credentials=[authority.issue(NAME)], lines=[f"AcmeAlpnStore {url}" for url in urls])
    httpd.log.allow(pattern="AcmeAlpnStore|source=store")
    httpd.start()
    assert as_json(httpd)["vhosts"][0]["problems"] == []
    client.handshake(httpd.address(), NAME)
    vhost = as_json(httpd)["vhosts"][0]
    assert [problem["reason"] for problem in vhost["problems"]] == ["store-down"] * len(urls)
    assert [problem["text"].split(": ")[0] for problem in vhost["problems"]] == urls
    assert [item["value"] for item in vhost["settings"] if item["directive"] == "AcmeAlpnStore"] == urls
    assert as_json(httpd)["handshakes"][0]["reason"].startswith("store-")
    text = as_text(httpd)
    assert text.numbers["problems"] == 2 and all(f"store-down: {url}: " in text.sections["problems"] for url in urls)


# HTTP


def test_headers_let_nothing_in_and_nothing_out(httpd: Httpd) -> None:
    page = request(httpd)
    policy = page.headers["Content-Security-Policy"]
    (style,) = re.findall("<style>(.*?)</style>", page.text)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; ") and "unsafe" not in policy
    assert page.headers["Cache-Control"] == "no-store" and page.headers["X-Content-Type-Options"] == "nosniff"


def test_head_and_other_methods(httpd: Httpd) -> None:
    head = request(httpd, method="HEAD")
    assert (head.status, head.text) == (200, "") and int(head.headers["Content-Length"]) > 1000
    for method in ("POST", "PUT", "DELETE"):
        page = request(httpd, method=method)
        assert page.status == 405 and {"GET", "HEAD"} <= set(page.headers["Allow"].replace(" ", "").split(","))
    options = request(httpd, method="OPTIONS")
    assert (options.status, options.headers["Allow"]) == (200, "GET,HEAD,OPTIONS")


HTML, JSON, METRICS = "text/html; charset=utf-8", "application/json", "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS, PROTOBUF = "application/openmetrics-text", "application/vnd.google.protobuf"
# As Prometheus 2.22, 2.42 and 3.3 send it, and a newer one whose scrape_protocols has one format alone.
PROMETHEUS_ACCEPTS = [
    f"{OPENMETRICS}; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    f"{OPENMETRICS};version=1.0.0,{OPENMETRICS};version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    f"{OPENMETRICS};version=1.0.0;escaping=allow-utf-8;q=0.6,{OPENMETRICS};version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    f"{OPENMETRICS};version=1.0.0;escaping=underscores;q=0.6,*/*;q=0.5",
    f"{PROTOBUF};proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,*/*;q=0.5",
]


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, HTML),
        ("*/*", HTML),
        ("text/html,application/xhtml+xml,application/json;q=0.9", HTML),
        ("text/html, text/plain, text/sgml, text/css, */*;q=0.01", HTML),
        ("text/html;q=0.9,text/plain;q=0.8,*/*;q=0.5", HTML),
        ("text/plain;q=0, */*", HTML),
        ("application/json", JSON),
        ("application/json, text/plain, */*", JSON),
        ("Application/JSON; q=0.5, text/html;q=0.4", JSON),
        ("application/json;q=0", HTML),
        ("application/jsonp", HTML),
        ("application/json;q=nan", HTML),
        ("text/plain", METRICS),
        *((accept, METRICS) for accept in PROMETHEUS_ACCEPTS),
    ],
)
def test_form_is_what_the_client_accepts(accept: str | None, form: str, httpd: Httpd) -> None:
    page = request(httpd, accept=accept)
    assert (page.headers["Content-Type"], page.headers["Vary"]) == (form, "Accept")


# {0} is the parameter's name, which {1:x} and {2} spell in another way.
QUERIES = ["{0}", "{0}=", "{0}=1", "a=b&{0}=&c", "a&{0}", "&{0}&", "{0}&{0}", "%{1:x}{2}=", "x=%zz&{0}"]


NAMES = [("prometheus", METRICS, JSON), ("json&prometheus", METRICS, None), ("json", JSON, "text/html")]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize(("name", "form", "accept"), NAMES)
def test_form_is_what_the_query_names(query: str, name: str, form: str, accept: str | None, httpd: Httpd) -> None:
    page = request(httpd, path=f"{PATH}?{query.format(name, ord(name[0]), name[1:])}", accept=accept)
    assert page.headers["Content-Type"] == form and "Vary" not in page.headers


@pytest.mark.parametrize("query", ["", "a=prometheus", "prometheus1", "xjson=", "a%26prometheus"])
def test_query_that_names_no_form_is_ignored(query: str, httpd: Httpd) -> None:
    assert request(httpd, path=f"{PATH}?{query}").headers["Content-Type"] == HTML


def test_access_control_is_httpds(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make_httpd()
    httpd.server_lines += [line.replace("local", "all denied") for line in LOCATION]
    httpd.vhost(NAME, credentials=[authority.issue(NAME)])
    httpd.log.allow(pattern="AH01630")
    httpd.start()
    assert [request(httpd, path=PATH + query).status for query in ("", "?prometheus")] == [403, 403]


# Spools whose names look alike in some form, and what can be the same, or nearly, in two vhosts.
STRANGE = ["a", '"', "\\", '\\"', "a b", "\n", "\\n", "%0a", "%", "\udcff", "%ff", "\\xff", "\u00fc", "{},=", "#"]
AGES = ["1s", "1000ms", "1500ms", "1999ms", "2s", "60s", "1min"]
STORES = [f"AcmeAlpnStore redis://127.0.0.1:1{more}" for more in ("", " timeout=1s", " prefix=x", "/1")]
UPSTREAMS = [f"AcmeAlpnUpstream 127.0.0.1:1 {more}" for more in ("", "timeout=1s", "max=1", "any-name")]


@pytest.fixture(scope="module")
def twins(make_shared_httpd: StartHttpd, authority: Authority) -> Httpd:
    httpd = make_shared_httpd(modules=MODULES)
    spools = [Spool(httpd.root / f"spool-{name}").create() for name in STRANGE]
    # A newline, or what is not UTF-8, comes into a configuration with a variable alone.
    quoted = [str(spool.path).replace("\\", "\\\\").replace('"', '\\"') for spool in spools]
    httpd.environment = {f"SPOOL{number}": path for number, path in enumerate(quoted)}
    paths = [*(f'"${{{name}}}"' for name in httpd.environment), httpd.spool.path, "spool"]
    lines = [[f"AcmeAlpnSpool {path}", f"AcmeAlpnMaxAge {age}"] for path in paths for age in AGES]
    lines += [*([line] for line in STORES + UPSTREAMS), STORES[:1] * 2, UPSTREAMS[:1] * 2, STORES + UPSTREAMS]
    for some in lines:
        httpd.vhost("same.test", credentials=[authority.issue("same.test")], lines=some)
    httpd.vhost("localhost", credentials=[authority.issue("localhost")])
    httpd.server_lines += LOCATION
    return httpd.start()


def test_no_series_comes_twice(twins: Httpd) -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="python3-prometheus-client is missing")
    families = list(parser.text_string_to_metric_families(request(twins, path=f"{PATH}?prometheus").text))
    assert {family.type for family in families} <= {"counter", "gauge", "summary"}
    assert all(family.documentation and family.name.startswith("acme_alpn_") for family in families)
    samples = [sample for family in families for sample in family.samples]
    labels = {label for sample in samples for label in sample.labels}
    assert labels == {"source", "reason", "origin", "spool", "max_age_seconds", "accounts"}
    series = Counter((sample.name, *sorted(sample.labels.items())) for sample in samples)
    assert [item for item, times in series.items() if times > 1] == []
    shown = Counter(sample.labels["spool"] for sample in samples if sample.name == "acme_alpn_spool_usable")
    assert shown.keys() == {spool["directory"] for spool in as_json(twins)["spools"]}
    # Each with 1, 2 and 60 seconds, and the shared one with the default too.
    assert len(shown) == len(STRANGE) + 1 and shown.pop(str(twins.spool.path)) == 4 and set(shown.values()) == {3}
    assert {sample.value for sample in samples if sample.name == "acme_alpn_spool_usable"} == {1}


SCRAPE = textwrap.dedent("".join(re.findall(r"^    scrape_configs:\n(?:    .+\n)+", MANUAL, re.MULTILINE)))


@pytest.mark.skipif(not PROMETHEUS.exists(), reason="Debian's package prometheus is missing")
@pytest.mark.parametrize("more", ["", '    params: {prometheus: [""]}\n'], ids=["as-documented", "parameter"])
def test_prometheus_scrapes_it(more: str, twins: Httpd, authority: Authority) -> None:
    """As the manual has it; and it keeps each sample, but for those of a series that has one already."""
    page = request(twins, path=f"{PATH}?prometheus").text
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=page, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    config = SCRAPE.replace("www.example.com:443", f"localhost:{twins.address()[1]}")
    with scraping(config + more, authority) as prometheus:
        prometheus.wait_until_up()
        assert prometheus.number('scrape_samples_scraped - on() count({__name__=~"acme_alpn_.+"})') == 0


def test_counters_are_there_before_they_count(httpd: Httpd) -> None:
    """Prometheus's increase() sees no first increment of a series that comes with it."""
    manual = (REPOSITORY / "docs" / "messages.md").read_text().split("## Reasons")[1]
    reasons = set(re.findall(r"\n\| `([a-z-]+)` \|", manual))
    counted = [name for name in metrics(httpd) if name.startswith("acme_alpn_handshakes_refused_total{")]
    missing = {reason for reason in reasons if not any(f'"{reason}"' in name for name in counted)}
    assert len(reasons) > 40 and not missing


# Hostile names


@pytest.mark.parametrize("name", [HOSTILE, ".".join("x" * 62 for _ in range(4)) + "y"], ids=["markup", "long"])
def test_name_of_a_client_is_only_text(name: str, httpd: Httpd) -> None:
    reason = "no-entry" if name.endswith("y") else "name-invalid"
    line = assert_refused(httpd, name, reason).text
    row = as_json(httpd)["handshakes"][0]
    told = row["identifier"] or row["sni"]
    assert f"={told} peer=" in line
    assert as_text(httpd).row(told, reason)
    assert name not in request(httpd, path=f"{PATH}?prometheus").text


@pytest.mark.parametrize(
    ("name", "told"),
    [(b"<b onclick=x>\"'&", "<b onclick=x>\"'&"), (b"a\nb%\\", "a%0ab%25\\"), (b"\xff\xc3\xbc", "%ff%c3%bc")],
)
def test_name_of_a_file_is_only_text(name: bytes, told: str, httpd: Httpd) -> None:
    (httpd.spool.path / os.fsdecode(name)).write_bytes(b"x")
    entries = [entry for spool in as_json(httpd)["spools"] for entry in spool["entries"]]
    assert [entry["identifier"] for entry in entries] == [told] and not entries[0]["valid"]
    assert as_text(httpd).row("name-")[0] == told


# Bounds, and life


def test_large_spool_is_counted_and_not_read(httpd: Httpd) -> None:
    for number in range(300):
        (httpd.spool.path / f"n{number}.test").write_bytes(b"x")
    spool = next(spool for spool in as_json(httpd)["spools"] if spool["directory"] == str(httpd.spool.path))
    assert (spool["total"], spool["total_is_exact"], len(spool["entries"])) == (300, True, 200)


# What the page lists, and more than it lists.
LISTED, LISTED_SPOOLS = 1000, 64
VHOSTS = LISTED + 200


@pytest.mark.long
def test_more_vhosts_and_spools_than_are_listed_are_counted(make_httpd: StartHttpd, authority: Authority) -> None:
    """The last vhost is Off, those before it have a spool each; two first ones share another age in seconds."""
    httpd = make_httpd(modules=MODULES)
    httpd.server_lines += LOCATION
    lines: list[list[str]] = [[] for _ in range(VHOSTS)]
    lines[:2], lines[-1] = [["AcmeAlpnMaxAge 2d"], ["AcmeAlpnMaxAge 172800500ms"]], ["AcmeAlpnEngine Off"]
    for number in range(LISTED_SPOOLS):
        lines[-2 - number] = [f"AcmeAlpnSpool {Spool(httpd.root / f'spool-{number}').create().path}"]
    for number in range(VHOSTS):
        httpd.vhost(f"v{number}.test", credentials=[authority.issue(NAME)], lines=lines[number])
    told = as_json(httpd.start())
    names = [vhost["name"] for vhost in told["vhosts"]]
    assert names == [f"v{VHOSTS - 1}.test", *(f"v{number}.test" for number in range(LISTED - 1))]
    assert (told["vhosts_total"], told["vhosts_with_problems"]) == (VHOSTS, 1)
    # The shared one has two ages.
    assert (told["spools_total"], len(told["spools"])) == (LISTED_SPOOLS + 2, LISTED_SPOOLS)
    ages = [spool["max_age_seconds"] for spool in told["spools"] if spool["directory"] == str(httpd.spool.path)]
    assert ages == [2 * 86400, 86400]
    assert f"This page shows {LISTED_SPOOLS} of {LISTED_SPOOLS + 2} spools" in as_text(httpd).all
    numbers = metrics(httpd)
    assert (numbers["acme_alpn_vhosts"], numbers["acme_alpn_vhosts_with_problems"]) == (VHOSTS, 1)
    assert len([name for name in numbers if name.startswith("acme_alpn_spool_usable{")]) == LISTED_SPOOLS


def test_record_survives_a_reload_and_killed_children(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = fresh(make_httpd, authority).start()
    since = as_json(httpd)["since"]
    assert as_json(httpd)["handshakes"] == [] and "No TLS client has offered" in as_text(httpd).all
    httpd.log.allow("AALPN0102")
    for number in range(260):
        answer = client.handshake(httpd.address(), f"n{number}.test")
        assert answer.alert == client.NO_APPLICATION_PROTOCOL
    wanted = [f"n{number}.test" for number in range(259, 3, -1)]
    # Each has its row and its count, though most have no line in the log.
    assert [row["identifier"] for row in as_json(httpd)["handshakes"]] == wanted
    assert metrics(httpd)['acme_alpn_handshakes_refused_total{reason="no-entry"}'] == 260
    for _ in range(2):
        httpd.reload()
    httpd.log.allow(pattern=r"AH00052: child pid \d+ exit signal Killed \(9\)")
    for child in (killed := httpd.children()):
        os.kill(child, signal.SIGKILL)
    poll.until(lambda: httpd.children() and not httpd.children() & killed, poll.DEADLINE, "httpd has other children")
    told = as_json(httpd)
    assert told["since"] == since and [row["identifier"] for row in told["handshakes"]] == wanted


# The log


def test_debug_tells_the_story_of_a_connection(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make_httpd()
    httpd.vhost(NAME, credentials=[authority.issue(NAME)], lines=["LogLevel acme_alpn:debug"])
    httpd.server_lines += ["LogLevel acme_alpn:debug"]
    httpd.start()
    key_authorization = httpd.spool.publish(NAME)
    for certificate in ("minted", "cached") if httpd.mpm != "prefork" else ("minted",):
        with httpd.only_child(min(httpd.children())):
            assert_answered(httpd, NAME, key_authorization)
        told = ["AALPN0201", "AALPN0202", "AALPN0203", "AALPN0204", "AALPN0205", "AALPN0206"]
        records = {tag: httpd.log.expect(tag, level="debug")[0].text for tag in told}
        assert f"vhost={NAME} sni={NAME} tls=TLSv1.3" in records["AALPN0202"]
        assert f"source=spool file={httpd.spool.path}/{NAME} result=ok" in records["AALPN0203"]
        assert f"key=EC-P256 result=ok certificate={certificate}" in records["AALPN0204"]
    httpd.spool.withdraw(NAME)
    assert_refused(httpd, NAME, "no-entry")
    assert "result=no-entry" in httpd.log.expect("AALPN0203")[0].text
    httpd.log.expect("AALPN0206")


# What is shipped


def test_shipped_configuration_works_when_all_of_it_is_uncommented(
    make_httpd: StartHttpd, authority: Authority
) -> None:
    httpd = make_httpd(modules=MODULES)
    text = (REPOSITORY / "conf" / "acme_alpn.conf.in").read_text().replace("@spooldir@", str(httpd.spool.path))
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


# The manual


def documented(section: str) -> set[str]:
    """The names in the first cells of the section's table; one that starts with a dot goes on from the cell's first."""
    names: set[str] = set()
    for cell in re.findall(r"^\| (`.*?) \|", MANUAL.split(f"\n## {section}\n")[1].split("\n## ")[0], re.MULTILINE):
        first, *others = re.findall(r"`([^`]+)`", cell)
        names |= {first, *(first.rpartition(".")[0] + other if other.startswith(".") else other for other in others)}
    return names


def paths(value: Any, path: str) -> set[str]:
    """What is in the JSON, as the manual names it; lists of objects and what has labels of its own are a name as well."""
    if isinstance(value, list):
        return {f"{path}[]"}.union(*(paths(item, f"{path}[]") for item in value))
    if isinstance(value, dict) and path not in ("counters.answered", "counters.refused"):
        return set().union(*(paths(item, f"{path}.{name}".lstrip(".")) for name, item in value.items()))
    return {path}


def test_every_field_and_metric_is_documented_and_exists(httpd: Httpd) -> None:
    httpd.spool.publish(NAME)
    assert_refused(httpd, "nobody.test", "no-entry")
    assert_incomplete(httpd, lambda: client.s_client(httpd.address(), NAME, *NO_COMMON_SUITE), NAME)
    told = as_json(httpd)
    assert all(told[name] for name in ("spools", "handshakes", "vhosts"))
    parts = {"vhosts[].settings[]", "vhosts[].problems[]"}
    assert paths(told, "") - parts == documented("JSON")
    assert {name.partition("{")[0] for name in metrics(httpd)} == documented("Prometheus")
