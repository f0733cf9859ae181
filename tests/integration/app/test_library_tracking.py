"""The library's own test case for tracking recorders, on the ORM."""

from __future__ import annotations

import pytest
from eventsourcing.persistence import TrackingRecorder
from eventsourcing.tests.persistence import TrackingRecorderTestCase

from django_esdb.recorders import DjangoTrackingRecorder


@pytest.mark.django_db(transaction=True)
class TestDjangoTrackingRecorder(TrackingRecorderTestCase):
    def create_recorder(self) -> TrackingRecorder:
        return DjangoTrackingRecorder()


del TrackingRecorderTestCase
