"""What the manuals say is what the code has, and the other way round."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from conftest import StartHttpd
from harness.messages import raised
from harness.server import REPOSITORY

SOURCES = [REPOSITORY / "mod_acme_alpn.c", *sorted((REPOSITORY / "src").glob("*.c"))]
MESSAGES = (REPOSITORY / "docs" / "messages.md").read_text()
README = (REPOSITORY / "README").read_text()
REFERENCE = (REPOSITORY / "docs" / "mod_acme_alpn.md").read_text()
TROUBLESHOOTING = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
PLUGIN_SOURCES = sorted((REPOSITORY / "certbot" / "certbot_acme_alpn").glob("*.py"))
PLUGIN = "\n".join(path.read_text() for path in PLUGIN_SOURCES)
TOOL = (REPOSITORY / "src" / "acme-alpn.c").read_text()
MANUAL = (REPOSITORY / "docs" / "acme-alpn.1").read_text().replace("\\-", "-")


def found(pattern: str, text: str) -> set[str]:
    matches = set(re.findall(pattern, text))
    assert matches, f"nothing matches {pattern}"
    return matches


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text()


def code() -> str:
    return "\n".join(source.read_text() for source in SOURCES)


def test_every_message_is_documented_and_exists() -> None:
    assert found(r'"(AALPN\d{4}):', code()) == found(r"\n\| (AALPN\d{4}) \|", MESSAGES)


LEVELS = {"EMERG": "emerg", "ERR": "error", "WARNING": "warn", "NOTICE": "notice", "INFO": "info", "DEBUG": "debug"}


def test_every_message_has_the_documented_level() -> None:
    """The level stands before the message, in the call or in the macro that makes it."""
    level = None
    levels: dict[str, str | None] = {}
    for word, tag in re.findall(rf'\bAPLOG_({"|".join(LEVELS)})\b|"(AALPN\d{{4}}):', code()):
        level = LEVELS[word] if word else level
        if tag:
            assert levels.setdefault(tag, level) == level, tag
    assert levels == dict(re.findall(r"\n\| (AALPN\d{4}) \| (\w+) \|", MESSAGES))


def test_every_reason_of_the_module_is_documented_and_exists() -> None:
    errors = (REPOSITORY / "src" / "acme_error.c").read_text()
    slugs = found(r'\] =\s*\{\s*"([a-z0-9-]+)"', errors)
    documented = found(r"\n\| `([a-z-]+)` \|", MESSAGES.split("## Reasons")[1])
    assert documented <= slugs
    # The others are for the tool alone: it knows the right digest, and how a name or a value was given.
    for_the_tool = {"ok", "name-not-ascii", "name-wildcard", "spool-not-ours", "entry-other-value"}
    for_the_tool |= {"store-unsupported"}
    # And these are in the text of AALPN0020 and AALPN0021.
    runtime = {slug for slug in slugs if slug.startswith("runtime-")}
    assert slugs - documented == for_the_tool | {"certificate-wrong-digest"} | runtime


def test_what_strangers_bring_about_has_the_documented_limit() -> None:
    reasons = re.findall(r'\[ACME_\w+\] = \{"([a-z0-9-]+)",(.*?),', text_of("src/acme_error.c"))
    limited = {slug for slug, rest in reasons if "CLIENT" in rest}
    (row,) = re.findall(r"\n\| `suppressed` \| .*for what clients cause \((.*)\), apart from that", MESSAGES)
    documented = found(r"`([a-z-]+)`", row)
    assert "each `store-...`" in row
    documented |= {slug for slug, _ in reasons if slug.startswith("store-") and slug != "store-unsupported"}
    assert documented == limited


def test_every_directive_is_documented_and_exists() -> None:
    config = (REPOSITORY / "src" / "mod_acme_alpn_directives.c").read_text()
    assert found(r'AP_INIT_\w+\("(\w+)"', config) == found(r"\n\| `(AcmeAlpn\w+)", README)


def test_manual_page_of_the_module_has_every_directive_and_its_default() -> None:
    page = (REPOSITORY / "docs" / "mod_acme_alpn.8").read_text()
    parts = page.split(".SH DIRECTIVES")[1].split(".SH")[0].split(".TP\n")[1:]
    told = [re.findall(r"(AcmeAlpn\w+)|Default: (\S+)\.\s", part) for part in parts if "AcmeAlpn" in part]
    rows = re.findall(r"^## (AcmeAlpn\w+) Directive$.*?^\| Default: \| (.*?) \|$", REFERENCE, re.MULTILINE | re.DOTALL)
    assert told and sorted(told) == sorted([(name, ""), ("", value.strip("`").split()[-1])] for name, value in rows)


def test_every_option_command_and_exit_code_of_the_tool_is_documented() -> None:
    options = found(r'\{"([a-z]+)", (?:no|required)_argument', TOOL)
    assert {f"--{option}" for option in options} == found(r"--[a-z]+", MANUAL)
    assert found(r'\{"([a-z]+)", command_', TOOL) == found(r"\n\.TP\n\.B (add|remove|list|check)\n", MANUAL)
    header = (REPOSITORY / "include" / "acme-alpn.h").read_text()
    assert found(r"EXIT_\w+ = (\d)", header) == found(r"\n\.TP\n\.B (\d)\n", MANUAL)


# How to test one thing


def one_thing() -> list[list[str]]:
    commands = re.findall(r"^\| .* \| `(.*)` \|$", text_of("CONTRIBUTING.md"), re.MULTILINE)
    assert commands
    return [command.split() for command in commands]


def places(word: str) -> list[Path]:
    """The file that a word of a command names, in the top directory or where the tests with httpd are."""
    names = [REPOSITORY / folder / word.partition("=")[2 if "=" in word else 0] for folder in ("", "test/httpd")]
    return [path for name in names for path in (name, name.with_suffix(".c")) if path.is_file()]


@pytest.mark.parametrize("command", one_thing(), ids=" ".join)
def test_command_for_one_thing_has_something_to_run(command: list[str]) -> None:
    files = [places(word) for word in command if "/" in word or word.endswith(".py")]
    assert all(files)
    sources = {path for found in files for path in found if path.name.startswith("test_")}
    if "-k" in command:
        sources = sources or set((REPOSITORY / "test" / "packages").glob("test_*.py"))
        selected = rf"\ndef test_\w*{command[command.index('-k') + 1]}"
        assert any(re.search(selected, path.read_text()) for path in sources)
    elif command[0] == "build/check":
        parts = subprocess.run([REPOSITORY / command[0], "--list"], capture_output=True, text=True, check=True)
        assert command[1] in parts.stdout.split()
    elif command[0] == "test/fuzz/run":
        assert (REPOSITORY / "test" / "fuzz" / f"fuzz_{command[2]}.c").is_file()
    else:
        assert sources


# The reference, and what users see


def quoted(section: str) -> list[str]:
    """The first cell of each row of the section's tables, without its quotes."""
    rows = re.findall(r"^\| `(.*?)`", section, re.MULTILINE)
    assert rows, "no rows"
    return rows


