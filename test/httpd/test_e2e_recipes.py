"""The recipes of docs/clients.md get certificates as they stand there."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from harness import commands, poll, registries
from harness.acme import Pebble
from harness.hooks import TOOL, path_with
from harness.issuance import NAMES, assert_validated, load, names_of, undisturbed
from harness.pki import Authority
from harness.server import REPOSITORY, Httpd

pytestmark = pytest.mark.flaky(reruns=2)

CLIENTS = (REPOSITORY / "docs" / "clients.md").read_text()
CLIENT_TIMEOUT = 120.0

# The recipes check httpd where it listens by default; here it is elsewhere.
TOOL_WITH_ADDRESS = """#!/bin/sh
[ "$1" != check ] || set -- "$@" --connect {address} --wait 2s
exec {tool} "$@"
"""


def recipe(begin: str) -> str:
    """The indented block that begins with this."""
    blocks = re.findall(r"(?:^(?:    .*)?\n)+", CLIENTS, re.MULTILINE)
    matching = [block for block in blocks if block.strip().startswith(begin)]
    assert len(matching) == 1, begin
    return re.sub(r"^    ", "", matching[0], flags=re.MULTILINE).strip() + "\n"


def script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_ansible(httpd: Httpd, pebble: Pebble, authority: Authority, tmp_path: Path) -> None:
    program = registries.ansible_playbook()
    playbook, files, programs = tmp_path / "playbook.yml", tmp_path / "acme", tmp_path / "programs"
    programs.mkdir()
    letsencrypt = "https://acme-v02.api.letsencrypt.org/directory"
    assert letsencrypt in recipe("- hosts: webservers")
    playbook.write_text(recipe("- hosts: webservers").replace(letsencrypt, pebble.url))
    script(programs / "acme-alpn", TOOL_WITH_ADDRESS.format(address=httpd.listeners["main"], tool=TOOL))
    # The reload with the new certificate is noted, since none is to take place before that.
    script(programs / "apachectl", f'#!/bin/sh\necho "$@" >{tmp_path}/reload\n')
    (tmp_path / "inventory").write_text(
        f"[webservers]\nlocalhost ansible_connection=local ansible_python_interpreter={program.parent}/python\n"
    )
    variables = ["-e", f"domain={NAMES[0]}", "-e", f"files={files}"]
    with undisturbed(httpd, authority):
        done = commands.run(
            [program, "-i", tmp_path / "inventory", *variables, playbook],
            CLIENT_TIMEOUT * poll.FACTOR,
            env={
                **os.environ,
                "PATH": path_with(programs),
                "ACME_ALPN_SPOOL": str(httpd.spool.path),
                "SSL_CERT_FILE": str(pebble.trust),
                "HOME": str(tmp_path),
                "LC_ALL": "C.UTF-8",
            },
        )
    assert done.returncode == 0, done.stdout
    assert names_of(load(files / f"{NAMES[0]}.pem")) == {NAMES[0]}
    assert (tmp_path / "reload").read_text() == "graceful\n"
    assert_validated(httpd, NAMES[:1], checks=1)
