"""The tags, reasons, directives, options and commands that the manuals name exist, and none is missing there."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
from pathlib import Path

import pytest
from conftest import StartHttpd
from harness import errorlog
from harness.hooks import TOOL
from harness.server import REPOSITORY


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text()


SOURCES = [path for folder in ("src", "include") for path in (REPOSITORY / folder).rglob("*.[ch]")]
CODE = "\n".join(path.read_text() for path in [REPOSITORY / "mod_acme_alpn.c", *SOURCES])
PLUGIN = "\n".join(path.read_text() for path in (REPOSITORY / "certbot" / "certbot_acme_alpn").glob("*.py"))
README, REFERENCE, FLEET = text_of("README"), text_of("docs/mod_acme_alpn.md"), text_of("docs/fleet.md")
MESSAGES, TROUBLESHOOTING = text_of("docs/messages.md"), text_of("docs/troubleshooting.md")
MANUAL = text_of("docs/acme-alpn.1").replace("\\-", "-")


def found(pattern: str, text: str) -> set[str]:
    matches = set(re.findall(pattern, text, re.MULTILINE))
    assert matches, f"nothing matches {pattern}"
    return matches


def section(manual: str, heading: str) -> str:
    (part,) = [part for part in re.split(r"^## ", manual, flags=re.MULTILINE) if part.startswith(heading)]
    return part


# Messages

LEVELS = {"EMERG": "emerg", "ERR": "error", "WARNING": "warn", "NOTICE": "notice", "INFO": "info", "DEBUG": "debug"}
SECTION = r"^### (AALPN\d{4}) \((\w+)\)$"
ERRORS = REPOSITORY / "src" / "lib" / "acme_error.c"
LITERAL = r'"(?:[^"\\]|\\.)*"'


def test_every_message_is_documented_with_its_level() -> None:
    """The level stands before the message, in the call or in the macro that makes it."""
    level, levels = "", set()
    for word, tag in re.findall(rf'\bAPLOG_({"|".join(LEVELS)})\b|"(AALPN\d{{4}}):', CODE):
        level = LEVELS.get(word, level)
        levels |= {(tag, level)} if tag else set()
    assert levels == found(SECTION, MESSAGES)
    tags = [tag for tag, _ in re.findall(SECTION, MESSAGES, re.MULTILINE)]
    assert tags == sorted(set(tags))


def samples() -> dict[str, list[str]]:
    """The sample lines of each tag's section."""
    _, *parts = re.split(SECTION, MESSAGES, flags=re.MULTILINE)
    return {tag: re.findall(r"^ {4}(\[.*)$", part, re.MULTILINE) for tag, part in zip(parts[::3], parts[2::3])}


def formats() -> dict[str, str]:
    """What each message looks like, as a pattern: its literals and macros, which the compiler joins."""
    patterns = {}
    for joined in re.findall(rf'"AALPN\d{{4}}:[^"]*"(?:\s*(?:{LITERAL}|[A-Z][A-Z0-9_]*))*', CODE):
        text = ""
        for part in re.findall(rf"{LITERAL}|[A-Z]\w*", joined):
            text += part[1:-1] if part[0] == '"' else "lu" if part.endswith("_FMT") else "%s"
        words = [re.escape(word) for word in re.split(r"(%[0-9.]*l?[sduo])", text)]
        words[1::2] = [".*" if word.endswith("s") else r"\d+" for word in words[1::2]]
        patterns[text[:9]] = "".join(words)
    return patterns


def texts() -> dict[str, str]:
    """Each reason in words, as the log has it."""
    rows = re.findall(rf'\] =\s*\{{"([a-z0-9-]+)", [^"]*((?:{LITERAL}\s*)+)\}}', ERRORS.read_text())
    return {reason: "".join(part[1:-1] for part in re.findall(LITERAL, text)) for reason, text in rows}


