"""The persistence module of views: ``PERSISTENCE_MODULE=django_esdb.persistence``."""

from __future__ import annotations

from typing import cast

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    InfrastructureFactoryError,
    ProcessRecorder,
)
from eventsourcing.utils import resolve_topic

from django_esdb.recorders.recorder import DjangoTrackingRecorder

_NO_EVENTS = (
    "django_esdb.persistence keeps projections' views, not events: "
    "applications use eventsourcing_eventstoredb"
)


class DjangoFactory(InfrastructureFactory[DjangoTrackingRecorder]):
    """Makes a projection's view, which keeps its position in a Django model."""

    def tracking_recorder(
        self, tracking_recorder_class: type[DjangoTrackingRecorder] | None = None
    ) -> DjangoTrackingRecorder:
        """
        Make the view, under the name that this environment is for.

        Raises:
            InfrastructureFactoryError: The class is not derived from
                DjangoTrackingRecorder.
        """
        topic = self.env.get(self.TRACKING_RECORDER_TOPIC)
        view_class = tracking_recorder_class or (
            cast("type[DjangoTrackingRecorder]", resolve_topic(topic))
            if topic
            else DjangoTrackingRecorder
        )
        if not issubclass(view_class, DjangoTrackingRecorder):
            msg = (
                f"{view_class.__name__} is kept in the database, so it must be derived "
                "from django_esdb.recorders.DjangoTrackingRecorder"
            )
            raise InfrastructureFactoryError(msg)
        return view_class(name=self.env.name or None, using=None)

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        """Events are kept elsewhere: raises NotImplementedError."""
        raise NotImplementedError(_NO_EVENTS)

    def application_recorder(self) -> ApplicationRecorder:
        """Events are kept elsewhere: raises NotImplementedError."""
        raise NotImplementedError(_NO_EVENTS)

    def process_recorder(self) -> ProcessRecorder:
        """Events are kept elsewhere: raises NotImplementedError."""
        raise NotImplementedError(_NO_EVENTS)
