"""The harness judges: what a test should find fails that test."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from harness import poll
from harness.checker import WrongAnswer, check_answer
from harness.client import Answer
from harness.errorlog import ErrorLog, UnexpectedLog
from harness.recipe import DIGEST, NAME
from harness.server import REPOSITORY
from harness.upstream import certificate

LINE = "[Mon Nov 23 18:18:45.112800 2026] [{}] [pid 8578:tid 8578] {}"


@pytest.mark.parametrize(
    "line",
    [
        LINE.format("core:error", "[client 127.0.0.1:1] AH00126: Invalid URI"),
        LINE.format("acme_alpn:warn", "AALPN0102: refused"),
        LINE.format("acme_alpn:crit", "no tag"),
        LINE.format("core:notice", "AH00052: child pid 7 exit signal Segmentation fault (11)"),
        "==7==ERROR: AddressSanitizer: heap-use-after-free",
    ],
)
def test_unclaimed_line_fails_and_claimed_one_does_not(line: str, tmp_path: Path) -> None:
    path = tmp_path / "error.log"
    path.write_text(LINE.format("acme_alpn:info", "AALPN0101: answered") + f"\n{line}\n")
    with pytest.raises(UnexpectedLog):
        ErrorLog([path]).check()
    claiming = ErrorLog([path])
    claiming.expect(pattern=r"Invalid|AALPN0102|no tag|AH00052|Sanitizer")
    claiming.check()


def answer(name: str = NAME, digest: bytes = DIGEST, **flaws: object) -> Answer:
    made = x509.load_pem_x509_certificate(certificate([name], digest, **flaws))  # type: ignore[arg-type]
    return Answer(alpn="acme-tls/1", chain=(made.public_bytes(Encoding.DER),))


WRONG = {
    "san": answer("other.test"),
    "digest": answer(digest=bytes(32)),
    "critical": answer(critical=False),
    "issuer": answer(issuer="another"),
    "repeated-extension": answer(repeated=True),
    "key": answer(kind="p521"),
    "not-after": answer(),  # an upstream's is valid for a month
    "der": replace(answer(), chain=(answer().leaf[:-1],)),
    "alpn": replace(answer(), alpn="http/1.1"),
    "chain": replace(answer(), chain=answer().chain * 2),
    "resumed": replace(answer(), resumed=True),
    "handshake": replace(answer(), alert=40),
}


@pytest.mark.parametrize("check", WRONG)
def test_checker_finds_a_wrong_answer(check: str) -> None:
    with pytest.raises(WrongAnswer) as raised:
        check_answer(WRONG[check], NAME, DIGEST)
    assert raised.value.check == check


def test_quickstart_needs_no_pytest() -> None:
    """It runs on this harness, where only its own packages are installed."""
    build = str(REPOSITORY / "build")
    script = f"import sys; sys.modules['pytest'] = None; sys.path.insert(0, {build!r}); import quickstart"
    subprocess.run(["/usr/bin/python3", "-c", script], check=True, timeout=poll.DEADLINE)
