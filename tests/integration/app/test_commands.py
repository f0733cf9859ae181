"""What all commands have in common: their help, and their errors' tracebacks."""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import (
    BaseCommand,
    CommandError,
    call_command,
    get_commands,
    load_command_class,
)

from django_esdb.management.base import SafeCommand
from django_esdb.runner.garbage import expect_many_objects
from eventsourcing_eventstoredb.server import cli, daemon
from eventsourcing_eventstoredb.text import counted, quoted
from example_project.demo import cli as demo

SECRET = "s3cret-w0rd"
COMMANDS = sorted(
    (app, name)
    for name, app in get_commands().items()
    if app in ("django_esdb", "example_project.training_school")
)


class Failing(SafeCommand):
    """Fails with an error whose cause has a password in it."""

    exit_statuses = {"3": "it fails"}
    error: type[Exception] = CommandError

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            msg = f"esdb://admin:{SECRET}@host:2113"
            raise ValueError(msg)
        except ValueError as cause:
            error = self.error("it fails")
            if isinstance(error, CommandError):
                error.returncode = 3
            raise error from cause


def run(command: BaseCommand, *arguments: str) -> tuple[int | str | None, str]:
    """Run a command as from a shell; return its exit status and standard error."""
    command.stderr._out = err = io.StringIO()  # type: ignore[attr-defined]
    with pytest.raises(SystemExit) as ended:
        command.run_from_argv(["manage.py", "failing", *arguments])
    return ended.value.code, err.getvalue()


class Long(SafeCommand):
    """Notes how many objects the garbage collector leaves alone."""

    exit_statuses = {"0": "done"}

    def handle(self, *args: Any, **options: Any) -> None:
        self.expect_many_objects()
        self.left_alone = gc.get_freeze_count()
        self.threshold = gc.get_threshold()


@pytest.fixture
def garbage_collector() -> Iterator[tuple[int, ...]]:
    """Returns its threshold, and restores what a test changes."""
    threshold = gc.get_threshold()
    yield threshold
    gc.set_threshold(*threshold)
    gc.unfreeze()


def test_garbage_is_looked_for_less_often_in_an_own_process(
    garbage_collector: tuple[int, ...],
) -> None:
    frozen = gc.get_freeze_count()
    made: list[list[None]] = [[] for _ in range(10_000)]
    inside, alone = Long(), Long()
    call_command(inside)
    alone.run_from_argv(["manage.py", "long"])

    assert inside.left_alone == frozen
    assert inside.threshold == garbage_collector
    assert alone.left_alone >= frozen + len(made)
    young, *older = alone.threshold
    assert young > garbage_collector[0]
    assert tuple(older) == garbage_collector[1:]


@pytest.mark.parametrize("threshold", [0, 1_000_000])
def test_a_garbage_collector_that_was_told_to_rest_more_does_so(
    garbage_collector: tuple[int, ...], threshold: int
) -> None:
    gc.set_threshold(threshold)
    expect_many_objects()

    assert gc.get_threshold()[0] == threshold


@pytest.mark.parametrize(("app", "name"), COMMANDS)
def test_help_says_each_exit_status(app: str, name: str) -> None:
    command = load_command_class(app, name)

    assert isinstance(command, SafeCommand)
    text = " ".join(command.create_parser("manage.py", name).format_help().split())

    assert len(command.exit_statuses) > 1
    for status, meaning in command.exit_statuses.items():
        assert f"{status} {meaning}" in text


@pytest.mark.parametrize("module", [cli, daemon, demo])
def test_help_of_programs_says_each_exit_status(
    module: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["program", "--help"])
    # The demo's would stay.
    monkeypatch.setattr("signal.signal", lambda *args: None)

    with pytest.raises(SystemExit):
        module.main()

    text = " ".join(capsys.readouterr().out.split())
    for status, meaning in module.EXIT_STATUSES.items():
        assert f"{status} {meaning}" in text


def test_an_error_is_a_line() -> None:
    assert run(Failing()) == (3, "CommandError: it fails\n")


def test_a_traceback_is_masked_and_the_exit_status_stays() -> None:
    status, said = run(Failing(), "--traceback")

    assert status == 3
    lines = said.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "ValueError: esdb://********@host:2113" in lines
    assert lines[-1].endswith("CommandError: it fails")
    assert SECRET not in said


def test_an_unforeseen_error_is_masked_too() -> None:
    command = Failing()
    command.error = RuntimeError

    status, said = run(command)

    assert status == 1
    assert said.splitlines()[-1] == "RuntimeError: it fails"
    assert "esdb://********@host:2113" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 events"), (1, "1 event"), (2, "2 events")]
)
def test_numbers_have_their_noun(number: int, said: str) -> None:
    assert counted(number, "event", "events") == said


@pytest.mark.parametrize(("app", "name"), COMMANDS)
def test_what_is_repeated_of_arguments_is_short_and_can_be_seen(
    app: str, name: str
) -> None:
    command = load_command_class(app, name)
    assert isinstance(command, SafeCommand)
    parser = command.create_parser("manage.py", name)

    for given in (f"--{'x' * 5000}", "--\x1b[31m\ud800"):
        with pytest.raises(CommandError) as refused:
            parser.parse_args([*_positionals(parser), given])
        assert str(refused.value).isprintable()
        assert len(str(refused.value)) < 1200


def _positionals(parser: Any) -> list[str]:
    return [
        "TrainingSchoolProjection"
        for action in parser._actions
        if not action.option_strings and action.nargs is None
    ]


@pytest.mark.any_database
@pytest.mark.django_db
@pytest.mark.parametrize(
    "arguments",
    [
        ("showprojections",),
        ("projectionhealth",),
        ("retryfailedevents",),
        ("resetprojection",),
        ("checktopics",),
    ],
)
@pytest.mark.parametrize("given", ["", "x" * 5000, "\x1b[31mred", "a\\b"])
def test_names_that_there_are_not_are_quoted_once(
    settings: Any, arguments: tuple[str], given: str
) -> None:
    settings.ESDB_URI = "esdb://localhost?Tls=false"

    with pytest.raises(CommandError) as refused:
        call_command(*arguments, given)

    assert refused.value.returncode == 2
    assert quoted(given) in str(refused.value)
    assert len(str(refused.value)) < 400
