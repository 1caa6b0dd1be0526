"""The recipes of docs/clients.md get certificates as they stand there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from harness import commands, poll, registries
from harness.acme import Pebble
from harness.challenge import ANSWERED, assert_answered
from harness.hooks import TOOL, path_with
from harness.issuance import NAMES, OFF, assert_validated, load, names_of, undisturbed
from harness.pages import block
from harness.pki import Authority
from harness.server import Httpd
from harness.spool import KeyAuthorization

pytestmark = pytest.mark.flaky(reruns=2)

CLIENT_TIMEOUT = 120.0

# The recipes check httpd where it listens by default; here it is elsewhere.
TOOL_WITH_ADDRESS = """#!/bin/sh
[ "$1" != check ] || set -- "$@" --connect {address} --wait 2s
exec {tool} "$@"
"""


def script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_ansible(httpd: Httpd, pebble: Pebble, authority: Authority, tmp_path: Path) -> None:
    program = registries.ansible_playbook()
    playbook, files, programs = tmp_path / "playbook.yml", tmp_path / "acme", tmp_path / "programs"
    programs.mkdir()
    letsencrypt = "https://acme-v02.api.letsencrypt.org/directory"
    text = block("clients.md", "- hosts: webservers")
    assert letsencrypt in text
    playbook.write_text(text.replace(letsencrypt, pebble.url).replace("/usr/sbin/apachectl", str(programs / "apachectl")))
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


GO = """package main

import (
    "errors"
    "fmt"
    "os"
    "os/exec"
    {imports}
    "github.com/go-acme/lego/{version}/challenge"
)

func main() {{
    var provider challenge.Provider = Spool{{}}
    call := provider.Present
    if os.Args[1] == "cleanup" {{
        call = provider.CleanUp
    }}
    if err := call({context}os.Args[2], "token", os.Args[3]); err != nil {{
        panic(err)
    }}
}}

{provider}"""


@pytest.mark.parametrize("version", ["v4", "v5"])
def test_provider_for_the_lego_library(version: str, httpd: Httpd, tmp_path: Path) -> None:
    """It is what the library of that version wants, and does what the page says."""
    provider, imports, context = block("clients.md", "// Spool publishes"), '"context"', "context.Background(), "
    if version == "v4":
        provider = provider.replace("ctx context.Context, ", "").replace("ctx, ", "")
        imports = context = ""
    source = GO.format(provider=provider, imports=imports, context=context, version=version)
    program = registries.build_go(tmp_path, source, f"github.com/go-acme/lego/{version}/challenge")
    script(tmp_path / "acme-alpn", TOOL_WITH_ADDRESS.format(address=httpd.listeners["main"], tool=TOOL))
    environment = {"PATH": path_with(tmp_path), "ACME_ALPN_SPOOL": str(httpd.spool.path)}
    value = KeyAuthorization.new()

    def run(action: str, name: str = NAMES[0]) -> str:
        done = commands.run([program, action, name, value.text], CLIENT_TIMEOUT, env=environment)
        return done.stdout if done.returncode else "done"

    assert run("present") == "done"
    httpd.log.expect(ANSWERED, f"identifier={NAMES[0]} ")
    assert_answered(httpd, NAMES[0], value)
    assert run("cleanup") == "done" and httpd.spool.entries() == []
    # What the check refuses is withdrawn again.
    assert "other-protocol" in run("present", OFF) and httpd.spool.entries() == []