def test_each_message_has_a_real_sample_line() -> None:
    """With its level, and in the words of its format and of the reason that it has."""
    levels = dict(re.findall(SECTION, MESSAGES, re.MULTILINE))
    patterns, words = formats(), texts()
    assert samples().keys() == patterns.keys()
    for tag, lines in samples().items():
        assert lines, tag
        for line in lines:
            record = errorlog.parse(line)
            assert (record.module, record.level, record.tag) == (errorlog.MODULE, levels[tag], tag), line
            before, _, text = record.text.partition(tag)
            assert re.fullmatch(r"(src/module/\w+\.c\(\d+\): )?(\(\d+\)[\w ]+: )?(\[client [\d.:]+\] )?", before), line
            assert re.fullmatch(patterns[tag], tag + text), f"{line}\nis not\n{patterns[tag]}"
            reason = re.search(r" reason=([a-z-]+)", text)
            assert not reason or f": {words[reason[1]]}" in text, f"{line}\nlacks\n{words[reason[1]]}"


def test_fields_of_the_sample_lines_are_explained() -> None:
    lines = "\n".join(line for lines in samples().values() for line in lines)
    assert found(r"[ :]([a-z-]+)=", lines) == found(r"^\| `([a-z-]+)` \|", section(MESSAGES, "Fields"))


REASON = r"^\| `([a-z-]+)` \|"


def test_every_reason_has_a_cure() -> None:
    """In the table of messages.md, for what httpd logs, or in those of troubleshooting.md."""
    cures = [section(TROUBLESHOOTING, f"What {who} says") for who in ("acme-alpn check", "httpd's error log")]
    documented = [reason for part in (section(MESSAGES, "Reasons"), *cures) for reason in found(REASON, part)]
    assert found(r'\[ACME_[A-Z_]+\] =\s*\{\s*"([a-z0-9-]+)"', ERRORS.read_text()) == set(documented)


def test_certbot_plugin_has_the_messages_of_its_table() -> None:
    """Each key is a piece of one string of the plugin. Those that begin with an option come from argparse and certbot."""
    table = section(TROUBLESHOOTING, "What certbot says").partition("certbot's own")[0]
    keys = {key for key in found(r"^\| `(.*?)` \|", table) if not key.lstrip("-").startswith("acme-alpn-")}
    strings = [
        "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in getattr(node, "values", [node]))
        for path in (REPOSITORY / "certbot" / "certbot_acme_alpn").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.JoinedStr) or isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not {key for key in keys if not any(key in string for string in strings)}


# Directives


def directives(make_httpd: StartHttpd) -> set[str]:
    httpd = make_httpd()
    httpd.write_config()
    listed = subprocess.run([*httpd.command(), "-L"], env=httpd.variables(), capture_output=True, text=True, check=True)
    return found(r"^(AcmeAlpn\w+) ", listed.stdout)


def test_every_directive_is_in_each_manual(make_httpd: StartHttpd) -> None:
    names = directives(make_httpd)
    assert found(r"^\| \[`(AcmeAlpn\w+)", section(REFERENCE, "Directives")) == names
    assert found(r"^    (AcmeAlpn\w+) ", README) == names
    assert found(r"^## (\w+) Directive$", REFERENCE) == names
    page = text_of("docs/mod_acme_alpn.8").split(".SH DIRECTIVES")[1].split(".SH")[0]
    assert found(r"\b(AcmeAlpn\w+)", page) == names


def test_examples_of_the_reference_pass_configtest(make_httpd: StartHttpd, tmp_path: Path) -> None:
    """At least one of each directive; the password file of the store's has to exist."""
    httpd, password = make_httpd(), tmp_path / "password"
    password.write_text("secret\n")
    password.chmod(0o600)
    examples = sorted(found(r"^ {4,}(AcmeAlpn\w+ .*)$", REFERENCE))
    assert {example.split()[0] for example in examples} == directives(make_httpd)
    for example in examples:
        httpd.server_lines = [re.sub(r"\bpasswordfile=\S+", f"passwordfile={password}", example)]
        code, output = httpd.configtest()
        assert code == 0 and output.endswith("Syntax OK\n"), output


