from __future__ import annotations

import pytest
from django.utils.module_loading import import_string

# What documentation and users' code name. Where it lies below may change.
PATHS = (
    "django_esdb.admin.FailedEventAdmin",
    "django_esdb.admin.ProjectionTrackingAdmin",
    "django_esdb.admin.ReadModelAdmin",
    "django_esdb.applications.close_applications",
    "django_esdb.apps.SimpleDjangoEsdbConfig",
    "django_esdb.checks.check_all",
    "django_esdb.checks.check_deployment",
    "django_esdb.debug.SafeExceptionReporterFilter",
    "django_esdb.exceptions.DjangoEsdbError",
    "django_esdb.exceptions.EventError",
    "django_esdb.exceptions.LeaseHeldError",
    "django_esdb.exceptions.LeaseLostError",
    "django_esdb.exceptions.ProjectionError",
    "django_esdb.exceptions.ViewDatabaseError",
    "django_esdb.exceptions.WaitInTransactionError",
    "django_esdb.get_application",
    "django_esdb.leases.Lease",
    "django_esdb.leases.TrackedProjection",
    "django_esdb.leases.acquire_lease",
    "django_esdb.models.FailedEvent",
    "django_esdb.models.ProjectionState",
    "django_esdb.models.ProjectionTracking",
    "django_esdb.persistence.DjangoFactory",
    "django_esdb.policies.OnFailure",
    "django_esdb.recorders.DjangoTrackingRecorder",
    "django_esdb.recorders.Rows",
    "django_esdb.register_projection",
    "django_esdb.registry.registry",
    "django_esdb.runner.Options",
    "django_esdb.runner.ProjectionRunner",
    "django_esdb.runner.Supervisor",
    "django_esdb.runner.Worker",
    "django_esdb.signals.batch_committed",
    "django_esdb.signals.projection_failed",
    "django_esdb.status.ProjectionStatus",
    "django_esdb.status.projection_statuses",
    "django_esdb.topics.guard_application",
    "django_esdb.wait_for",
    "eventsourcing_eventstoredb.EventStoreDBFactory",
    "eventsourcing_eventstoredb.factory.EventStoreDBFactory",
    "eventsourcing_eventstoredb.recorders.EventStoreDBAggregateRecorder",
    "eventsourcing_eventstoredb.recorders.EventStoreDBApplicationRecorder",
    "eventsourcing_eventstoredb.server.EmbeddedServer",
    "eventsourcing_eventstoredb.subscriptions.EventStoreDBSubscription",
    "eventsourcing_eventstoredb.topics.TopicAllowlist",
)


@pytest.mark.parametrize("path", PATHS)
def test_what_users_import_is_where_they_import_it_from(path: str) -> None:
    assert import_string(path) is not None
