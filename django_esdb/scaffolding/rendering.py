"""The texts of the files that make a projection."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import Any

from django_esdb.events.aggregate_events import begins, field_names
from django_esdb.scaffolding.fields import id_field, kept_values, model_fields
from django_esdb.scaffolding.plan import Plan
from django_esdb.testing.event_factories import EventFactory
from django_esdb.testing.projecting import codec
from eventsourcing_eventstoredb.text import one_line

_LINE = 89  # with its end
_SHORT = 40
_FUTURE = "from __future__ import annotations\n\n"


def rendered(plan: Plan) -> dict[Path, str]:
    """Return the texts of all files, by path."""
    test = f"test_{_snake(plan.name)}.py"
    tests = plan.folder / "tests"
    return {
        plan.folder / "models.py": _models(plan),
        plan.folder / "projections.py": _projections(plan),
        plan.folder / "admin.py": _admin(plan),
        (tests if tests.is_dir() else plan.folder) / test: _tests(plan),
    }


def _models(plan: Plan) -> str:
    fields = model_fields(plan)
    kind = plan.aggregate_class.__name__
    lines = [f"{field.name} = {field.definition}" for field in fields.values()]
    shown = next(iter(fields), "id")
    return (
        "from django.db import models\n\n\n"
        f"class {plan.model}(models.Model):\n"
        f'    """One {kind}, as its events have left it."""\n\n'
        f"    id = {id_field(plan)}\n"
        f"    version = models.PositiveBigIntegerField()\n"
        + indent("".join(f"{line}\n" for line in lines), "    ")
        + "\n    def __str__(self):\n"
        f"        return str(self.{shown})\n"
    )


def _projections(plan: Plan) -> str:
    imports = _imports(
        plan.aggregate_class,
        plan.application_class,
        (f"{plan.app_name}.models", plan.model),
    )
    topics = "".join(f"        get_topic({_name(plan, e)}),\n" for e in plan.events)
    view = "\n".join(_view_method(plan, event) for event in plan.events)
    helpers = (
        "from eventsourcing_eventstoredb.text import storable\n"
        if "storable(" in view
        else ""
    )
    handlers = "\n".join(
        f"    @process_event.register\n"
        f"{_signature(plan, event)}"
        f"        self.view.{_method(event)}(event, tracking)\n"
        for event in plan.events
    )
    return (
        f"{_FUTURE}"
        "from typing import Any\n\n"
        "from django_esdb import register_projection\n"
        "from django_esdb.recorders import DjangoTrackingRecorder\n"
        "from eventsourcing.dispatch import singledispatchmethod\n"
        "from eventsourcing.persistence import Tracking\n"
        "from eventsourcing.projection import Projection\n"
        "from eventsourcing.utils import get_topic\n"
        f"{helpers}\n"
        f"{imports}\n\n"
        f"class {plan.view}(DjangoTrackingRecorder):\n"
        f"    read_models = ({plan.model},)\n\n"
        f"{view}\n\n"
        "@register_projection(\n"
        f"    application_class={plan.application_class.__qualname__},\n"
        f"    view_class={plan.view},\n"
        ")\n"
        f"class {plan.name}(Projection[{plan.view}]):\n"
        f"    topics = (\n{topics}    )\n\n"
        "    @singledispatchmethod\n"
        "    def process_event(self, domain_event: Any, tracking: Tracking) -> None:\n"
        '        """Events of other kinds change nothing."""\n\n'
        f"{handlers}"
    )


def _view_method(plan: Plan, event: Any) -> str:
    said = kept_values(plan, event)
    left = [name for name in field_names(event) if name not in said]
    note = f"            # Not kept: {', '.join(left)}.\n" if left else ""
    head = f"{_signature(plan, event)}        with self.atomic(tracking):\n"
    if begins(event):
        values = "".join(
            f"                    {name}={_value(plan, name)},\n" for name in said
        )
        return (
            f"{head}{note}"
            f"            self.rows({plan.model}).add(\n"
            f"                {plan.model}(\n"
            f"                    id=event.originator_id,\n"
            f"                    version=event.originator_version,\n"
            f"{values}"
            f"                )\n"
            f"            )\n"
        )
    values = "".join(f"            row.{n} = {_value(plan, n)}\n" for n in said)
    return (
        f"{head}{note}"
        f"            row = self.rows({plan.model}).get(event.originator_id)\n"
        f"            row.version = event.originator_version\n"
        f"{values}"
    )


def _value(plan: Plan, name: str) -> str:
    """Return what a field is given; not every database takes every text."""
    definition = model_fields(plan)[name].definition
    if ".TextField(" not in definition:
        return f"event.{name}"
    given = f"storable(event.{name})"
    return f"event.{name} and {given}" if "null=True" in definition else given


def _signature(plan: Plan, event: type) -> str:
    arguments = f"self, event: {_name(plan, event)}, tracking: Tracking"
    line = f"    def {_method(event)}({arguments}) -> None:\n"
    if len(line) <= _LINE:
        return line
    return f"    def {_method(event)}(\n        {arguments}\n    ) -> None:\n"


def _admin(plan: Plan) -> str:
    columns = ", ".join(f'"{name}"' for name in ("id", "version", *model_fields(plan)))
    return (
        "from django.contrib import admin\n"
        "from django_esdb.admin import ReadModelAdmin\n\n"
        f"from {plan.app_name}.models import {plan.model}\n\n\n"
        f"@admin.register({plan.model})\n"
        f"class {plan.model}Admin(ReadModelAdmin):\n"
        f"    list_display = ({columns})\n"
    )


def _tests(plan: Plan) -> str:
    aggregate = plan.aggregate_class.__qualname__
    methods = "\n".join(_test_methods(plan))
    # With nothing that could be tried these would not be used.
    used = [name for name in ("EventFactory", "given") if f"{name}(" in methods]
    helpers = ", ".join(sorted([*used, "assert_projection_complete"]))
    imports = _imports(
        plan.aggregate_class,
        (f"{plan.app_name}.projections", plan.name),
        *([(f"{plan.app_name}.models", plan.model)] if used else []),
    )
    return (
        "from django.test import TestCase\n"
        f"from django_esdb.testing import {helpers}\n\n"
        f"{imports}\n\n"
        f"class {plan.name}Tests(TestCase):\n"
        "    def test_each_event_has_a_handler(self):\n"
        f"        assert_projection_complete({plan.name}, {aggregate})\n\n"
        f"{methods}"
    )


def _test_methods(plan: Plan) -> Iterator[str]:
    aggregate = plan.aggregate_class.__qualname__
    beginning = None
    for event in plan.events:
        name, method = event.__name__, _method(event)
        problem = _problem(plan, event)
        if problem is None and begins(event):
            beginning = beginning or name
            made = "".join(
                f"                {n}=event.{n},\n" for n in kept_values(plan, event)
            )
            yield (
                f"    def test_{method}(self):\n"
                f"        event = EventFactory({aggregate}).{name}()\n\n"
                f"        given(projection={plan.name}).when(event).then(\n"
                f"            {plan.model}(\n"
                f"                id=event.originator_id,\n"
                f"                version=event.originator_version,\n"
                f"{made}"
                f"            )\n"
                f"        )\n"
            )
        elif problem is None and beginning is not None:
            yield (
                f"    def test_{method}(self):\n"
                f"        aggregate = EventFactory({aggregate})\n"
                f"        begun = aggregate.{beginning}()\n"
                f"        event = aggregate.{name}()\n\n"
                f"        given(begun, projection={plan.name}).when(event).then(\n"
                f"            {{\n"
                f"                {plan.model}: [\n"
                f"                    {{\n"
                f'                        "id": event.originator_id,\n'
                f'                        "version": event.originator_version,\n'
                f"                    }}\n"
                f"                ]\n"
                f"            }}\n"
                f"        )\n"
            )
        else:
            reason = problem or "no event that begins an aggregate can be made up"
            yield f"    # Not tried, {name}: {reason}\n"


def _problem(plan: Plan, event: Any) -> str | None:
    """Return why no such event can be made up, encoded and decoded; None if it can."""
    application = None
    try:
        made = EventFactory(plan.aggregate_class)(event)
        application = codec(plan.application_class)
        mapper = application.mapper
        mapper.to_domain_event(mapper.to_stored_event(made))
    except Exception as error:
        # Whatever the project's own classes raise.
        return f"{type(error).__name__}: {one_line(error, _SHORT)}"
    finally:
        if application is not None:
            application.close()
    return None


def _imports(*wanted: type | tuple[str, str]) -> str:
    """Return lines that import classes, or names of modules, in order."""
    names: dict[str, set[str]] = {}
    for each in wanted:
        if isinstance(each, tuple):
            module, name = each
        else:
            module, name = each.__module__, each.__qualname__.partition(".")[0]
        names.setdefault(module, set()).add(name)
    return "".join(
        f"from {module} import {', '.join(sorted(names[module]))}\n"
        for module in sorted(names)
    )


def _name(plan: Plan, event: type) -> str:
    return f"{plan.aggregate_class.__qualname__}.{event.__name__}"


def _method(event: type) -> str:
    return f"on_{_snake(event.__name__)}"


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
