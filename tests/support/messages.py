"""
What the code says to people when something is wrong, collected from its source.

That is what errors are made with, log lines at warning or above, what is written to
standard error, and what is shown in pages. Texts that are put together elsewhere are
looked for there: in the variables, constants and functions of the same module and of
those that it imports from, and in what callers pass on.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

FILLED_IN = "…"

_ERROR = re.compile(r"(Error|Exception|Warning|Configured|DoesNotExist|Exit)$")
_LOGGED = ("warning", "error", "exception", "critical", "log")
# Others whose arguments users read; «failure» is what an attribute is set to.
_SHOWN = ("message_user", "add_error", "warn", "write_to_stderr", "failure")
# What errors of the event store say, each with its class.
_CLASSES = ("Reason",)
_TRANSLATED = ("_", "gettext", "ngettext")
# Where what is translated is said rather than a label.
_PAGES = ("admin/actions.py", "status/advice.py", "training_school/views.py")
_PLACEHOLDER = re.compile(r"%\(\w+\)[sdr]|%[-+.\d]*[sdrfg]|\{\w*\}")
# These shorten, quote or mask what they are given.
_ONLY_PASS_ON = ("text", "masking", "tracebacks")


@dataclass(frozen=True, order=True)
class Message:
    """
    A text, or a part of one, that users may get.

    Attributes:
        module: Path of the module that it stands in, from the project's folder.
        line: Where.
        text: The text, with «…» for what is filled in.
    """

    module: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.text}"


def messages(root: Path, *packages: str) -> list[Message]:
    """Return what the modules of packages say, in order of modules and lines."""
    modules: dict[str, _Module] = {}
    for package in packages:
        for path in (root / package).rglob("*.py"):
            name = ".".join(path.relative_to(root).with_suffix("").parts)
            modules[name] = _Module(path, path.relative_to(root).as_posix(), modules)
    found: set[Message] = set()
    for module in modules.values():
        for node in module.spoken():
            found.update(module.reached(node))
    return sorted(each for each in found if _is_prose(each.text))


def words(text: str) -> int:
    """Return how many words a text has, of two letters or more."""
    return len(re.findall(r"[^\W\d_]{2,}", text))


def _is_prose(text: str) -> bool:
    return words(text) >= 2 and " " in text.strip()


class _Module:
    def __init__(self, path: Path, name: str, others: dict[str, _Module]) -> None:
        self.name = name
        self.others = others
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.around: dict[ast.AST, ast.AST] = {}
        self._nodes: list[ast.AST] = []
        for node in ast.walk(self.tree):
            self._nodes.append(node)
            for child in ast.iter_child_nodes(node):
                self.around[child] = node
        self._seen: set[ast.AST] = set()

    @cached_property
    def functions(self) -> dict[str, ast.FunctionDef]:
        found = (each for each in self._nodes if isinstance(each, ast.FunctionDef))
        return {each.name: each for each in found}

    @cached_property
    def imported(self) -> dict[str, tuple[str, str]]:
        return {
            alias.asname or alias.name: (node.module or "", alias.name)
            for node in self._nodes
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    def spoken(self) -> Iterator[ast.expr]:
        """Return what is shown to users."""
        for node in self._nodes:
            if isinstance(node, ast.Call):
                yield from self._spoken(node)
            elif isinstance(node, ast.Assign) and _name(node.targets[0]) in _SHOWN:
                yield node.value
            elif isinstance(node, ast.ClassDef) and node.name in _CLASSES:
                values = (n for n in node.body if isinstance(n, ast.Assign))
                yield from (each.value for each in values)

    def _spoken(self, call: ast.Call) -> list[ast.expr]:
        name, whole = _name(call.func), ast.unparse(call.func)
        arguments = [*call.args, *(each.value for each in call.keywords)]
        if _ERROR.search(name):
            # A check's is known by its number.
            is_check = any(each.arg == "id" for each in call.keywords)
            return [] if is_check else arguments
        if name in _LOGGED and "logger" in whole:
            return call.args[:1]
        if name in _TRANSLATED and self.name.endswith(_PAGES):
            return arguments
        if (name == "write" and "stderr" in whole) or whole == "parser.error":
            return arguments
        if name == "__init__" and _ERROR.search(self._class_around(call)):
            return arguments
        return arguments if name in _SHOWN else []

    def _class_around(self, node: ast.AST) -> str:
        while not isinstance(node, ast.ClassDef):
            if node not in self.around:
                return ""
            node = self.around[node]
        return node.name

    def reached(self, node: ast.AST | None) -> Iterator[Message]:
        """Return the texts that an expression may be made of."""
        if node is None or node in self._seen:
            return
        self._seen.add(node)
        if (text := _text(node)) is not None:
            yield Message(self.name, node.lineno, text)  # type: ignore[attr-defined]
        elif isinstance(node, ast.Name):
            yield from self._variable(node.id, node)
        elif isinstance(node, ast.Call) and _name(node.func) not in _TRANSLATED:
            home, called = self._function(_name(node.func))
            if called is not None:
                yield from home.returned(called)
        for part in _parts(node):
            yield from self.reached(part)

    def returned(self, function: ast.FunctionDef) -> Iterator[Message]:
        """Return the texts that a function may return."""
        for node in ast.walk(function):
            if isinstance(node, ast.Return | ast.Yield):
                yield from self.reached(node.value)

    def _function(self, name: str) -> tuple[_Module, ast.FunctionDef | None]:
        if name in self.functions:
            return self, self.functions[name]
        module, original = self.imported.get(name, ("", ""))
        if module in self.others and module.rpartition(".")[2] not in _ONLY_PASS_ON:
            return self.others[module]._function(original)
        return self, None

    def _variable(self, name: str, node: ast.AST) -> Iterator[Message]:
        """Return the texts of what a name may be where it stands."""
        while (node := self.around.get(node, self.tree)) is not self.tree:
            if not isinstance(node, ast.FunctionDef):
                continue
            if assigned := _assigned(ast.walk(node), name):
                for each in assigned:
                    yield from self.reached(each)
                return
            parameters = [each.arg for each in (*node.args.args, *node.args.kwonlyargs)]
            if name in parameters:
                yield from self._passed(node, name, parameters.index(name))
                return
        for each in _assigned(self.tree.body, name):
            yield from self.reached(each)
        module, original = self.imported.get(name, ("", ""))
        if module in self.others:
            other = self.others[module]
            yield from other._variable(original, other.tree)

    def _passed(
        self, function: ast.FunctionDef, name: str, index: int
    ) -> Iterator[Message]:
        """Return the texts that callers in the module pass to a function."""
        # The first one of a method is not passed by callers.
        index -= function.args.args[0].arg == "self" if function.args.args else 0
        for call in self._nodes:
            if isinstance(call, ast.Call) and _name(call.func) == function.name:
                named = [each.value for each in call.keywords if each.arg == name]
                for each in named or call.args[max(index, 0) :][:1]:
                    yield from self.reached(each)


def _text(node: ast.AST) -> str | None:
    match node:
        case ast.Constant(value=str(value)):
            return _PLACEHOLDER.sub(FILLED_IN, value)
        case ast.JoinedStr(values=values):
            return "".join(
                str(each.value) if isinstance(each, ast.Constant) else FILLED_IN
                for each in values
            )
    return None


def _parts(node: ast.AST) -> list[ast.expr]:
    """Return what else an expression is made of, and may be a text."""
    match node:
        case ast.JoinedStr(values=values):
            return [n.value for n in values if isinstance(n, ast.FormattedValue)]
        case ast.Call(func=ast.Attribute(attr="format", value=value), args=args):
            return [value, *args]
        case ast.Call(args=args):
            return args
        case ast.BinOp(left=left, op=op, right=right):
            return [left] if isinstance(op, ast.Mod) else [left, right]
        case ast.IfExp(body=body, orelse=orelse):
            return [body, orelse]
        case ast.BoolOp(values=nodes) | ast.Tuple(elts=nodes) | ast.List(elts=nodes):
            return nodes
        case ast.Dict(values=nodes):
            return nodes
        case ast.ListComp(elt=value):
            return [value]
        case ast.Subscript(value=value) | ast.Starred(value=value):
            return [value]
    return []


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _assigned(nodes: Iterable[ast.AST], name: str) -> list[ast.expr]:
    found: list[ast.expr] = []
    for node in nodes:
        match node:
            case ast.For(target=ast.Name(id=target), iter=value):
                if target == name:
                    found.append(value)
            case (
                ast.Assign(targets=[ast.Name(id=target)], value=value)
                | ast.AugAssign(target=ast.Name(id=target), value=value)
            ):
                if target == name:
                    found.append(value)
            case ast.Assign(
                targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)
            ):
                pairs = zip(targets, values, strict=False)
                found += [value for each, value in pairs if _name(each) == name]
    return found
