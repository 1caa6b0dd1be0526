"""The directives: how they merge, and what they say to bad arguments."""

from __future__ import annotations

import re

import pytest
from conftest import StartHttpd
from harness import client
from harness.challenge import assert_answered, assert_refused, publish_and_check
from harness.pki import Authority
from harness.server import WATCH, Httpd
from harness.spool import Spool

HOUR = 3600


def vhosts(httpd: Httpd, authority: Authority, lines: dict[str, list[str]]) -> Httpd:
    for name, extra in lines.items():
        httpd.vhost(name, credentials=[authority.issue(name)], lines=extra)
    return httpd


def test_vhost_inherits_and_overrides_the_spool(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make_httpd()
    own = Spool(httpd.root / "own").create()
    vhosts(httpd, authority, {"inherits.test": [], "own.test": ["AcmeAlpnSpool own"]}).start()
    publish_and_check(httpd, "inherits.test")
    publish_and_check(httpd, "own.test", spool=own)
    own.publish("inherits.test")
    httpd.spool.publish("own.test")
    assert str(httpd.spool.path) in assert_refused(httpd, "inherits.test", "no-entry").text
    assert str(own.path) in assert_refused(httpd, "own.test", "no-entry").text


def test_vhost_inherits_and_overrides_the_age(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = make_httpd()
    httpd.server_lines.append("AcmeAlpnMaxAge 1h")
    ages = {"hour.test": "1h", "day.test": "1d", "minutes.test": "10min", "seconds.test": "30s", "bare.test": "30"}
    lines = {name: [f"AcmeAlpnMaxAge {age}"] for name, age in ages.items()}
    vhosts(httpd, authority, {**lines, "hour.test": []}).start()
    limits = {"hour.test": HOUR, "day.test": 24 * HOUR, "minutes.test": 600, "seconds.test": 30, "bare.test": 30}
    for name, limit in limits.items():
        key_authorization = httpd.spool.publish(name)
        content = key_authorization.text.encode()
        httpd.spool.write(name, content, age=limit - 15)
        assert_answered(httpd, name, key_authorization)
        httpd.spool.write(name, content, age=limit + 15)
        assert_refused(httpd, name, "entry-too-old")


@pytest.mark.parametrize("server_engine, vhost_engine", [("On", "Off"), ("Off", "Off"), (None, "Off"), ("Off", None)])
def test_engine_off_is_as_without_the_module(
    server_engine: str | None, vhost_engine: str | None, make_httpd: StartHttpd, authority: Authority
) -> None:
    name = "off.test"
    httpd, reference = make_httpd(), make_httpd(with_module=False)
    httpd.server_lines += [f"AcmeAlpnEngine {server_engine}"] if server_engine else []
    own = [f"AcmeAlpnEngine {vhost_engine}"] if vhost_engine else []
    vhosts(httpd, authority, {name: own, "on.test": ["AcmeAlpnEngine On"]}).start()
    vhosts(reference, authority, {name: [], "on.test": []}).start()
    httpd.spool.publish(name)
    for version in ("1.2", "1.3"):
        for offer in OFFERS:
            answers = [
                client.handshake(server.address(), name, alpn=offer, version=version) for server in (httpd, reference)
            ]
            off, without = ((answer.chain, answer.alpn, answer.alert, answer.error) for answer in answers)
            assert off == without
    publish_and_check(httpd, "on.test")
    # The watch tells of the entry, since the other vhost has the same spool.
    told = [record for record in httpd.log.refresh() if name in record.text and record.tag]
    assert not [record for record in told if not re.match(WATCH, record.text)]


OFFERS: list[list[str]] = [[], ["http/1.1"], ["acme-tls/1"], ["acme-tls/1", "http/1.1"]]

BAD = {
    "AcmeAlpnEngine": (["", "maybe", "1"], r"must be On or Off"),
    "AcmeAlpnSpool": (["", "''", "a b"], r"director|one argument"),
    "SSLOpenSSLConfCmd": (["Certificate file"], "Invalid command"),  # as without this module, which has it for mod_ssl's
    "AcmeAlpnMaxAge": (["", "never", "-1", "0", "1y", "5 hats", "99999999999999999999d"], r"unit|one argument"),
}


@pytest.mark.parametrize(
    "directive, argument, allowed",
    [(directive, argument, allowed) for directive, (bad, allowed) in BAD.items() for argument in bad],
)
def test_bad_argument_fails_configtest(directive: str, argument: str, allowed: str, make_httpd: StartHttpd) -> None:
    httpd = make_httpd(with_ssl=False)
    httpd.server_lines.append(f"{directive} {argument}")
    code, output = httpd.configtest()
    assert code == 1
    assert directive in output and re.search(allowed, output), output


@pytest.mark.parametrize("line", ["AcmeAlpnEngine Off", "AcmeAlpnMaxAge 12h", "AcmeAlpnMaxAge 3650d"])
def test_good_argument_passes_configtest(line: str, make_httpd: StartHttpd) -> None:
    httpd = make_httpd()
    httpd.server_lines.append(line)
    assert httpd.configtest() == (0, "Syntax OK\n")