def test_httpd_takes_the_defaults_where_the_reference_says(make_httpd: StartHttpd) -> None:
    httpd = make_httpd()
    httpd.spool.path.rmdir()
    httpd.server_lines = sorted(found(r"^\| Default: \| `(AcmeAlpn.*)` \|$", REFERENCE))
    httpd.vhost("docs.test", tls=False, lines=httpd.server_lines)
    code, output = httpd.configtest()
    assert code == 0 and output.endswith("Syntax OK\n"), output
    for line in list(httpd.server_lines):
        httpd.server_lines = ["<Directory />", line, "</Directory>"]
        code, output = httpd.configtest()
        assert code == 1 and f"{line.split()[0]} not allowed" in output


@pytest.mark.parametrize(
    "directive, manual, pattern",
    [
        ("AcmeAlpnStore redis://127.0.0.1", section(REFERENCE, "AcmeAlpnStore Directive"), r"`([a-z]+)=[A-Z]+`"),
        ("AcmeAlpnStore redis://127.0.0.1", section(FLEET, "The store"), r"`([a-z]+)=[A-Z]+`"),
        ("AcmeAlpnUpstream 127.0.0.1:1", section(REFERENCE, "AcmeAlpnUpstream Directive"), r"^- `([a-z-]+)"),
    ],
)
def test_every_option_of_a_directive_is_documented(
    directive: str, manual: str, pattern: str, make_httpd: StartHttpd
) -> None:
    """httpd names all of them where it is given another."""
    httpd = make_httpd()
    httpd.server_lines.append(f"{directive} nonsense=1")
    code, output = httpd.configtest()
    told = output.split("is not an option; ")[1].replace("rediss://", "")
    words = {"they", "are", "and", "with", "give", "or"}
    assert code == 1 and set(re.findall(r"\b[a-z-]+", told)) - words == found(pattern, manual)


def test_reference_has_every_handler() -> None:
    handlers = set(re.findall(r'handler, "([a-z-]+)"|#define \w*HANDLER\w* +"([a-z-]+)"', CODE))
    assert {name for pair in handlers for name in pair if name} == found(r"^## Handler `([a-z-]+)`", REFERENCE)


# The tool, the plugin and the hooks


