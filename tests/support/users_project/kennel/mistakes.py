"""What a checker of types has to find: each line would be an error without its mark."""

from __future__ import annotations

from uuid import UUID

from eventsourcing.persistence import Tracking

from django_esdb import event_metadata, get_application, register_projection, wait_for
from eventsourcing_eventstoredb import store_deadline
from kennel.domain import Dog, Kennel
from kennel.projections import KennelProjection, KennelView


def mistakes(view: KennelView, dog_id: UUID, tracking: Tracking) -> None:
    get_application(Dog)  # type: ignore
    get_application(Kennel).feed()  # type: ignore
    wait_for(KennelView, [])  # type: ignore
    wait_for(KennelProjection, [], timeout="soon")  # type: ignore
    view.rows(Dog)  # type: ignore
    view.rows(view.read_models[0], key=1)  # type: ignore
    view.atomic()  # type: ignore
    view.atomic(dog_id)  # type: ignore
    store_deadline("1")  # type: ignore
    event_metadata({"user": 1})  # type: ignore
    register_projection(application_class=Kennel)  # type: ignore
    register_projection(application_class=Dog, view_class=KennelView)  # type: ignore
