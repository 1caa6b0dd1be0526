"""What the certbot plugin can say: the texts of the errors that it raises, with a mark where a value goes."""

from __future__ import annotations

import ast
from pathlib import Path

VALUE = "\0"

# Of certbot and argparse. What else is raised is turned into one of these.
RAISED = {
    "PluginError",
    "MisconfigurationError",
    "NoInstallationError",
    "ArgumentTypeError",
    "InvalidAddress",
}


def raised(source: Path) -> set[str]:
    """By one module. What is nothing but values has no words of its own."""
    tree = ast.parse(source.read_text())
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    found: set[str] = set()
    for scope in functions.values():
        names = {**_texts(tree.body), **_texts(_within(scope))}
        for node in _within(scope):
            if isinstance(node, ast.Raise) and _called(node.exc) in RAISED:
                found |= _said(node.exc.args, names, functions)  # type: ignore[union-attr]
            elif isinstance(node, ast.Call) and ast.dump(node.func).startswith("Attribute(value=Call(func=Name(id='super'"):
                found |= _said(node.args, names, functions)
    return {text for text in found if any(letter.isalpha() for letter in text)}


def _within(scope: ast.AST) -> list[ast.AST]:
    return [node for node in ast.walk(scope) if node is not scope]


def _called(call: ast.expr | None) -> str:
    called = call.func if isinstance(call, ast.Call) else None
    return called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")


def _texts(nodes: list[ast.AST] | list[ast.stmt]) -> dict[str, set[str]]:
    """The texts that each name can stand for."""
    found: dict[str, set[str]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            text = _text(node.value)
            if text.strip(VALUE):
                found.setdefault(node.targets[0].id, set()).add(text)
    return found


def _said(
    arguments: list[ast.expr], names: dict[str, set[str]], functions: dict[str, ast.FunctionDef]
) -> set[str]:
    if not arguments:
        return set()
    text, inner = _text(arguments[0]), [n for n in ast.walk(arguments[0]) if isinstance(n, ast.Name)]
    if _called(arguments[0]) in functions:
        return _returned(functions[_called(arguments[0])], names)
    # f"{text}, or ..." begins with a text that has a name.
    if text.startswith(VALUE) and inner and inner[0].id in names:
        return {value + text[1:] for value in names[inner[0].id]}
    return {text}


def _returned(function: ast.FunctionDef, names: dict[str, set[str]]) -> set[str]:
    """A function that chooses among texts, of which the module has a name for each that is long."""
    returns = {_text(node.value) for node in _within(function) if isinstance(node, ast.Return) and node.value}
    return returns | {text for texts in names.values() for text in texts if text.count(" ") > 3}


def _text(value: ast.expr) -> str:
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value
    if isinstance(value, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else VALUE for part in value.values)
    if isinstance(value, ast.BinOp):
        return _text(value.left) + _text(value.right)
    return VALUE
