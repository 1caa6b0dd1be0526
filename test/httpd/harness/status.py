"""The status page as its readers see it: people, programs, and Prometheus."""

from __future__ import annotations

import http.client
import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from . import client, poll
from .server import Httpd

PATH = "/acme-alpn-status"
# For `Require local`.
MODULES = ["authz_host"]
LOCATION = [f"<Location {PATH}>", "SetHandler acme-alpn-status", "Require local", "</Location>"]


@dataclass(frozen=True)
class Page:
    status: int
    headers: dict[str, str]
    text: str


def request(httpd: Httpd, *, method: str = "GET", path: str = PATH, accept: str | None = None) -> Page:
    tls = client.context(alpn=[])
    connection = http.client.HTTPSConnection(*httpd.address(), timeout=client.TIMEOUT * poll.FACTOR, context=tls)
    try:
        connection.request(method, path, headers={"Accept": accept} if accept else {})
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    # All of it is ASCII, whatever is in the names.
    return Page(response.status, dict(response.getheaders()), body.decode("ascii"))


def as_json(httpd: Httpd) -> Any:
    page = request(httpd, accept="application/json")
    assert page.status == 200 and page.headers["Content-Type"] == "application/json"
    return json.loads(page.text)


class Text(HTMLParser):
    """What a reader of a page sees, by sections and cell by cell. Any other element or attribute fails."""

    # `p` inside cells, and no attribute that loads or runs anything.
    ELEMENTS = set("html head meta title style body header nav main h1 h2 p a b span time code".split())
    ELEMENTS |= set("table thead tbody tr th td".split())
    ATTRIBUTES = set("lang charset name content class data-h id role scope aria-label datetime href".split())

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.all = ""
        # In the page's order: by the heading's id, the heading and what follows it.
        self.sections: dict[str, str] = {}
        # The summary at the top, by what the numbers count.
        self.numbers = {what: int(number) for number, what in re.findall(r"<b>(\d+)</b> ([^<]+)</a>", page)}
        self.feed(page)
        assert {f"#{name}" for name in self.sections} >= set(re.findall(r'href="?([^ ">]*)', page))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        assert tag in self.ELEMENTS and values.keys() <= self.ATTRIBUTES, (tag, attrs)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "h2":
            self.sections[str(values["id"])] = ""

    def handle_data(self, data: str) -> None:
        self.all += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data
        if self.sections:
            self.sections[next(reversed(self.sections))] += data

    def row(self, *texts: str) -> list[str]:
        """The first row that has all of them."""
        found = [row for row in self.rows if all(any(text in cell for cell in row) for text in texts)]
        assert found, (texts, self.rows[:20])
        return found[0]


def as_text(httpd: Httpd) -> Text:
    page = request(httpd, accept="text/html")
    assert page.status == 200 and page.headers["Content-Type"] == "text/html; charset=utf-8"
    return Text(page.text)


def metrics(httpd: Httpd) -> dict[str, float]:
    """Sample lines, once Prometheus's own parser has found nothing wrong."""
    page = request(httpd, path=f"{PATH}?prometheus")
    assert page.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in page.text.splitlines() if line and not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def assert_told(httpd: Httpd, reason: str, line: str) -> Any:
    """The page, the JSON and the metrics give the reason of the last handshake, which is in this line of the log.
    Returns all of the JSON."""
    told = as_json(httpd)
    row = told["handshakes"][0]
    assert (row["outcome"], row["reason"], row["tag"]) == ("refused", reason, "AALPN0102")
    assert f"peer={row['peer']} vhost={row['vhost']} tls={row['tls']} " in line and row["text"] in line
    assert f"duration={row['duration_seconds'] * 1000:.3f}ms source={row['source']} " in line
    cells = as_text(httpd).row(row["peer"], reason)
    assert any(f"{reason}: {row['text']}" in cell for cell in cells) and row["vhost"] in cells
    assert metrics(httpd)[f'acme_alpn_handshakes_refused_total{{reason="{reason}"}}'] >= 1
    return told
