"""What the manuals say is what the code has, and the other way round."""

from __future__ import annotations

import re

from harness.server import REPOSITORY

SOURCES = [REPOSITORY / "mod_acme_alpn.c", *sorted((REPOSITORY / "src").glob("*.c"))]
MESSAGES = (REPOSITORY / "docs" / "messages.md").read_text()
README = (REPOSITORY / "README").read_text()
TOOL = (REPOSITORY / "src" / "acme-alpn.c").read_text()
MANUAL = (REPOSITORY / "docs" / "acme-alpn.1").read_text().replace("\\-", "-")


def found(pattern: str, text: str) -> set[str]:
    matches = set(re.findall(pattern, text))
    assert matches, f"nothing matches {pattern}"
    return matches


def code() -> str:
    return "\n".join(source.read_text() for source in SOURCES)


def test_every_message_is_documented_and_exists() -> None:
    assert found(r'"(AALPN\d{4}):', code()) == found(r"\n\| (AALPN\d{4}) \|", MESSAGES)


def test_every_reason_of_the_module_is_documented_and_exists() -> None:
    errors = (REPOSITORY / "src" / "acme_error.c").read_text()
    slugs = found(r'\] =\s*\{\s*"([a-z0-9-]+)"', errors)
    documented = found(r"\n\| `([a-z-]+)` \|", MESSAGES.split("## Reasons")[1])
    assert documented <= slugs
    # The others are for the tool alone: it knows the right digest, and how a name or a value was given.
    for_the_tool = {"ok", "name-not-ascii", "name-wildcard", "spool-not-ours", "entry-other-value"}
    # And these are in the text of AALPN0020 and AALPN0021.
    runtime = {slug for slug in slugs if slug.startswith("runtime-")}
    assert slugs - documented == for_the_tool | {"certificate-wrong-digest"} | runtime


def test_every_directive_is_documented_and_exists() -> None:
    config = (REPOSITORY / "src" / "mod_acme_alpn_config.c").read_text()
    assert found(r'AP_INIT_\w+\("(\w+)"', config) == found(r"\n\| `(AcmeAlpn\w+)", README)


def test_every_option_command_and_exit_code_of_the_tool_is_documented() -> None:
    options = found(r'\{"([a-z]+)", (?:no|required)_argument', TOOL)
    assert {f"--{option}" for option in options} == found(r"--[a-z]+", MANUAL)
    assert found(r'\{"([a-z]+)", command_', TOOL) == found(r"\n\.TP\n\.B (add|remove|list|check)\n", MANUAL)
    header = (REPOSITORY / "include" / "acme-alpn.h").read_text()
    assert found(r"EXIT_\w+ = (\d)", header) == found(r"\n\.TP\n\.B (\d)\n", MANUAL)
