"""Which failure policies there can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from eventsourcing.popo import POPOTrackingRecorder

from django_esdb.registry import Registration, registry
from tests.support.failing import FailingProjection

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"on_failure": "ignore"}, "must be one of 'stop', 'park', 'skip'"),
        ({"retries": -1}, "from 0 on"),
        ({"retries": True}, "from 0 on"),
    ],
)
def test_policies_that_cannot_be_are_refused(
    options: dict[str, Any], says: str, school_projection: Registration
) -> None:
    with pytest.raises(ValueError, match=says):
        registry.register(
            FailingProjection,
            application_class=school_projection.application_class,
            view_class=school_projection.view_class,
            **options,
        )


def test_only_views_on_the_orm_can_put_events_aside(
    school_projection: Registration,
) -> None:
    with pytest.raises(ValueError, match="derived from DjangoTrackingRecorder"):
        registry.register(
            FailingProjection,
            application_class=school_projection.application_class,
            view_class=POPOTrackingRecorder,
            on_failure="park",
        )
