from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import assert_type
from uuid import UUID

from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Tracking, TrackingRecorder
from eventsourcing.projection import Projection
from eventsourcing.utils import get_topic

from django_esdb import register_projection
from django_esdb.policies import OnFailure
from django_esdb.recorders import DjangoTrackingRecorder, Rows
from kennel.domain import Dog, Kennel
from kennel.models import KennelDog


class KennelViewInterface(TrackingRecorder):
    @abstractmethod
    def register_dog(self, dog_id: UUID, name: str, tracking: Tracking) -> None: ...

    @abstractmethod
    def add_trick(self, dog_id: UUID, tracking: Tracking) -> None: ...


class KennelView(DjangoTrackingRecorder, KennelViewInterface):
    read_models = (KennelDog,)

    def register_dog(self, dog_id: UUID, name: str, tracking: Tracking) -> None:
        with self.atomic(tracking):
            dogs = self.rows(KennelDog)
            assert_type(dogs, Rows[KennelDog])
            assert_type(dogs.add(KennelDog(id=dog_id, name=name)), KennelDog)

    def add_trick(self, dog_id: UUID, tracking: Tracking) -> None:
        with self.atomic(tracking):
            dogs = self.rows(KennelDog)
            assert_type(dogs.get(dog_id), KennelDog)
            assert_type(dogs.get_or_none(dog_id), KennelDog | None)
            assert_type(dogs.filter(pk__in=[dog_id]), list[KennelDog])
            dogs.increment(dog_id, tricks=1)


@register_projection(
    application_class=Kennel,
    view_class=KennelView,
    on_failure=OnFailure.PARK,
    retries=3,
)
class KennelProjection(Projection[KennelViewInterface]):
    topics = (get_topic(Dog.Registered), get_topic(Dog.TrickAdded))

    # Every projection has it; checkers of types have to be told.
    metadata: Mapping[str, str]

    @singledispatchmethod
    def process_event(
        self, event: DomainEventProtocol[UUID], tracking: Tracking
    ) -> None:
        assert_type(self.metadata.get("user"), str | None)

    @process_event.register
    def dog_registered(self, event: Dog.Registered, tracking: Tracking) -> None:
        self.view.register_dog(event.originator_id, event.name, tracking)

    @process_event.register
    def trick_added(self, event: Dog.TrickAdded, tracking: Tracking) -> None:
        self.view.add_trick(event.originator_id, tracking)


# The class that was decorated, not any projection.
assert_type(KennelProjection, type[KennelProjection])
