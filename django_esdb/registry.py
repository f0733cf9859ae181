"""Which projections there are: registration, as the admin does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import router
from eventsourcing.application import Application
from eventsourcing.persistence import TrackingRecorder
from eventsourcing.projection import Projection

from django_esdb.conf import build_env
from django_esdb.exceptions import AlreadyRegisteredError, NotRegisteredError
from django_esdb.handlers.functions import refuse_unusable_handlers
from django_esdb.policies import OnFailure
from django_esdb.registered_names import list_by, no_projection
from django_esdb.topics.subscribed import subscribed_topics

if TYPE_CHECKING:
    from django_esdb.leases.tracked import TrackedProjection

TProjectionClass = TypeVar("TProjectionClass", bound=type[Projection[Any]])


@dataclass(frozen=True, kw_only=True)
class Registration:
    """
    A projection, the application whose events it processes, and its view.

    Attributes:
        on_failure: What to do about an event that fails again and again.
        retries: How often to try such an event again; None for the default.
    """

    projection_class: type[Projection[Any]]
    application_class: type[Application[Any]]
    view_class: type[TrackingRecorder]
    on_failure: OnFailure = OnFailure.STOP
    retries: int | None = None

    @property
    def name(self) -> str:
        """The projection's name, by which commands and positions know it."""
        return self.projection_class.name

    @property
    def application_name(self) -> str:
        return self.application_class.name

    @property
    def topics(self) -> tuple[str, ...]:
        """
        The topics that it subscribes to, with former names; empty for all.

        Raises:
            ConfigurationError: They are not a tuple of strings.
        """
        return subscribed_topics(self.projection_class)

    def env(self) -> dict[str, str]:
        """
        Return the environment to run the projection with.

        The application takes its persistence module from the settings; a view
        on the ORM has this app's.
        """
        # Loads models, which a projections.py is registered before.
        from django_esdb.recorders.recorder import DjangoTrackingRecorder

        env = build_env(self.application_class)
        if issubclass(self.view_class, DjangoTrackingRecorder):
            key = f"{self.name.upper()}_PERSISTENCE_MODULE"
            env.setdefault(key, "django_esdb.persistence")
        return env

    def tracked(self) -> TrackedProjection:
        """
        Return where the database keeps the projection's position and lease.

        A view that is not on the ORM keeps its position itself; its lease lies
        where the tracking model is written.
        """
        # As above.
        from django_esdb.leases.tracked import TrackedProjection
        from django_esdb.models import ProjectionTracking
        from django_esdb.recorders.recorder import DjangoTrackingRecorder

        using = (
            self.view_class.database()
            if issubclass(self.view_class, DjangoTrackingRecorder)
            else router.db_for_write(ProjectionTracking)
        )
        return TrackedProjection(using, self.name, self.application_name)


