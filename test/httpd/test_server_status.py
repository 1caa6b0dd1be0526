"""What httpd's own status page (mod_status) says of the module, to people and to monitors."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from conftest import StartHttpd
from harness import client
from harness.challenge import assert_answered, assert_incomplete, assert_refused
from harness.pki import Authority
from harness.server import REPOSITORY, Httpd
from harness.spool import KeyAuthorization
from harness.status import LOCATION, MODULES, PATH, request

NAME, TWIN = "status.test", "twin.test"
SERVER_STATUS = "/server-status"
SERVER_LOCATION = [f"<Location {SERVER_STATUS}>", "SetHandler server-status", "Require local", "</Location>"]
KEYS = ["Pending", "Answered", "Refused", "Incomplete", "StoresDown", "VhostsWithProblems", "Vhosts"]
NO_COMMON_SUITE = ("-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256", "-cipher", "DEFAULT@SECLEVEL=0")


def with_mod_status(make_httpd: StartHttpd, authority: Authority, *lines: str, page: list[str] | None = None) -> Httpd:
    httpd = make_httpd(modules=[*MODULES, "status"])
    httpd.server_lines += [*SERVER_LOCATION, *(LOCATION if page is None else page)]
    httpd.vhost(NAME, credentials=[authority.issue(NAME)], lines=lines)
    return httpd


def auto(httpd: Httpd) -> list[int]:
    """The numbers of ?auto, which are in the order of KEYS."""
    lines = re.findall(r"^AcmeAlpn(\w+): (\d+)$", request(httpd, path=f"{SERVER_STATUS}?auto").text, re.MULTILINE)
    assert [key for key, _ in lines] == KEYS
    return [int(number) for _, number in lines]


def section(httpd: Httpd, query: str = "") -> ElementTree.Element | None:
    """Our part of the HTML, which has to be well-formed."""
    page = request(httpd, path=SERVER_STATUS + query)
    assert page.status == 200
    found = re.findall(r"<hr>\n(<h3>ACME challenges .*?)(?=<hr|</body>)", page.text, re.DOTALL)
    assert len(found) <= 1 and ("ACME" in page.text) == bool(found)
    return ElementTree.fromstring(f"<section>{found[0]}</section>") if found else None


def told(httpd: Httpd, query: str = "") -> list[int]:
    """Its numbers, in the same order."""
    part = section(httpd, query)
    assert part is not None and part.find("table") is None
    lines = [line.text or "" for line in part.findall("dl/dt")]
    assert [re.sub(r"\d+", "N", line) for line in lines] == [
        "Pending: N",
        "Handshakes answered: N - refused: N - incomplete: N",
        "Stores that fail: N",
        "TLS vhosts with problems: N of N",
    ]
    return [int(number) for number in re.findall(r"\d+", " ".join(lines))]


def link(httpd: Httpd) -> str | None:
    part = section(httpd)
    assert part is not None
    links = part.findall("p/a")
    return links[0].attrib["href"] if links else None


@pytest.mark.parametrize("extended", ["On", "Off"])
def test_numbers_move(extended: str, make_httpd: StartHttpd, authority: Authority) -> None:
    """The two vhosts share a store, and with two ages the spool: each name and store counts once."""
    lines = ["AcmeAlpnStore unix:///nonexistent/nobody"]
    httpd = with_mod_status(make_httpd, authority, *lines)
    httpd.vhost(TWIN, credentials=[authority.issue(TWIN)], lines=[*lines, "AcmeAlpnMaxAge 2d"])
    httpd.server_lines.append(f"ExtendedStatus {extended}")
    httpd.log.allow(pattern="AcmeAlpnStore|source=store")
    httpd.start()

    def numbers() -> dict[str, int]:
        found = auto(httpd)
        assert told(httpd) == told(httpd, "?notable") == found
        return {key: number for key, number in zip(KEYS, found, strict=True) if number}

    expected = {"Vhosts": 2}
    assert numbers() == expected
    value = httpd.spool.publish(NAME)
    httpd.spool.publish(TWIN)
    httpd.spool.write("bad.test", b"rubbish\n")
    assert numbers() == (expected := {**expected, "Pending": 2})
    assert_answered(httpd, NAME, value)
    assert numbers() == (expected := {**expected, "Answered": 1})
    assert_incomplete(httpd, lambda: client.s_client(httpd.address(), NAME, *NO_COMMON_SUITE), NAME)
    assert numbers() == (expected := {**expected, "Incomplete": 1})
    httpd.spool.withdraw(NAME)
    assert_refused(httpd, NAME, "store-unreachable")
    assert numbers() == {**expected, "Pending": 1, "Refused": 1, "StoresDown": 1, "VhostsWithProblems": 2}


def test_no_more_entries_are_read_than_for_the_page(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = with_mod_status(make_httpd, authority).start()
    for number in range(300):
        httpd.spool.write(f"n{number}.test", KeyAuthorization.new().text.encode())
    assert auto(httpd)[0] == told(httpd)[0] == 200


# The link


@pytest.mark.parametrize("path", [PATH, "/a b&c=\"<d>'%", "/\u00fc"])
def test_link_leads_to_the_page(path: str, make_httpd: StartHttpd, authority: Authority) -> None:
    quoted = path.replace('"', '\\"')
    httpd = with_mod_status(make_httpd, authority, page=[f'<Location "{quoted}">', *LOCATION[1:]]).start()
    target = link(httpd)
    assert target is not None and target.isascii()
    assert request(httpd, path=target).headers["Content-Type"] == "text/html; charset=utf-8"
    assert "ACME challenges on this server" in request(httpd, path=target).text


ELSEWHERE: dict[str, list[str]] = {
    "nowhere": [],
    "pattern": ["<LocationMatch ^/acme>", *LOCATION[1:-1], "</LocationMatch>"],
    "regex": ['<Location ~ "^/acme">', *LOCATION[1:]],
    "wildcard": ["<Location /acme*>", *LOCATION[1:]],
    "other-handler": ["<Location /other>", "SetHandler acme-alpn-status-2", "</Location>"],
}


@pytest.mark.parametrize("where", ELSEWHERE)
def test_no_link_where_no_path_is_known(where: str, make_httpd: StartHttpd, authority: Authority) -> None:
    assert link(with_mod_status(make_httpd, authority, page=ELSEWHERE[where]).start()) is None


@pytest.mark.parametrize("own", [True, False])
def test_link_is_the_vhosts_own(own: bool, make_httpd: StartHttpd, authority: Authority) -> None:
    """The default vhost is asked; the page may be in it or in another one."""
    httpd = with_mod_status(make_httpd, authority, *(LOCATION if own else []), page=[])
    httpd.vhost(TWIN, credentials=[authority.issue(TWIN)], lines=LOCATION)
    httpd.start()
    assert link(httpd) == (PATH if own else None)


@pytest.mark.parametrize("own", [True, False])
def test_main_servers_page_is_every_vhosts(own: bool, make_httpd: StartHttpd, authority: Authority) -> None:
    """The vhost's own comes first. httpd takes a handler in any case."""
    httpd = with_mod_status(make_httpd, authority, *(LOCATION if own else []), page=[])
    httpd.server_lines += ["<Location /main>", "SetHandler ACME-ALPN-Status", "</Location>"]
    httpd.start()
    assert link(httpd) == (PATH if own else "/main")


def test_no_section_where_nothing_is_answered(make_httpd: StartHttpd, authority: Authority) -> None:
    httpd = with_mod_status(make_httpd, authority, "AcmeAlpnEngine Off").start()
    assert section(httpd) is None
    assert auto(httpd) == [0, 0, 0, 0, 0, 1, 1]


# The manual


def test_manual_names_the_lines(make_httpd: StartHttpd, authority: Authority) -> None:
    manual = (REPOSITORY / "docs" / "status.md").read_text()
    example = re.findall(r"^    AcmeAlpn(\w+): \d+$", manual, re.MULTILINE)
    explained = re.findall(r"^\| `AcmeAlpn(\w+)` \|", manual, re.MULTILINE)
    httpd = with_mod_status(make_httpd, authority).start()
    assert len(auto(httpd)) == len(KEYS) and example == explained == KEYS
