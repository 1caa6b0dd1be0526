"""The store's URL: what httpd and the tool take and refuse, so does the plugin."""
import ast
import pathlib
import re
from typing import List, Tuple

import pytest

from certbot_acme_alpn import store_settings

# The rows of httpd's and the tool's own test.
TABLES = (pathlib.Path(__file__).parents[2] / "test/unit/test_store_settings.c").read_text()


def rows(table: str) -> List[Tuple[str, str]]:
    """URL and last column; an option that httpd takes beside the URL is in the URL's query here."""
    text = TABLES.split(f" {table}[] = {{")[1].split("\n};")[0]
    literal = r'"(?:[^"\\]|\\.)*"'
    found = re.findall(rf'\{{({literal}),\s*(NULL|FILE_IS|{literal}),\s*({literal})', text)
    assert len(found) >= 10
    return [(_with_option(ast.literal_eval(url), option), ast.literal_eval(last))
            for url, option, last in found]


def _with_option(url: str, option: str) -> str:
    if option == "NULL":
        return url
    text = "passwordfile=/p" if option == "FILE_IS" else ast.literal_eval(option)
    return f"{url}{'&' if '?' in url else '?'}{text}"


@pytest.mark.parametrize("url, name", rows("right"))
def test_right_url(url: str, name: str) -> None:
    assert store_settings.is_url(url) and store_settings.parse(url).name == name


@pytest.mark.parametrize("url, problem", rows("wrong"))
def test_wrong_url(url: str, problem: str) -> None:
    if not store_settings.is_url(url):
        assert problem == "redis://"
        return
    with pytest.raises(ValueError) as raised:
        store_settings.parse(url)
    assert problem in str(raised.value) and "secret" not in str(raised.value)


def test_what_is_in_the_url() -> None:
    url = ("rediss://me%40home@[::1]:7000/3?timeout=80ms&passwordfile=/etc/x+y&prefix=a+b%26:"
           "&expiry=2min&cafile=/ca%20s&certfile=/c&keyfile=/k")
    settings = store_settings.parse(url)
    assert settings.password_file == "/etc/x+y"
    assert (settings.prefix, settings.expiry) == ("a+b&:", 120)
    expected = {"host": "::1", "port": 7000, "db": 3, "username": "me@home", "ssl": True,
                "socket_timeout": 0.08, "socket_connect_timeout": 0.08, "ssl_ca_certs": "/ca s",
                "ssl_certfile": "/c", "ssl_keyfile": "/k", "ssl_check_hostname": True}
    assert expected.items() <= settings.arguments.items()


def test_defaults() -> None:
    settings = store_settings.parse("unix:///run/r.sock")
    assert (settings.password_file, settings.prefix) == (None, "acme-alpn:")
    assert settings.expiry == 24 * 60 * 60
    assert settings.arguments == {"unix_socket_path": "/run/r.sock", "db": 0,
                                  "socket_timeout": 5.0, "socket_connect_timeout": 5.0}


def test_socket_with_a_long_path() -> None:
    assert store_settings.parse("unix:///" + "a" * 106)
    with pytest.raises(ValueError, match="too long"):
        store_settings.parse("unix:///" + "a" * 107)


def test_paths_are_no_urls() -> None:
    assert not store_settings.is_url("/var/spool/acme-alpn")
    assert not store_settings.is_url("redis")
