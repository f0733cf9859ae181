"""
A projection's build, as a projection of its own.

It has another name, and with it a row of its own in the tracking table: position,
lease, state, and failed events. Everything that runs projections runs it as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connections

from django_esdb.exceptions import ConfigurationError
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import build_name
from django_esdb.rebuilding.beginning import rebuilt_view
from django_esdb.rebuilding.beside.guarding import StatementGuard, own_tables_of_app
from django_esdb.rebuilding.beside.tables import SecondSet
from django_esdb.recorders.rows.unit_of_work import UnitOfWork
from django_esdb.registry import Registration, registry

# Of the column that has it.
_LONGEST_NAME = 255


@dataclass(frozen=True, kw_only=True)
class BuildRegistration(Registration):
    """
    What is registered for a build; nothing else knows it.

    Attributes:
        of: The projection that is built.
    """

    of: Registration

    def env(self) -> dict[str, str]:
        """Return the projection's environment, under the build's name."""
        prefix, own = f"{self.of.name.upper()}_", f"{self.name.upper()}_"
        env = super().env()
        inherited: Mapping[str, str] = {**os.environ, **self.of.env()}
        for key, value in inherited.items():
            # The build's own name begins like the projection's.
            if key.startswith(prefix) and not key.startswith(own):
                env.setdefault(own + key.removeprefix(prefix), value)
        return env


def build_registration(registration: Registration, second: SecondSet) -> Registration:
    """
    Return what runs a projection's code for a build.

    Its events are all processed once more, up to its row's ``replay_until``, behind
    which it processes none. Statements that would change anything else than the second
    set are refused.

    Args:
        registration: The projection.
        second: Its tables, to which models are redirected while it runs.

    Raises:
        ConfigurationError: The view keeps its position itself, or another projection
            has the build's name, or it would be too long.
    """
    view_class = rebuilt_view(registration)
    name = build_name(registration.name)
    if len(name) > _LONGEST_NAME:
        msg = f"{registration.name} has too long a name to be built next to its rows"
        raise ConfigurationError(msg)
    if registry.is_registered(name):
        msg = f"A projection is registered under the name of the build, {name}"
        raise ConfigurationError(msg)
    guard = StatementGuard(
        registration.name,
        second.first_names.values(),
        [*second.tables, *own_tables_of_app()],
        (
            str(field.column)
            for model in second.models
            for field in model._meta.concrete_fields
        ),
    )
    view: Any = view_class

    class BuildView(view):  # type: ignore[misc]
        ends_with_replay = True

        @contextmanager
        def _transaction(self, unit: UnitOfWork) -> Iterator[None]:
            guard.refused = None
            with ExitStack() as stack:
                for alias in connections:
                    wrapper = guard.execute_wrapper
                    stack.enter_context(connections[alias].execute_wrapper(wrapper))
                with super()._transaction(unit):
                    yield
                    if guard.refused is not None:
                        # A handler may have caught it.
                        raise guard.refused

    BuildView.__name__ = view_class.__name__
    BuildView.__qualname__ = view_class.__qualname__
    metaclass: Any = type(registration.projection_class)
    projection_class: Any = metaclass(
        registration.projection_class.__name__,
        (registration.projection_class,),
        # As of this package, so that the fingerprint is the projection's.
        {"name": name, "__module__": __name__},
    )
    return BuildRegistration(
        projection_class=projection_class,
        application_class=registration.application_class,
        view_class=BuildView,
        on_failure=registration.on_failure,
        retries=registration.retries,
        of=registration,
    )


def tracked_build(registration: Registration) -> TrackedProjection:
    """Return where a projection's build is tracked, if there is one."""
    tracked = registration.tracked()
    return TrackedProjection(
        tracked.using, build_name(registration.name), tracked.application
    )
