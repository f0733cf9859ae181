"""What happens to projections in this process, counted: receivers of the signals."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.dispatch import Signal
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from django_esdb import signals
from django_esdb.registry import Registration

LABELS = ("projection", "application")
# From a single live event to a large batch that waits for locks.
_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 25.0),
)
_LEASE_CHANGES = ("acquired", "taken_over", "released", "lost")
_OUTCOMES = ("retried", "given_up")
_CAUSES = ("failed", "waits")


@dataclass(frozen=True)
class _Batch:
    """Where batches of one projection and one reason are counted."""

    events: Counter
    batches: Counter
    seconds: Histogram
    handler_seconds: Histogram
    commit_seconds: Histogram


class ProjectionMetrics:
    """
    Counts what happens to the projections that this process runs.

    Nothing is counted before :meth:`connect`. A batch costs a few microseconds;
    nothing here blocks or asks a database.

    Args:
        registry: Where the metrics are registered.

    Raises:
        ValueError: Such metrics are registered there.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._registry = registry
        self._made: list[Counter | Gauge | Histogram] = []
        self._events = self._counter("events", "Events processed and committed")
        self._batches = self._counter(
            "batches", "Committed batches, by why each was one", "reason"
        )
        self._undone = self._counter("batches_undone", "Batches rolled back")
        self._seconds = self._histogram(
            "batch_seconds", "How long batches with events took in all"
        )
        self._handler_seconds = self._histogram(
            "batch_handler_seconds", "How long the projection took for a batch"
        )
        self._commit_seconds = self._histogram(
            "batch_commit_seconds",
            "How long writing what was collected and the commit took",
        )
        self._failures = self._counter(
            "event_failures", "Failed attempts at events, by what was done", "outcome"
        )
        self._parked = self._counter(
            "events_parked", "Events put aside, for their own or others' sake", "cause"
        )
        self._skipped = self._counter("events_skipped", "Events left out for good")
        self._interruptions = self._counter(
            "interruptions", "Outages of the event store or the database", "phase"
        )
        self._recoveries = self._counter("recoveries", "Ends of what was wrong")
        self._reconnections = self._counter(
            "reconnections", "Resumptions of broken off subscriptions"
        )
        self._lease_changes = self._counter(
            "lease_changes", "Leases that this process got and had no more", "change"
        )
        self._held = Gauge(
            "django_esdb_lease_held",
            "Whether this process runs the projection",
            LABELS,
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._made.append(self._held)
        self._pauses = self._counter("pauses", "Stops at an event")
        self._failed = self._counter("projection_failures", "Ends because of an error")
        self._kinds: dict[tuple[str, ...], _Batch] = {}
        self._receivers: list[tuple[Signal, Callable[..., None]]] = [
            (signals.batch_committed, self._on_committed),
            (signals.batch_undone, self._on_undone),
            (signals.event_failed, self._on_event_failed),
            (signals.event_parked, self._on_parked),
            (signals.event_skipped, self._on_skipped),
            (signals.projection_interrupted, self._on_interrupted),
            (signals.projection_recovered, self._on_recovered),
            (signals.subscription_resumed, self._on_resumed),
            (signals.lease_acquired, self._on_acquired),
            (signals.lease_released, self._on_released),
            (signals.lease_lost, self._on_lost),
            (signals.projection_paused, self._on_paused),
            (signals.projection_stopped, self._on_stopped),
            (signals.projection_failed, self._on_failed),
        ]

    def connect(self, registrations: Iterable[Registration] = ()) -> None:
        """
        Count from now on.

        Args:
            registrations: Whose counts are there as 0 until something happens, so
                that the first of its kind is seen as an increase.
        """
        for each in registrations:
            self._begin_at_zero(each.name, each.application_name)
        for signal, receiver in self._receivers:
            # Receivers need not be kept by the caller.
            signal.connect(receiver, weak=False)

    def close(self) -> None:
        """Count no more, and take the metrics out of the registry."""
        for signal, receiver in self._receivers:
            signal.disconnect(receiver)
        for made in self._made:
            self._registry.unregister(made)
        self._made.clear()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        made = Counter(
            f"django_esdb_{name}", text, (*LABELS, *labels), registry=self._registry
        )
        self._made.append(made)
        return made

    def _histogram(self, name: str, text: str) -> Histogram:
        made = Histogram(
            f"django_esdb_{name}",
            text,
            LABELS,
            registry=self._registry,
            buckets=_BUCKETS,
        )
        self._made.append(made)
        return made

    def _begin_at_zero(self, *names: str) -> None:
        for metric in (
            *(self._events, self._undone, self._skipped, self._recoveries),
            *(self._reconnections, self._pauses, self._failed),
            *(self._seconds, self._handler_seconds, self._commit_seconds, self._held),
        ):
            metric.labels(*names)
        for outcome in _OUTCOMES:
            self._failures.labels(*names, outcome)
        for cause in _CAUSES:
            self._parked.labels(*names, cause)
        for change in _LEASE_CHANGES:
            self._lease_changes.labels(*names, change)

    def _batch(self, *names: str, reason: str) -> _Batch:
        key = (*names, reason)
        found = self._kinds.get(key)
        if found is None:
            found = self._kinds[key] = _Batch(
                self._events.labels(*names),
                self._batches.labels(*key),
                self._seconds.labels(*names),
                self._handler_seconds.labels(*names),
                self._commit_seconds.labels(*names),
            )
        return found

    def _on_committed(
        self,
        *,
        projection: str,
        application: str,
        events: int,
        seconds: float,
        handler_seconds: float,
        commit_seconds: float,
        reason: str,
        **kwargs: Any,
    ) -> None:
        batch = self._batch(projection, application, reason=str(reason))
        batch.batches.inc()
        if events:
            batch.events.inc(events)
            batch.seconds.observe(seconds)
            batch.handler_seconds.observe(handler_seconds)
            batch.commit_seconds.observe(commit_seconds)

    def _on_undone(self, *, projection: str, application: str, **kwargs: Any) -> None:
        self._undone.labels(projection, application).inc()

    def _on_event_failed(
        self,
        *,
        projection: str,
        application: str,
        seconds: float | None,
        **kwargs: Any,
    ) -> None:
        outcome = "given_up" if seconds is None else "retried"
        self._failures.labels(projection, application, outcome).inc()

    def _on_parked(
        self, *, projection: str, application: str, reason: str, **kwargs: Any
    ) -> None:
        cause = "failed" if reason else "waits"
        self._parked.labels(projection, application, cause).inc()

    def _on_skipped(self, *, projection: str, application: str, **kwargs: Any) -> None:
        self._skipped.labels(projection, application).inc()

    def _on_interrupted(
        self,
        *,
        projection: str,
        application: str,
        phase: str,
        is_first: bool,
        **kwargs: Any,
    ) -> None:
        if is_first:
            self._interruptions.labels(projection, application, phase).inc()

    def _on_recovered(
        self, *, projection: str, application: str, **kwargs: Any
    ) -> None:
        self._recoveries.labels(projection, application).inc()

    def _on_resumed(
        self, *, projection: str, application: str, times: int, **kwargs: Any
    ) -> None:
        self._reconnections.labels(projection, application).inc(times)

    def _on_acquired(
        self,
        *,
        projection: str,
        application: str,
        was_abandoned: bool,
        **kwargs: Any,
    ) -> None:
        change = "taken_over" if was_abandoned else "acquired"
        self._lease_changes.labels(projection, application, change).inc()
        self._held.labels(projection, application).set(1)

    def _on_released(self, *, projection: str, application: str, **kwargs: Any) -> None:
        self._lease_changes.labels(projection, application, "released").inc()
        self._held.labels(projection, application).set(0)

    def _on_lost(self, *, projection: str, application: str, **kwargs: Any) -> None:
        self._lease_changes.labels(projection, application, "lost").inc()
        self._held.labels(projection, application).set(0)

    def _on_paused(self, *, projection: str, application: str, **kwargs: Any) -> None:
        self._pauses.labels(projection, application).inc()

    def _on_stopped(self, *, projection: str, application: str, **kwargs: Any) -> None:
        self._held.labels(projection, application).set(0)

    def _on_failed(self, *, projection: str, application: str, **kwargs: Any) -> None:
        self._failed.labels(projection, application).inc()
        self._held.labels(projection, application).set(0)
