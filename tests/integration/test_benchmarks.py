from __future__ import annotations

from uuid import UUID

import pytest
from eventsourcing.persistence import Tracking

from benchmarks.measure_projection import RowsView, ours, popo_application, timed
from django_esdb.exceptions import EventProcessingError


class FailingView(RowsView):
    def register_dog(self, dog_id: UUID, name: str, tracking: Tracking) -> None:
        raise ValueError(name)


@pytest.mark.any_database
@pytest.mark.django_db(transaction=True)
def test_a_runner_that_fails_ends_its_measurement() -> None:
    env = {"PERSISTENCE_MODULE": "eventsourcing.popo"}

    with (
        pytest.raises(EventProcessingError, match="ValueError: Fido"),
        ours(popo_application(10), FailingView, 10, env) as runner,
    ):
        timed(runner, 10)