def section(manual: str, heading: str) -> str:
    parts = re.split(r"^## ", manual, flags=re.MULTILINE)
    matching = [part for part in parts if part.startswith(heading)]
    assert len(matching) == 1, heading
    return matching[0]


def fields_of(directive: str) -> dict[str, str]:
    rows = re.findall(r"^\| (\w+): \| (.*) \|$", section(REFERENCE, f"{directive} Directive"), re.MULTILINE)
    return {name: value.strip("`").replace("\\|", "|") for name, value in rows}


def directives() -> dict[str, tuple[str, str, str]]:
    """What the sources declare: the kind of arguments, the context and the help of each."""
    rows = re.findall(r'AP_INIT_(\w+)\(\s*"(\w+)",\s*\w+,\s*\w+,\s*(\w+),\s*((?:"[^"]*"\s*)+)\)', code())
    assert rows and len(rows) == len(re.findall(r"\bAP_INIT_\w+\(", code()))
    return {name: (kind, context, "".join(re.findall('"([^"]*)"', text))) for kind, name, context, text in rows}


def default_of(directive: str, text: str) -> str:
    """What the sources say; a flag's help has it."""
    config = (REPOSITORY / "src" / "mod_acme_alpn_directives.c").read_text()
    if directive == "AcmeAlpnSpool":
        return found(r'#define ACME_ALPN_SPOOLDIR "(.*)"', config).pop()
    if directive == "AcmeAlpnMaxAge":
        hours = found(r"#define MAX_AGE_DEFAULT apr_time_from_sec\((\d+) \* 60 \* 60\)", config).pop()
        return f"{int(hours) // 24}d"
    flag = re.search(r"\b(On|Off) \(default\)", text)
    return flag[1] if flag else "none"


