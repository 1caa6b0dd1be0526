"""The installed plugin in the real certbot: found, configured, refused, and renewed."""
import json
import os
import pathlib
import subprocess
import sys
from typing import Callable, List

import pytest

from challenge_certificates import issue

HERE = pathlib.Path(__file__).parent
CERTBOT = str(HERE / "unconfigured.py")

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(name="run")
def fixture_run(installed: pathlib.Path, tmp_path: pathlib.Path) -> Run:
    """Run a program that uses certbot, with the plugin and private directories."""

    def run(program: List[str], *arguments: str) -> "subprocess.CompletedProcess[str]":
        directories = [f"--{kind}-dir={tmp_path}/{kind}" for kind in ("config", "work", "logs")]
        return subprocess.run(
            [sys.executable, *program, *arguments, *directories], cwd=tmp_path, text=True,
            env={**os.environ, "PYTHONPATH": str(installed)}, capture_output=True, timeout=300,
            check=False)
    return run


@pytest.fixture(name="certbot")
def fixture_certbot(run: Run) -> Run:
    return lambda *arguments: run([CERTBOT], *arguments)


def certonly(certbot: Run, *arguments: str) -> str:
    """What certbot says; the CA does not exist, so it fails in any case."""
    result = certbot(
        "certonly", "--authenticator", "acme-alpn", "--non-interactive", "--agree-tos",
        "--register-unsafely-without-email", "--server", "http://127.0.0.1:1/", *arguments)
    assert result.returncode != 0
    return result.stdout + result.stderr


def test_certbot_shows_the_plugin(certbot: Run) -> None:
    result = certbot("plugins")
    assert result.returncode == 0, result.stderr
    assert "* acme-alpn\nDescription: Validate with tls-alpn-01" in result.stdout
    words = " ".join(certbot("--help", "acme-alpn").stdout.split())
    assert "--acme-alpn-spool DIR" in words and "(default: /var/spool/acme-alpn)" in words
    assert "--acme-alpn-check HOST:PORT" in words and "(default: 127.0.0.1:443)" in words


def test_a_good_configuration_goes_on_to_the_ca(certbot: Run, spool_directory: str) -> None:
    text = certonly(certbot, "--acme-alpn-spool", spool_directory, "-d", "a.example")
    assert "Connection refused" in text


def test_a_bad_address(certbot: Run, tmp_path: pathlib.Path) -> None:
    text = certonly(certbot, "--acme-alpn-check", "127.0.0.1", "-d", "a.example")
    assert "--acme-alpn-check: '127.0.0.1' is not allowed" in text
    (tmp_path / "cli.ini").write_text("acme-alpn-check = 127.0.0.1:443, nowhere\n")
    text = certonly(certbot, "--config", f"{tmp_path}/cli.ini", "-d", "a.example")
    assert "--acme-alpn-check: 'nowhere' is not allowed" in text


@pytest.fixture(name="step")
def fixture_step(run: Run, tmp_path: pathlib.Path) -> Callable[..., list]:
    (tmp_path / "pem").write_bytes(issue(["a.example"], None).pem)

    def step(verb: str, *arguments: str) -> list:
        result = run([str(HERE / "renewal_step.py"), f"{tmp_path}/pem", verb], *arguments)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)
    return step


@pytest.mark.parametrize("given, kept", [
    ([], None),
    (["127.0.0.1:443"], "127.0.0.1:443"),
    (["[::1]:443"], "[::1]:443"),
    (["None"], "none"),
    (["127.0.0.1:443", "[2001:db8:0::1]:8443", "web.example:443"],
     "127.0.0.1:443,[2001:db8::1]:8443,web.example:443"),
    (["127.0.0.1:443, web.example:443"], "127.0.0.1:443,web.example:443"),
])
def test_options_survive_renewals(step, tmp_path: pathlib.Path, given: List[str], kept) -> None:
    arguments = [f"--acme-alpn-check={address}" for address in given]
    expected = [kept, f"{tmp_path}/a spool, and more"]
    assert step("certonly", "--authenticator", "acme-alpn",
                "--acme-alpn-spool", "a spool, and more", *arguments) == expected
    for _ in range(3):
        assert step("renew") == expected


def test_a_renewal_file_edited_by_hand(step, run: Run, tmp_path: pathlib.Path) -> None:
    step("certonly", "--authenticator", "acme-alpn", "--acme-alpn-check", "a.example:1")
    file = tmp_path / "config" / "renewal" / "a.example.conf"
    before = file.read_text()
    # With commas and no quotes, which the plugin itself wrote once, it is a list.
    for given, kept in (("[::1]:1", "[::1]:1"), ("a:1, b:2", "a:1,b:2"), ("a:1,", "a:1")):
        file.write_text(before.replace("a.example:1", given))
        assert step("renew")[0] == kept
    assert step("renew", "--acme-alpn-check", "b.example:1")[0] == "b.example:1"
    assert step("renew")[0] == "b.example:1"
    file.write_text(before.replace("a.example:1", "nowhere"))
    result = run([CERTBOT], "renew", "--no-random-sleep-on-renew")
    assert result.returncode == 1
    assert "'nowhere' is not allowed: " in result.stderr and "--acme-alpn-check" in result.stderr
