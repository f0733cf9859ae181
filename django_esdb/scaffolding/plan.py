"""What a new projection is called, and what it is for."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.apps import AppConfig, apps
from eventsourcing.application import Application
from eventsourcing.domain import BaseAggregate, CanMutateAggregate
from eventsourcing.utils import resolve_topic

from django_esdb.events.aggregate_events import event_classes
from django_esdb.exceptions import ConfigurationError
from django_esdb.registry import registry
from eventsourcing_eventstoredb.text import named_line, quoted

# What the files import.
_TAKEN = (
    *("Any", "Projection", "Tracking", "DjangoTrackingRecorder", "ReadModelAdmin"),
    *("EventFactory", "TestCase"),
)
_SUFFIX = "Projection"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """
    A projection that is to be written.

    Attributes:
        name: Its name, and its class's.
        aggregate_class: Whose events it processes.
        events: Their classes; those that begin an aggregate come first.
        application_class: Who records them.
        app_name: Dotted name of the app that it is written for.
        app_label: The app's label.
        folder: Where the app's modules are.
    """

    name: str
    aggregate_class: type[BaseAggregate[Any]]
    events: tuple[type[CanMutateAggregate[Any]], ...]
    application_class: type[Application[Any]]
    app_name: str
    app_label: str
    folder: Path

    @property
    def base(self) -> str:
        """What other classes' names begin with."""
        return self.name.removesuffix(_SUFFIX) or self.name

    @property
    def view(self) -> str:
        return f"{self.base}View"

    @property
    def model(self) -> str:
        return f"{self.base}Row"


def plan_projection(
    name: str, aggregate: str, *, app: str | None, application: str | None
) -> Plan:
    """
    Find out what a projection is to be made of.

    Args:
        name: The projection's.
        aggregate: Topic of the aggregate's class, such as ``school.domain:Dog``.
        app: Label or name of an installed app; None for the one that has the class.
        application: Topic of an application's class; None for the only one in the
            module of the aggregate's class, or next to it.

    Raises:
        ConfigurationError: Something of it cannot be used; the text says what.
    """
    aggregate_class = _class(aggregate, BaseAggregate, "--aggregate", "an aggregate")
    events = event_classes(aggregate_class)
    if not events:
        msg = f"{aggregate} has no events that a projection could process"
        raise ConfigurationError(msg)
    config = _app(app, aggregate_class)
    if application is None:
        application_class = _only_application(aggregate_class, config)
    else:
        application_class = _class(
            application, Application, "--application", "an application"
        )
    plan = Plan(
        name=name,
        aggregate_class=aggregate_class,
        events=events,
        application_class=application_class,
        app_name=config.name,
        app_label=config.label,
        folder=Path(config.path),
    )
    _check_name(plan, config)
    return plan


def _class(topic: str, base: type, option: str, kind: str) -> Any:
    if ":" not in topic:
        msg = f"{option} {quoted(topic)} is no topic such as school.domain:Dog"
        raise ConfigurationError(msg)
    try:
        found = resolve_topic(topic)
    except Exception as error:
        # Whatever its module raises when it is imported.
        msg = f"{option} {quoted(topic)} cannot be found: {named_line(error)}"
        raise ConfigurationError(msg) from error
    if not (isinstance(found, type) and issubclass(found, base)):
        msg = f"{option} {quoted(topic)} is not the class of {kind}"
        raise ConfigurationError(msg)
    return found


def _app(app: str | None, aggregate_class: type) -> AppConfig:
    if app is None:
        found = apps.get_containing_app_config(aggregate_class.__module__)
        if found is None:
            module = aggregate_class.__module__
            msg = f"no installed app has {module} in it: say --app"
            raise ConfigurationError(msg)
        return found
    for config in apps.get_app_configs():
        if app in (config.label, config.name):
            return config
    msg = f"--app {quoted(app)} is not in INSTALLED_APPS"
    raise ConfigurationError(msg)


def _only_application(
    aggregate_class: type, config: AppConfig
) -> type[Application[Any]]:
    module = aggregate_class.__module__
    found = dict.fromkeys(
        value
        for name in _modules_nearby(module, config)
        for value in vars(import_module(name)).values()
        if isinstance(value, type)
        and issubclass(value, Application)
        and value.__module__ == name
    )
    if len(found) == 1:
        return next(iter(found))
    names = ", ".join(f"{each.__module__}:{each.__qualname__}" for each in found)
    told = f"there are {names}" if found else f"there is none next to {module}"
    msg = (
        f"which application records the events cannot be told, {told}: say "
        "--application"
    )
    raise ConfigurationError(msg)


def _modules_nearby(module: str, config: AppConfig) -> Iterator[str]:
    yield module
    packages = dict.fromkeys((module.rpartition(".")[0], config.name))
    for package in packages:
        for name in ("application", "applications"):
            nearby = f"{package}.{name}" if package else name
            if nearby != module and find_spec(nearby) is not None:
                yield nearby


def _check_name(plan: Plan, config: AppConfig) -> None:
    name = plan.name
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", name) or keyword.iskeyword(name):
        msg = f"{quoted(name)} is no name of a class, such as DogList"
        raise ConfigurationError(msg)
    for other in registry:
        if other.name.casefold() == name.casefold():
            msg = (
                f"a projection {other.name} is registered already: choose another name"
            )
            raise ConfigurationError(msg)
    application = plan.application_class
    taken = {
        *_TAKEN,
        application.__qualname__.partition(".")[0],
        plan.aggregate_class.__qualname__.partition(".")[0],
    }
    same = name.casefold() == application.name.casefold()
    clash = taken & {name, plan.view, plan.model}
    if same or clash:
        found = min(clash, default=application.name)
        msg = f"{name} would clash with {found}: choose another name"
        raise ConfigurationError(msg)
    if plan.model.lower() in config.models:
        msg = f"{config.label} has a model {plan.model} already: choose another name"
        raise ConfigurationError(msg)