def test_reference_has_every_directive_as_the_sources_do() -> None:
    assert set(re.findall(r"^## (\w+) Directive$", REFERENCE, re.MULTILINE)) == set(directives())
    for name, (kind, context, text) in directives().items():
        fields = fields_of(name)
        assert list(fields) == ["Description", "Syntax", "Default", "Context", "Status", "Module"], name
        arguments = fields["Syntax"].split()[1:]
        assert fields["Syntax"].split()[0] == name
        if kind == "FLAG":
            assert arguments == ["On|Off"], name
        elif kind == "TAKE1":
            assert len(arguments) == 1, name
        options = r"[a-z]+=[A-Z]+"
        assert set(re.findall(options, fields["Syntax"])) == set(re.findall(options, text)), name
        row = f"| `{fields['Syntax']}` | ".replace("On|Off", "On\\|Off")
        assert row in README and fields["Default"].replace(f"{name} ", "") in README.split(row)[1].split("|")[0]
        assert fields["Default"].replace(f"{name} ", "") == default_of(name, text)
        assert context == "RSRC_CONF" and fields["Context"] == "server config, virtual host"
        assert (fields["Status"], fields["Module"]) == ("External", "mod_acme_alpn")


FLEET, SETTINGS = text_of("docs/fleet.md"), text_of("src/acme_store_settings.c")


def options_of_stores(manual: str) -> set[str]:
    return found(r"`([a-z]+)=[A-Z]+`", manual)


def test_every_option_of_a_store_is_documented_wherever_stores_are() -> None:
    known = found(r'\n    \{"([a-z]+)", (?:set_\w+|NULL), ', SETTINGS)
    assert options_of_stores(section(FLEET, "The store")) == known
    assert options_of_stores(section(REFERENCE, "AcmeAlpnStore Directive")) == known
    message = SETTINGS.split("#define ALLOWED")[1].split("\n\n")[0]
    assert set(re.findall(r"[a-z]+", message)) >= known
    assert fields_of("AcmeAlpnStore")["Syntax"].startswith("AcmeAlpnStore URL ")
    assert '"none") == 0' in text_of("src/mod_acme_alpn_directives.c")
    assert "`AcmeAlpnStore none`" in section(REFERENCE, "AcmeAlpnStore Directive")


def test_every_option_of_an_upstream_is_documented() -> None:
    taken = found(r'str(?:n)?cmp\(option, "([a-z-]+)', text_of("src/mod_acme_alpn_relay.c"))
    reference = section(REFERENCE, "AcmeAlpnUpstream Directive")
    assert found(r"\n- `([a-z-]+)", reference) == taken
    assert found(r"\[([a-z-]+)", fields_of("AcmeAlpnUpstream")["Syntax"]) == taken


