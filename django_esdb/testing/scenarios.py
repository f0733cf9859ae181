"""Given some events, when something happens, then this is so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from eventsourcing.application import Application
from eventsourcing.projection import Projection

from django_esdb.registry import Registration, registry
from django_esdb.testing.decisions import Decision
from django_esdb.testing.projecting import flat, registration_of
from django_esdb.testing.splitting import Splitting


def given(
    *events: Any,
    projection: type[Projection[Any]] | None = None,
    application: type[Application[Any]] | None = None,
) -> Given:
    """
    Begin a test of a projection or an aggregate with what has happened before.

    A projection is tested by ``given(events).when(event).then(rows)``, and an aggregate
    by ``given(events).when(command).then(events)``.

    Args:
        events: Domain events in their order, or lists of them; see :func:`project`.
        projection: A registered one. By default the one whose view has the models of
            the expected rows among its ``read_models``.
        application: Who encodes the events of an aggregate; by default the library's
            own, which knows no transcodings of yours.
    """
    return Given(flat(events), projection, application)


class Given:
    """What has happened; made by :func:`given`."""

    def __init__(
        self,
        events: list[Any],
        projection: type[Projection[Any]] | None,
        application: type[Application[Any]] | None,
    ) -> None:
        self._events = events
        self._projection = projection
        self._application = application

    def when(self, *happening: Any) -> WhenCommand | WhenEvents:
        """
        Say what happens now.

        Args:
            happening: Events, for a projection. Or a function that is called with the
                aggregate that the given events lead to, and makes it do something;
                without given events it is called with nothing, and returns a new one.
        """
        if len(happening) == 1 and callable(happening[0]):
            return WhenCommand(Decision(self._events, happening[0], self._application))
        return WhenEvents(self._events, flat(happening), self._projection)


class WhenCommand:
    """A command of an aggregate; made by :meth:`Given.when`."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision

    def then(self, *expected: Any) -> None:
        """
        Assert that the command has led to these events, and to no other.

        Timestamps are not compared. Also, the aggregate as it is then and what is made
        of all its events, as they are stored, have to be alike: that goes for all of
        them at once, and when it is saved and loaded again after each.

        Args:
            expected: The events, or lists of them; none if nothing is to happen.

        Raises:
            AssertionError: It is not so; the text says what differs.
        """
        self._decision.expect(flat(expected))

    def then_raises(self, error: type[Exception], match: str = "") -> None:
        """
        Assert that the command is refused, and that nothing has happened.

        Args:
            error: The class of the error.
            match: A regular expression that is found in its text.

        Raises:
            AssertionError: It is not so.
        """
        raised = self._decision.refusal()
        _assert_raised(raised, error, match, "The command")


class WhenEvents:
    """Events for a projection; made by :meth:`Given.when`."""

    def __init__(
        self,
        before: list[Any],
        events: list[Any],
        projection: type[Projection[Any]] | None,
    ) -> None:
        self._before = before
        self._events = events
        self._projection = projection

    def then(self, *expected: Any) -> None:
        """
        Assert that read models have these rows, and no other.

        The projection processes all the events in the test's own connection: one by
        one, in batches of each size, and the given ones in a batch before the others.
        Each time the same has to come of it. Whatever it was, it is undone.

        Args:
            expected: Instances that need not be saved; or a mapping of models to lists
                of mappings, ``{Dog: [{"name": "Fido"}]}``, which names only the fields
                that count. Models that are not named are not looked at; with no rows
                at all, every read model has to be empty. Keys and times that are not
                set are not compared.

        Raises:
            AssertionError: It is not so; the text says what differs.
            EventError: The projection has failed in each way.
            ValueError: It cannot be told which projection is meant.
        """
        self._splitting(expected).expect(expected)

    def then_raises(self, error: type[Exception], match: str = "") -> None:
        """
        Assert that the projection fails at one of the events, however they are split.

        Args:
            error: The class of what its handler raises.
            match: A regular expression that is found in the error's text.

        Raises:
            AssertionError: It is not so.
            ValueError: It cannot be told which projection is meant.
        """
        for way, raised in self._splitting(()).errors():
            _assert_raised(raised, error, match, f"The projection {way}")

    def _splitting(self, expected: Sequence[Any]) -> Splitting:
        return Splitting(self._registration(expected), self._before, self._events)

    def _registration(self, expected: Sequence[Any]) -> Registration:
        if self._projection is not None:
            return registration_of(self._projection, None, None)
        models = {
            model
            for row in expected
            for model in (row if isinstance(row, dict) else [type(row)])
        }
        found = [
            registration
            for registration in registry
            if models & {*getattr(registration.view_class, "read_models", ())}
        ]
        if len(found) != 1:
            names = ", ".join(sorted(model.__name__ for model in models)) or "no model"
            msg = (
                f"{len(found)} registered projections have {names} among their "
                "read_models: say given(..., projection=...)"
            )
            raise ValueError(msg)
        return found[0]


def _assert_raised(
    raised: BaseException | None, error: type[Exception], match: str, who: str
) -> None:
    if raised is None:
        msg = f"{who} has raised nothing, but was to raise {error.__name__}"
        raise AssertionError(msg)
    line = f"{type(raised).__name__}: {raised}"
    if not isinstance(raised, error):
        msg = f"{who} has raised {line}, but was to raise {error.__name__}"
        raise AssertionError(msg) from raised
    if not re.search(match, str(raised)):
        msg = f"{who} has raised {line}, in which {match!r} is not found"
        raise AssertionError(msg) from raised
