"""Commands that the documentation shows, and whether they exist with their options."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from typing import Any

from django.core.management import CommandError, get_commands, load_command_class
from django.core.management.base import CommandParser

from tests.support.docs.blocks import Block
from tests.support.projects import ROOT

_MANAGE_PY = re.compile(r"manage\.py (\w+)((?: (?!\|)\S+)*)")
_MODULE = re.compile(r"python3? -m ((?:eventsourcing_eventstoredb|example_project)\S*)")
_MAKE = re.compile(r"^make ((?:[A-Z]+=\S+ )*)([a-z-]+)")


def typed(block: Block) -> list[str]:
    """Return what is typed in a block of a terminal, with continued lines joined."""
    text = block.text.replace("\\\n", " ")
    if block.language == "sh":
        return text.splitlines()
    return [line[2:] for line in text.splitlines() if line.startswith("$ ")]


def started(value: Any) -> Iterator[str]:
    """Yield the commands that a loaded YAML file has, wherever they are in it."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key in ("command", "test") and isinstance(each, list):
                yield shlex.join(each)
            else:
                yield from started(each)
    elif isinstance(value, list):
        for each in value:
            yield from started(each)


def problems(command: str) -> list[str]:
    """
    Return what is wrong with a command, in words; nothing if it is one of other
    programs.
    """
    found = []
    for name, arguments in _MANAGE_PY.findall(command):
        found += _django_problems(name, arguments)
    for module in _MODULE.findall(command):
        if find_spec(module.rstrip("`.,;")) is None:
            found.append(f"there is no module {module}")
    for _, target in _MAKE.findall(command):
        if target not in _targets():
            found.append(f"make has no target {target}")
    return found


@cache
def _targets() -> frozenset[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return frozenset(re.findall(r"^([a-z-]+):", text, re.MULTILINE))


def arguments_of(line: str) -> list[str]:
    """Return what a line that is typed gives to ``manage.py``; nothing without it."""
    words = shlex.split(line)
    return words[words.index("manage.py") + 1 :] if "manage.py" in words else []


def refused(line: str) -> str:
    """Return why a command does not take its arguments; empty if it does."""
    # A database that pages have besides, and tests do not.
    given = [word.replace("archive", "default") for word in arguments_of(line)]
    name, *arguments = given or [""]
    parser = _parser(name)
    try:
        if parser is not None:
            parser.parse_args(arguments)
    except CommandError as error:
        return str(error)
    return ""


def _parser(name: str) -> CommandParser | None:
    app = get_commands().get(name)
    if app is None:
        return None
    command = app if not isinstance(app, str) else load_command_class(app, name)
    return command.create_parser("manage.py", name)


@cache
def _options(name: str) -> frozenset[str] | None:
    """Return a command's options; None if there is no such command."""
    parser = _parser(name)
    if parser is None:
        return None
    return frozenset(
        option for action in parser._actions for option in action.option_strings
    )


def _django_problems(name: str, arguments: str) -> Iterator[str]:
    if name == "help":
        return
    known = _options(name)
    if known is None:
        yield f"manage.py has no command {name}"
        return
    for option in re.findall(r"(?<![\w-])--?[a-z][\w-]*", arguments):
        if option not in known:
            yield f"manage.py {name} has no option {option}"


def docker_command(line: str) -> str:
    """Return the command of a line of a Dockerfile; empty if there is none."""
    instruction, _, rest = line.partition(" ")
    return shlex.join(json.loads(rest)) if instruction == "CMD" else ""