# A number of the sources, and where the manuals give it: file and words.
STORE_C, STORE_H, UPSTREAM_H = "src/mod_acme_alpn_store.c", "include/acme_store.h", "include/mod_acme_alpn_relay.h"
REFERENCE_MD, FLEET_MD, MESSAGES_MD = "docs/mod_acme_alpn.md", "docs/fleet.md", "docs/messages.md"
NUMBERS = [
    (STORE_C, r"TIMEOUT +apr_time_from_msec\((\d+)\)", REFERENCE_MD, r"default `(\d+)ms`"),
    (STORE_C, r"TIMEOUT +apr_time_from_msec\((\d+)\)", FLEET_MD, r"`timeout=TIME` \| (\d+)ms \|"),
    (STORE_C, r"REPORT_MS (\d+)\b", MESSAGES_MD, "once a minute while that lasts"),
    (STORE_H, r'ACME_STORE_PREFIX "(.*)"', REFERENCE_MD, r"what each key begins with; default `(.*)`"),
    (STORE_H, r'ACME_STORE_PREFIX "(.*)"', FLEET_MD, r"`prefix=TEXT` \| `(.*)` \|"),
    (STORE_H, r"ACME_STORE_EXPIRY apr_time_from_sec\((\d+ \* \d+ \* \d+)\)", FLEET_MD, r"`expiry=TIME` \| 1d \|"),
    ("include/acme_store_pool.h", r"ACME_STORE_POOL_KEPT (\d+)", FLEET_MD, r"keeps at most (\d+) of them"),
    (UPSTREAM_H, r"UPSTREAM_TIMEOUT apr_time_from_sec\((\d+)\)", REFERENCE_MD, r"default `(\d+)s`"),
    (UPSTREAM_H, r"UPSTREAM_LONGEST apr_time_from_sec\((\d+)\)", REFERENCE_MD, r"All together get (\d+) s\."),
    (UPSTREAM_H, r"UPSTREAM_PLACES +(\d+)", REFERENCE_MD, r"in the whole server; default (\d+)\b"),
    (UPSTREAM_H, r"UPSTREAMS_MAX +(\d+)", REFERENCE_MD, "up to eight times"),
]
# Those that the manuals write in words.
IN_WORDS = {
    "once a minute while that lasts": "60000",
    r"`expiry=TIME` \| 1d \|": "24 * 60 * 60",
    "up to eight times": "8",
}


@pytest.mark.parametrize("source, macro, manual, words", NUMBERS)
def test_number_is_the_documented_one(source: str, macro: str, manual: str, words: str) -> None:
    assert found(rf"#define (?:ACME_ALPN_)?{macro}", text_of(source)) == (
        {IN_WORDS[words]} if words in IN_WORDS and found(words, text_of(manual)) else found(words, text_of(manual))
    )


def test_httpd_takes_the_documented_defaults_where_the_reference_says(make_httpd: StartHttpd) -> None:
    httpd = make_httpd()
    httpd.spool.path.rmdir()
    defaults = [fields_of(name)["Default"] for name in directives() if fields_of(name)["Default"] != "none"]
    httpd.server_lines = defaults
    httpd.vhost("docs.test", tls=False, lines=defaults)
    code, output = httpd.configtest()
    assert code == 0 and output.endswith("Syntax OK\n"), output
    for line in defaults:
        httpd.server_lines = ["<Directory />", line, "</Directory>"]
        code, output = httpd.configtest()
        assert code == 1 and f"{line.split()[0]} not allowed" in output


def test_reference_has_every_handler() -> None:
    handlers = set(re.findall(r'handler, "([a-z-]+)"', code()))
    handlers |= set(re.findall(r'#define \w*HANDLER\w* +"([a-z-]+)"', code()))
    assert handlers == set(re.findall(r"^## Handler `([a-z-]+)`", REFERENCE, re.MULTILINE))


def test_default_wait_of_the_check_is_documented() -> None:
    seconds = found(r"#define DEFAULT_WAIT +apr_time_from_sec\((\d+)\)", TOOL)
    assert seconds == {"10"}
    assert found(r"\nDefault: (\d+)s\.\n", MANUAL) == seconds
    assert found(r"`--wait` \|.*default: (\d+)s \|", section(REFERENCE, "The tool")) == seconds