class ProjectionRegistry:
    """
    The projections of a project, by name and in order of registration.

    Attributes:
        discovery_error: What went wrong when the apps' ``projections.py`` were
            imported, kept for the checks and commands to report.
    """

    def __init__(self) -> None:
        # Django's autodiscovery knows this name.
        self._registry: dict[str, Registration] = {}
        self.discovery_error: AlreadyRegisteredError | None = None

    def register(
        self,
        projection_class: type[Projection[Any]],
        *,
        application_class: type[Application[Any]],
        view_class: type[TrackingRecorder],
        on_failure: OnFailure | str = OnFailure.STOP,
        retries: int | None = None,
    ) -> None:
        """
        Register a projection; the arguments are :func:`register_projection`'s.

        Raises:
            TypeError: A class is not of the kind it should be, or has handlers that are
                ``async def`` or generators, whose code would not run.
            ValueError: A policy or number cannot be used, or the projection has its
                application's name, so that one environment variable would
                configure both.
            AlreadyRegisteredError: There is one of this name, regardless of
                case, since environment variables and some databases do not
                tell the case apart.
        """
        _check_subclass("projection_class", projection_class, Projection)
        _check_subclass("application_class", application_class, Application)
        _check_subclass("view_class", view_class, TrackingRecorder)
        for each in (projection_class, view_class):
            refuse_unusable_handlers(each)
        policy = _check_policy(on_failure, retries, view_class)
        name = _checked_name(projection_class)
        if name.casefold() == application_class.name.casefold():
            msg = (
                f"Projection {name!r} has the name of its application; "
                "give the projection class another name"
            )
            raise ValueError(msg)
        for other in self._registry:
            if other.casefold() == name.casefold():
                msg = (
                    f"Projection {name!r} of "
                    f"{_path(projection_class)} is registered twice: there is "
                    f"{other!r} of {_path(self._registry[other].projection_class)}; "
                    "give one of them another name"
                )
                raise AlreadyRegisteredError(msg)
        self._registry[name] = Registration(
            projection_class=projection_class,
            application_class=application_class,
            view_class=view_class,
            on_failure=policy,
            retries=retries,
        )

    def unregister(self, name: str) -> None:
        """
        Forget a projection.

        Raises:
            NotRegisteredError: There is none of this name.
        """
        self.get(name)
        del self._registry[name]

    def is_registered(self, name: str) -> bool:
        return name in self._registry

    def get(self, name: str) -> Registration:
        """
        Return the registration of a projection.

        Raises:
            NotRegisteredError: There is none of this name; the text lists
                those that there are.
        """
        try:
            return self._registry[name]
        except KeyError:
            raise NotRegisteredError(no_projection(name, self._registry)) from None

    def applications(self) -> dict[str, type[Application[Any]]]:
        """Return the applications whose events are processed, by name."""
        return {each.application_name: each.application_class for each in self}

    def __iter__(self) -> Iterator[Registration]:
        return iter(tuple(self._registry.values()))

    def __len__(self) -> int:
        return len(self._registry)

    def __bool__(self) -> bool:
        # Django's autodiscovery takes a false registry for none, and when a module
        # fails restores what it has not kept: an UnboundLocalError hides the reason.
        return True


registry = ProjectionRegistry()
list_by(lambda: registry._registry)


def register_projection(
    *,
    application_class: type[Application[Any]],
    view_class: type[TrackingRecorder],
    on_failure: OnFailure | str = OnFailure.STOP,
    retries: int | None = None,
) -> Callable[[TProjectionClass], TProjectionClass]:
    """
    Register the decorated projection class for ``manage.py runprojections``.

    Args:
        application_class: The application whose events are processed.
        view_class: The materialised view, usually a subclass of
            :class:`~django_esdb.recorders.DjangoTrackingRecorder`.
        on_failure: What to do about an event that fails again and again:
            ``"stop"`` pauses the projection, ``"park"`` puts the event aside and
            ``"skip"`` leaves it out.
        retries: How often to try such an event again before that, with growing
            pauses; by default ``ESDB_RETRIES`` for ``"stop"``, else 0.
    """

    def register(projection_class: TProjectionClass) -> TProjectionClass:
        registry.register(
            projection_class,
            application_class=application_class,
            view_class=view_class,
            on_failure=on_failure,
            retries=retries,
        )
        return projection_class

    return register


def _check_policy(
    on_failure: OnFailure | str, retries: int | None, view_class: type
) -> OnFailure:
    # As above; what registers something has models by now.
    from django_esdb.recorders.recorder import DjangoTrackingRecorder

    try:
        policy = OnFailure(on_failure)
    except ValueError:
        known = ", ".join(repr(each.value) for each in OnFailure)
        msg = f"on_failure is {on_failure!r}, but must be one of {known}"
        raise ValueError(msg) from None
    is_number = isinstance(retries, int) and not isinstance(retries, bool)
    if retries is not None and not (is_number and retries >= 0):
        msg = f"retries is {retries!r}, but must be a whole number from 0 on"
        raise ValueError(msg)
    if policy is not OnFailure.STOP and not issubclass(
        view_class, DjangoTrackingRecorder
    ):
        msg = (
            f"on_failure is {policy.value!r}, which needs a view that is derived from "
            f"DjangoTrackingRecorder; {_path(view_class)} is not"
        )
        raise ValueError(msg)
    return policy


def _checked_name(projection_class: type[Projection[Any]]) -> str:
    name: object = projection_class.name
    if not isinstance(name, str) or not name:
        msg = f"{_path(projection_class)}.name must be a text, but is {name!r}"
        raise TypeError(msg)
    return name


def _check_subclass(argument: str, value: object, base: type) -> None:
    if not (isinstance(value, type) and issubclass(value, base)):
        msg = f"{argument} must be a subclass of {_path(base)}, but is {value!r}"
        raise TypeError(msg)


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
