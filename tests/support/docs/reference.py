"""
Reference pages that are made of the code: commands and classes.

``python -m tests.support.docs.reference`` writes them; a test compares.
"""

from __future__ import annotations

import inspect
import os
import re
import textwrap
from argparse import SUPPRESS, Action
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import django
from django.core.management import BaseCommand, get_commands, load_command_class

from tests.support.docs.blocks import DOCS

# Where what is public can be imported from, in the order of the page.
MODULES = (
    "django_esdb",
    "django_esdb.recorders",
    "django_esdb.admin",
    "django_esdb.exceptions",
    "django_esdb.testing",
    "django_esdb.contrib.prometheus",
    "django_esdb.contrib.opentelemetry",
    "eventsourcing_eventstoredb",
    "eventsourcing_eventstoredb.server",
)
PACKAGES = ("django_esdb", "eventsourcing_eventstoredb")

# Of pages of the admin the one that users derive from; the others are the app's own.
_ONLY = {"django_esdb.admin": ["ReadModelAdmin"]}
_SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises")
_ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?([^`<]+)`")
# Defaults that say something, and the same with each Python.
_PLAIN = (bool, int, float, str, tuple, type(None))
_HEADER = "<!-- Made of the code, by «make reference»; not to be edited. -->"


def commands_page() -> str:
    """Return the page of commands, with their options and exit statuses."""
    lines = [
        "# Commands",
        "",
        _HEADER,
        "",
        "What `manage.py help COMMAND` says. Each has Django's own options, too, such",
        "as `--settings` and `--verbosity`; an option that is wrong ends any of them",
        "with status 2.",
    ]
    for name in sorted(n for n, app in get_commands().items() if app == "django_esdb"):
        lines += _command(name, load_command_class("django_esdb", name))
    return _page(lines)


def classes_page() -> str:
    """Return the page of classes and functions that can be imported."""
    lines = [
        "# Classes and functions",
        "",
        _HEADER,
        "",
        "What is meant to be imported. All else may change from version to version.",
    ]
    for module in MODULES:
        imported = import_module(module)
        lines += ["", f"## {module}"]
        for name in _public(imported):
            lines += _object(name, getattr(imported, name))
    return _page(lines)


PAGES: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands_page,
    "reference/classes.md": classes_page,
}


def _page(lines: list[str]) -> str:
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    return re.sub(r"\n{3,}", "\n\n", text)


def _command(name: str, command: BaseCommand) -> Iterator[str]:
    yield from ("", f"## {name}", "", f"{command.help}")
    parser = command.create_parser("manage.py", name)
    common = {
        option
        for action in BaseCommand().create_parser("manage.py", name)._actions
        for option in action.option_strings
    }
    own = [
        action
        for action in parser._actions
        if action.help != SUPPRESS
        and not common.issuperset(action.option_strings or "x")
    ]
    if own:
        yield from ("", "| option | what it does |", "|---|---|")
        for action in own:
            text = (action.help or "") % {**vars(action), "prog": name}
            yield f"| {_invocation(action)} | {_cell(text)} |"
    statuses = getattr(command, "exit_statuses", {})
    if statuses:
        yield from ("", "| exit status | what it means |", "|---|---|")
        yield from (f"| {key} | {_cell(text)} |" for key, text in statuses.items())


def _invocation(action: Action) -> str:
    metavar = action.metavar or action.dest.upper()
    if isinstance(metavar, tuple):
        metavar = " ".join(metavar)
    if action.nargs in ("*", "+"):
        metavar += " ..."
    if not action.option_strings:
        optional = action.nargs in ("*", "?")
        return f"`[{metavar}]`" if optional else f"`{metavar}`"
    value = "" if action.nargs == 0 else f" {metavar}"
    return ", ".join(f"`{option}{value}`" for option in action.option_strings)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _public(module: Any) -> list[str]:
    """Return a module's public names, sorted: what it declares, or its classes."""
    declared = _ONLY.get(module.__name__, getattr(module, "__all__", None))
    if declared is not None:
        return sorted(name for name in declared if not name.startswith("__"))
    return sorted(
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__
    )


def _object(name: str, value: Any) -> Iterator[str]:
    yield from ("", f"### {name}", "")
    is_error = inspect.isclass(value) and issubclass(value, BaseException)
    if callable(value) and not is_error:
        yield from (f"`{name}{_signature(value)}`", "")
    if is_error:
        yield from (f"An error, of `{value.__mro__[1].__name__}`.", "")
    yield from _documented(value)
    if inspect.isclass(value) and not is_error:
        for method, function in _methods(value):
            yield from ("", f"#### {name}.{method}", "")
            if callable(function):
                yield from (f"`{method}{_signature(function, bound=True)}`", "")
            yield from _documented(function)


def _methods(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield what a class adds to others' classes, with a docstring of its own."""
    found: dict[str, Any] = {}
    for each in reversed(cls.__mro__):
        if each.__module__.partition(".")[0] in PACKAGES:
            found |= vars(each)
    for name, value in sorted(found.items()):
        function = getattr(value, "__func__", value)
        is_own = inspect.isfunction(function) or isinstance(value, property)
        if not name.startswith("_") and is_own and function.__doc__:
            yield name, function


def _signature(value: Any, *, bound: bool = False) -> str:
    if inspect.isclass(value):
        # Python makes others up; into a protocol's class with its first instance.
        found = [vars(each).get("__init__") for each in value.__mro__]
        made = [
            each
            for each in found
            if inspect.isfunction(each)
            and each.__module__.partition(".")[0] in PACKAGES
        ]
        return _signature(made[0], bound=True) if made else "()"
    signature = inspect.signature(value)
    parameters = []
    for each in signature.parameters.values():
        if each.name.startswith("_") or (bound and each.name in ("self", "cls")):
            continue
        default = each.default
        if default is not each.empty and type(default) not in _PLAIN:
            default = _Ellipsis()
        parameters.append(each.replace(annotation=each.empty, default=default))
    shown = signature.replace(
        parameters=parameters, return_annotation=inspect.Signature.empty
    )
    return str(shown)


class _Ellipsis:
    def __repr__(self) -> str:
        return "..."


def _documented(value: Any) -> Iterator[str]:
    """Yield a docstring as Markdown."""
    text = inspect.cleandoc(value.__doc__ or "")
    for block in re.split(r"\n\n+", _ROLE.sub(r"``\1``", text)):
        title, _, rest = block.partition("\n")
        if title.rstrip(":") in _SECTIONS and title.endswith(":"):
            yield from ("", f"{title}", "")
            yield from _items(title.rstrip(":"), rest)
        elif block.startswith((" ", ">>>")):
            yield from ("", "```text", textwrap.dedent(block), "```")
        else:
            yield from ("", _prose(block))


def _items(section: str, text: str) -> Iterator[str]:
    text = inspect.cleandoc("\n" + text)
    if section in ("Returns", "Yields"):
        yield _prose(text)
        return
    for item in re.split(r"\n(?=\S)", text):
        name, colon, rest = item.partition(":")
        joined = " ".join(rest.split())
        yield f"- `{name}`: {_prose(joined)}" if colon else f"- {_prose(item)}"


def _prose(text: str) -> str:
    return text.replace("``", "`").replace("::", ":").replace("<", "&lt;")


def main() -> None:
    (DOCS / "reference").mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
        print(f"wrote docs/{name}")  # noqa: T201


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.settings")
    django.setup()
    main()
