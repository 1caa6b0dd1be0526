"""Names and addresses: their canonical form and their SNI (RFC 8737 §3, RFC 8738 §6)."""
import pytest
from certbot import errors

from certbot_acme_alpn import identifier


@pytest.mark.parametrize("text, canonical, server_name", [
    ("example.com", "example.com", "example.com"),
    ("Example.COM.", "example.com", "example.com"),
    ("xn--bcher-kva.example", "xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("localhost", "localhost", "localhost"),
    ("a" * 63 + ".example", "a" * 63 + ".example", "a" * 63 + ".example"),
    ("192.0.2.1", "192.0.2.1", "1.2.0.192.in-addr.arpa"),
    ("2001:db8::1", "2001:db8::1", "1" + ".0" * 23 + ".8.b.d.0.1.0.0.2.ip6.arpa"),
    ("2001:0DB8:0:0::1", "2001:db8::1", "1" + ".0" * 23 + ".8.b.d.0.1.0.0.2.ip6.arpa"),
    ("::ffff:192.0.2.1", "::ffff:192.0.2.1",
     "1.0.2.0.0.0.0.c.f.f.f.f" + ".0" * 20 + ".ip6.arpa"),
])
def test_forms(text: str, canonical: str, server_name: str) -> None:
    parsed = identifier.parse(text)
    assert (parsed.text, parsed.server_name) == (canonical, server_name)


@pytest.mark.parametrize("text", [
    "", ".", "..", "../etc/passwd", "a/b", ".example.com", "a..example", "a.example..",
    "a\0.example", "a.example\n", "*.example.com", "a_b.example", "b\u00fccher.example",
    "\u212aelvin.example", "a" * 64 + ".example", "a" * 63 + (".b" * 96), "fe80::1%eth0",
    "192.0.2.1/32", "[2001:db8::1]",
])
def test_refused(text: str) -> None:
    with pytest.raises(errors.PluginError, match="neither a DNS name in A-labels .* nor an IP"):
        identifier.parse(text)