def test_tool_says_what_its_manuals_say() -> None:
    usage = subprocess.run([TOOL, "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout
    reference = section(REFERENCE, "The tool")
    assert found(r"--[a-z]+", usage) == found(r"--[a-z]+", MANUAL) == found(r"^\| `(--[a-z]+)` \|", reference)
    codes = found(r"(\d) [a-z]", usage.split("Exit codes:")[1])
    assert codes == found(r"\.TP\n\.B (\d)$", MANUAL) == found(r"^\| (\d) \|", reference)
    assert found(r"\] ([a-z]+)\b", usage) == found(r"\.TP\n\.B ([a-z]+)$", MANUAL)


def test_every_option_of_the_certbot_plugin_is_documented() -> None:
    options = {f"--acme-alpn-{name}" for name in found(r'\badd\("([a-z-]+)"', PLUGIN)}
    for manual in (section(REFERENCE, "The options"), text_of("certbot/README.md")):
        assert found(r"^\| `(--[a-z-]+)", manual) == options


@pytest.mark.parametrize("hook", sorted((REPOSITORY / "conf" / "hooks").iterdir()), ids=lambda hook: hook.name)
def test_every_variable_of_a_hook_is_documented(hook: Path) -> None:
    """What it reads itself, and ACME_ALPN_SPOOL, which the tool reads."""
    lines = hook.read_text().splitlines()
    script = "\n".join(line for line in lines if not line.startswith("#"))
    comments = "\n".join(line for line in lines if line.startswith("#"))
    taken = found(r"\$\{?(ACME_ALPN\w*)", script) | {"ACME_ALPN_SPOOL"}
    assert found(r"\bACME_ALPN\w*", comments) == taken <= found(r"`(ACME_ALPN\w*)", text_of("docs/clients.md"))


# What is in the repository


def test_files_that_contributing_names_exist() -> None:
    commands = found(r"^\| .* \| `(.*)` \|$", text_of("CONTRIBUTING.md"))
    words = {word.partition("TESTS=")[2] or word for command in commands for word in command.split()}
    for name in (word for word in words if "/" in word or word.endswith(".py")):
        places = [REPOSITORY / folder / name for folder in ("", "test/httpd")]
        assert any(path.is_file() or path.with_suffix(".c").is_file() for path in places), name
    parts = subprocess.run([REPOSITORY / "build/check", "--list"], capture_output=True, text=True, check=True).stdout
    assert {command.split()[1] for command in commands if command.startswith("build/check ")} <= set(parts.split())


# What ARCHITECTURE.md names that is httpd's, mod_ssl's or OpenSSL's.
THEIRS = {"close_notify", "pre_connection", "process_connection", "ssl_answer_challenge", "ssl_pre_handshake"}
FOLDERS = ("build", "certbot", "conf", "docs", "include", "lib", "module", "src", "test")


def source_of(name: str) -> Path:
    """module/x.c and lib/x.c are short forms."""
    short = {"module/": "src/module/mod_acme_alpn_", "lib/": "src/lib/acme_"}
    return REPOSITORY / re.sub(r"^(module/|lib/)", lambda match: short[match[0]], name)


def test_files_that_architecture_names_exist() -> None:
    text = text_of("ARCHITECTURE.md")
    names = found(rf"(?<![\w/])(?:{'|'.join(FOLDERS)})/[\w./-]*\w", text)
    names |= found(r"(?<![\w/.])[\w-]+\.(?:am|c|md)\b", text)
    examples = {name for name in names if re.search(r"(?:/|_)x(?:\.\w+)?$", name)}
    assert "module/x.c" in examples
    assert not [name for name in names - examples if not source_of(name).exists()]


def test_functions_that_architecture_names_are_where_it_says() -> None:
    text = text_of("ARCHITECTURE.md")
    words = set(re.findall(r"\w+", CODE + text_of("test/test.am") + text_of("build/check-part")))
    examples = {"acme_alpn_x_ask", "replay_x"}
    assert found(r"(?<![\w/])[A-Za-z]+_\w+(?![\w./])", text) - words <= THEIRS | examples
    for name, file in found(r"\b(\w+_\w+)`? \(((?:module|lib)/\w+\.c)", text):
        assert re.search(rf"^\w.*\b{name}\(", source_of(file).read_text(), re.MULTILINE), (name, file)
    for name in found(r"shared memory `(.+?)(?:VERSION)?`", text):
        assert f'acme_alpn_shm_get(server, "{name}"' in CODE


def test_files_are_as_editorconfig_says() -> None:
    config = configparser.ConfigParser()
    config.read_string("[top]\n" + text_of(".editorconfig"))
    (limit,) = found(r"^ColumnLimit: (\d+)$", text_of(".clang-format"))
    assert config["*.{c,h}"]["max_line_length"] == limit
    command = ["git", "-C", REPOSITORY, "ls-files", "--", ":!test/fuzz/corpus", ":!*.png"]
    for name in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        text = (REPOSITORY / name).read_bytes().decode()
        assert "\r" not in text and text.endswith("\n") == bool(text), name
        assert not re.search(r"[ \t]$", text, re.MULTILINE), name
        assert bool(re.search(r"^\t", text, re.MULTILINE)) == (name.endswith(".am") or name == "debian/rules"), name
        if name.endswith((".c", ".h")):
            assert max(map(len, text.splitlines())) <= int(limit), name


def test_readme_names_every_page() -> None:
    assert not [manual.name for manual in (REPOSITORY / "docs").glob("*.md") if f"docs/{manual.name} " not in README]


def test_shipped_manuals_are_installed() -> None:
    makefile = text_of("Makefile.am")
    assert not [manual.name for manual in (REPOSITORY / "docs").glob("*.md") if f"docs/{manual.name}" not in makefile]
