"""--acme-alpn-check: what it takes, what it refuses, and in which words."""
import argparse
from typing import List, Union

import pytest
from certbot import errors

from certbot_acme_alpn import addresses
from certbot_acme_alpn.addresses import Address


@pytest.mark.parametrize("text, address", [
    ("127.0.0.1:443", Address("127.0.0.1", 443)),
    ("[::1]:443", Address("::1", 443)),
    ("[2001:DB8:0::1]:65535", Address("2001:db8::1", 65535)),
    ("web-1.example.com:8443", Address("web-1.example.com", 8443)),
    ("web.example.com.:1", Address("web.example.com.", 1)),
])
def test_allowed(text: str, address: Address) -> None:
    assert addresses.parse(text) == address
    assert addresses.parse(str(address)) == address


@pytest.mark.parametrize("text", [
    "", ":", "443", "127.0.0.1", "127.0.0.1:", ":443", "127.0.0.1:0", "127.0.0.1:65536",
    "127.0.0.1:0443x", "127.0.0.1:https", "::1:443", "[::1]", "[::zz]:443", "[127.0.0.1]:443",
    "[]:443", "a b:443", "a..b:443", ".:443", "https://a.example:443", "user@a.example:443",
    "a:1,", ",a:1", "a:1 b:2", "['a:1', 'b:2']", "[a:1, b:2]", "a.example:\u0664\u0664\u0663",
])
def test_refused_in_both_worlds(text: str) -> None:
    with pytest.raises(addresses.InvalidAddress) as raised:
        addresses.option_value(text)
    assert isinstance(raised.value, argparse.ArgumentTypeError)
    assert isinstance(raised.value, ValueError)
    said = str(raised.value)
    assert all(word in said for word in (
        " is not allowed: ", "--acme-alpn-check", "HOST:PORT", "1 to 65535", "[IPV6]:PORT", "comma",
        "none"))


@pytest.mark.parametrize("value, expected", [
    ("[0::1]:443", "[::1]:443"), ("None", "none"), ("a.example:1, NONE", "a.example:1,none"),
    ("[::1]:1,[0::2]:2", "[::1]:1,[::2]:2"),
    (["a:1", "b:2"], "a:1,b:2"),  # a renewal file's, with commas and no quotes
])
def test_option_value(value: Union[str, List[str]], expected: str) -> None:
    assert addresses.option_value(value) == expected
    assert addresses.option_value(expected) == expected


def test_configured() -> None:
    assert addresses.configured(None) == [Address("127.0.0.1", 443)]
    assert addresses.configured("none") == []
    assert addresses.configured("none,none") == []
    assert addresses.configured("b:1,a:2,b:1") == [Address("b", 1), Address("a", 2)]
    with pytest.raises(errors.MisconfigurationError, match="--acme-alpn-check none .* alone"):
        addresses.configured("none,a:1")
