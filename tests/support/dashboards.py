"""Projections in various states, for the dashboard to show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from random import Random
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from django.utils import timezone

from django_esdb.db.functions import DatabaseTime
from django_esdb.leases.process_identity import new_owner
from django_esdb.models import (
    FailedEvent,
    ProjectionLag,
    ProjectionSample,
    ProjectionState,
    ProjectionTracking,
)
from django_esdb.registry import Registration, registry
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)

LONG = "CertificatesOfDogsThatHaveLearntEverythingThereIsToBeLearnt"
HEAD = 184_213


class Certificates(TrainingSchoolProjection):
    name = LONG


class Newsletter(TrainingSchoolProjection):
    name = "Newsletter"


class Invoices(TrainingSchoolProjection):
    name = "Invoices"


NAMES = (TrainingSchoolProjection.name, LONG, Newsletter.name, Invoices.name)


@contextmanager
def more_projections() -> Iterator[None]:
    """Have more projections be registered, besides the example's, in the block."""
    more = {
        cls.name: Registration(
            projection_class=cls,
            application_class=TrainingSchool,
            view_class=TrainingSchoolView,
        )
        for cls in (Certificates, Newsletter, Invoices)
    }
    with patch.dict(registry._registry, more):
        yield


def fill(lasts: timedelta = timedelta()) -> None:
    """
    Write rows: one has caught up, one is behind, one paused, one stopped; idempotent.

    Args:
        lasts: For how much longer the lag counts as one that is measured.
    """
    owned = {"owner": new_owner(), "leased_until": DatabaseTime(3600)}
    running = {"state": ProjectionState.RUNNING, **owned}
    _tracking(NAMES[0], HEAD, behind=0, rate=3.2, **running)
    _tracking(LONG, 96_431, behind=12_480, rate=310.0, **running)
    _tracking(
        "Newsletter",
        HEAD - 212,
        behind=87,
        state=ProjectionState.PAUSED,
        error="RuntimeError: no address for dog 7d0c, at event 184002",
    )
    invoices = _tracking("Invoices", HEAD, behind=0, fingerprint="0" * 64)
    for number in range(3):
        FailedEvent.objects.update_or_create(
            projection=invoices.projection,
            application=invoices.application,
            position=HEAD - 10 + number,
            defaults={
                "originator_id": "d0a7b7a3-6c2e-4d0e-9b0f-0c6f5f0f7b11",
                "originator_version": number,
                "topic": "example_project.training_school.domain:Dog.TrickAdded",
                "error": "" if number else "KeyError: 'price'",
                "parked_at": timezone.now(),
            },
        )
    for name in ("Rex", "Fido"):
        Dog.objects.get_or_create(name=name, defaults={"id": uuid4(), "tricks": []})
    ProjectionLag.objects.update(measured_at=timezone.now() + lasts)


def _tracking(
    name: str, position: int, *, behind: int, rate: float = 0.0, **values: Any
) -> ProjectionTracking:
    now = timezone.now()
    row, _ = ProjectionTracking.objects.update_or_create(
        projection=name,
        application=TrainingSchool.name,
        defaults={
            "position": position,
            "updated_at": now,
            "processed": position,
            "event_position": position,
            "event_time": now - timedelta(seconds=behind / 10),
            "state_since": now - timedelta(minutes=42),
            **values,
        },
    )
    ProjectionLag.objects.update_or_create(
        tracking=row,
        defaults={
            "head": HEAD,
            "head_time": now,
            "total": position + behind,
            "is_exact": True,
            "rate": rate,
            "measured_at": now,
        },
    )
    noise = Random(name)
    for minute in range(60):
        # One that is behind has been so for a while, and catches up.
        events = (behind or 1) * (1 + minute / 20) * noise.uniform(0.9, 1.1)
        pace = rate * noise.uniform(0.7, 1.2)
        ProjectionSample.objects.update_or_create(
            tracking=row,
            slot=minute,
            defaults={
                "taken_at": now - timedelta(minutes=minute),
                "events": int(events),
                "rate": pace,
            },
        )
    return row