def run_help() -> str:
    tool = os.environ.get("ACME_ALPN_TOOL", REPOSITORY / "acme-alpn")
    return subprocess.run([tool, "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout


def test_tool_says_what_its_manuals_say() -> None:
    usage = run_help()
    reference = section(REFERENCE, "The tool")
    options = found(r"--[a-z]+", usage)
    assert options == found(r"--[a-z]+", MANUAL) == found(r"\n\| `(--[a-z]+)` \|", reference)
    codes = found(r"(\d) [a-z]", usage.split("Exit codes:")[1])
    assert codes == found(r"\n\.TP\n\.B (\d)\n", MANUAL) == found(r"\n\| (\d) \|", reference)


def test_every_failure_without_a_verdict_is_in_both_manuals() -> None:
    """Exit code 1 is not only an address that failed."""
    complaints = found(r'acme_alpn_complain\("([^":]+)[^;]*;\s*(?:return|code =) EXIT_FAIL;', TOOL)
    assert len(complaints) == 2
    in_page = re.search(r"\n\.TP\n\.B 1\n(.*?)\n\.TP", MANUAL, re.DOTALL)
    in_reference = re.search(r"\n\| 1 \| (.*) \|", section(REFERENCE, "The tool"))
    for told in (in_page, in_reference):
        assert told and all(complaint in told[1].replace("\n", " ") for complaint in complaints)


def test_every_option_of_the_certbot_plugin_is_documented() -> None:
    options = {f"--acme-alpn-{name}" for name in found(r'\badd\("([a-z-]+)"', PLUGIN)}
    spool = found(r'\nDEFAULT = "(/.*)"', PLUGIN).pop()
    check = found(r'\nDEFAULT = \("(.*)",\)', PLUGIN).pop()
    for manual in (section(REFERENCE, "The options"), (REPOSITORY / "certbot" / "README.md").read_text()):
        rows = dict(re.findall(r"\n\| `(--[a-z-]+)[^|]*` \| `([^`]+)` \|", manual))
        assert set(rows) == options
        assert rows == {"--acme-alpn-spool": spool, "--acme-alpn-check": check}


def test_every_problem_that_the_plugin_reports_is_in_the_troubleshooting() -> None:
    """test_troubleshooting.py has the converse: it provokes each row."""
    rows = quoted(section(TROUBLESHOOTING, "What certbot says"))
    said = {text for source in PLUGIN_SOURCES for text in raised(source)}
    assert len(said) > 30
    assert not {text for text in said if not any(row in text for row in rows)}


HOOKS = sorted((REPOSITORY / "conf" / "hooks").iterdir())


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.name)
def test_every_variable_of_a_hook_is_documented(hook: Path) -> None:
    """What it reads itself, and ACME_ALPN_SPOOL, which the tool reads."""
    text = hook.read_text()
    comments, script = (
        "\n".join(line for line in text.splitlines() if line.startswith("#") == is_comment)
        for is_comment in (True, False)
    )
    taken = found(r"\$\{?(ACME_ALPN\w*)", script) | found(r'#define SPOOL_VARIABLE +"(\w+)"', TOOL)
    assert found(r"\bACME_ALPN\w*", comments) == taken
    clients = text_of("docs/clients.md")
    assert taken <= found(r"`(ACME_ALPN\w*)", clients)
    assert found(r"(?m)^addresses=\$\{ACME_ALPN_CHECK:-(.*)\}$", text) == found(r"(?s)ACME_ALPN_CHECK.*?default (\S+)\)", comments)


def test_every_reason_that_users_see_has_a_cure() -> None:
    """In the table of messages.md, for what httpd logs, or in those of troubleshooting.md."""
    errors = (REPOSITORY / "src" / "acme_error.c").read_text()
    slugs = found(r'\] =\s*\{\s*"([a-z0-9-]+)"', errors)
    logged = quoted(MESSAGES.split("## Reasons")[1])
    checked = quoted(section(TROUBLESHOOTING, "What acme-alpn check says"))
    untagged = quoted(section(TROUBLESHOOTING, "What httpd's error log says"))
    runtime = [row for row in untagged if row.startswith("runtime-")]
    assert {*logged, *checked, *runtime} == slugs
    seen_by_a_client = found(r'\[ACME_(?:PROBE|CERTIFICATE)_[A-Z_]+\] =\s*\{\s*"([a-z-]+)"', errors)
    assert seen_by_a_client <= set(checked)
    for rows in (logged, checked, runtime):
        assert len(set(rows)) == len(rows)


def test_shipped_manuals_are_installed() -> None:
    makefile = (REPOSITORY / "Makefile.am").read_text()
    for manual in (REPOSITORY / "docs").glob("*.md"):
        assert f"docs/{manual.name}" in makefile
