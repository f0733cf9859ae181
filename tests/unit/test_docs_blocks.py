"""Each code block in the documentation is what it says, as far as can be told."""

from __future__ import annotations

import ast
import configparser
import importlib
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from django_esdb.conf import KNOWN_SETTINGS
from tests.support.docs.blocks import DOCS, PAGES, Block, blocks, inline_code
from tests.support.docs.commands import (
    docker_command,
    problems,
    refused,
    started,
    typed,
)

OURS = ("django_esdb", "eventsourcing_eventstoredb")
LANGUAGES = {
    "console",
    "dockerfile",
    "ini",
    "procfile",
    "python",
    # Without prompts and output: can be pasted as it is.
    "sh",
    "text",
    "yaml",
}
# What units may say, of what systemd.unit, systemd.service and systemd.exec know.
UNIT_KEYS = {
    "Unit": {"Description", "Wants", "After", "StartLimitIntervalSec"},
    "Service": {
        "EnvironmentFile",
        "ExecStart",
        "NoNewPrivileges",
        "Restart",
        "RestartPreventExitStatus",
        "RestartSec",
        "RuntimeDirectory",
        "TimeoutStopSec",
        "Type",
        "User",
        "WorkingDirectory",
    },
    "Install": {"WantedBy"},
}
INSTRUCTIONS = {"CMD", "COPY", "FROM", "RUN", "USER", "WORKDIR"}


def each(*languages: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", blocks(*languages), ids=str)


def load_yaml(text: str) -> list[Any]:
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all(text))


@each()
def test_a_block_names_its_language(block: Block) -> None:
    assert block.language in LANGUAGES


@each("python")
def test_python_compiles(block: Block) -> None:
    # Parts of an async view may be shown without it.
    compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def imported(block: Block) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(block.text)):
        module = node.module if isinstance(node, ast.ImportFrom) else None
        if module and module.partition(".")[0] in OURS:
            for name in node.names:
                yield module, name.name


@each("python")
def test_what_python_imports_from_the_packages_is_there(block: Block) -> None:
    for module, name in imported(block):
        # The admin's modules need models, which is nothing for a unit test.
        if module.startswith("django_esdb.admin"):
            continue
        assert hasattr(importlib.import_module(module), name), (module, name)


@each("python")
def test_settings_are_known(block: Block) -> None:
    named = {
        node.id
        for node in ast.walk(ast.parse(block.text))
        if isinstance(node, ast.Name) and node.id.startswith("ESDB_")
    }

    assert named <= set(KNOWN_SETTINGS)


@each("console", "sh")
def test_what_is_typed_can_be_read_by_a_shell(block: Block) -> None:
    commands = typed(block)
    assert commands
    checked = subprocess.run(
        ["bash", "-n"], input="\n".join(commands), capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr


@each("console", "sh")
def test_what_is_typed_exists(block: Block) -> None:
    assert [found for line in typed(block) for found in problems(line)] == []


@each("console", "sh")
def test_commands_take_what_is_typed(block: Block) -> None:
    assert [why for line in typed(block) if (why := refused(line))] == []


def test_arguments_that_a_command_does_not_take_are_told() -> None:
    assert refused("python manage.py runprojections --batch-size 5") == ""
    assert "--batch-size" in refused("python manage.py runprojections --batch-size x")
    assert "NAME" in refused("python manage.py resetprojection")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_within_the_text_exist(page: Any) -> None:
    assert [found for code in inline_code(page) for found in problems(code)] == []


@each("ini")
def test_ini_files_are_loaded(block: Block) -> None:
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(block.text)

    assert parser.sections()
    if "Service" in parser:
        for section in parser.sections():
            assert set(parser[section]) <= UNIT_KEYS[section]
        assert problems(parser["Service"]["ExecStart"]) == []
        assert parser["Service"]["ExecStart"].startswith("/")


@each("yaml")
def test_yaml_files_are_loaded_and_start_what_is_there(block: Block) -> None:
    found = load_yaml(block.text)

    assert all(isinstance(each, dict) for each in found)
    commands = list(started(found))
    assert [wrong for command in commands for wrong in problems(command)] == []


@each("dockerfile")
def test_dockerfiles_are_read(block: Block) -> None:
    for line in block.text.splitlines():
        assert line.partition(" ")[0] in INSTRUCTIONS
        assert problems(docker_command(line)) == []


@each("procfile")
def test_procfiles_name_a_command_in_each_line(block: Block) -> None:
    for line in block.text.splitlines():
        name, _, command = line.partition(": ")
        assert re.fullmatch(r"\w+", name)
        assert command
        assert problems(command) == []


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python manage.py runprojections --until-caught-up", []),
        ("python manage.py runprojection", ["manage.py has no command runprojection"]),
        (
            "manage.py runprojections School --sleep 5",
            ["manage.py runprojections has no option --sleep"],
        ),
        ("make test", []),
        ("make PYTHON=python3.12 tset", ["make has no target tset"]),
        ("python -m eventsourcing_eventstoredb.server --data x", []),
        (
            "python -m eventsourcing_eventstoredb.serve",
            ["there is no module eventsourcing_eventstoredb.serve"],
        ),
        ("gunicorn mysite.wsgi", []),
    ],
)
def test_commands_that_do_not_exist_are_told(command: str, expected: list[str]) -> None:
    assert problems(command) == expected


def test_kubernetes_selects_the_pods_that_it_makes_and_waits_longer_than_they_do() -> (
    None
):
    (text,) = (b.text for b in blocks("yaml") if "apiVersion: apps/v1" in b.text)
    deployments = [each for each in load_yaml(text) if each["kind"] == "Deployment"]

    for each in deployments:
        pod = each["spec"]["template"]
        assert each["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
        for container in pod["spec"]["containers"]:
            ports = {port["name"] for port in container["ports"]}
            for probe in ("livenessProbe", "readinessProbe"):
                asked = container[probe].get("httpGet", {})
                assert {asked.get("port")} <= ports | {None}
    (worker,) = (d for d in deployments if "runprojections" in str(d))
    spec = worker["spec"]["template"]["spec"]
    command = spec["containers"][0]["command"]
    limit = int(command[command.index("--shutdown-timeout") + 1])
    assert limit < spec["terminationGracePeriodSeconds"]


def test_compose_waits_longer_than_a_worker_does() -> None:
    (text,) = (b.text for b in blocks("yaml") if "stop_grace_period" in b.text)
    (file,) = load_yaml(text)
    worker = file["services"]["projections"]
    limit = int(worker["command"][worker["command"].index("--shutdown-timeout") + 1])

    assert limit < int(worker["stop_grace_period"].removesuffix("s"))
    for service in file["services"].values():
        assert set(service.get("depends_on", ())) <= set(file["services"])


def test_systemd_waits_longer_than_a_worker_does() -> None:
    (text,) = (b.text for b in blocks("ini") if "TimeoutStopSec" in b.text)
    limit = int(re.findall(r"--shutdown-timeout (\d+)", text)[0])

    assert limit < int(re.findall(r"TimeoutStopSec=(\d+)", text)[0])


def test_each_alert_is_explained_and_no_other() -> None:
    (file,) = load_yaml((DOCS / "prometheus" / "alerts.yml").read_text("utf-8"))
    alerts = [rule["alert"] for group in file["groups"] for rule in group["rules"]]
    page = (DOCS / "howto" / "deploy.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)

    assert explained == alerts
