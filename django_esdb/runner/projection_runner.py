"""One term of one projection: the library's runner, working in batches."""

from __future__ import annotations

import weakref
from collections import Counter
from threading import Event as ThreadingEvent
from types import TracebackType
from typing import Any

from django.db import connections
from eventsourcing import projection as library
from eventsourcing.application import Application
from eventsourcing.projection import ApplicationSubscription
from eventsourcing.utils import EnvType

from django_esdb import signals
from django_esdb.conf import settings
from django_esdb.handlers.functions import CheckedProjection
from django_esdb.handlers.metadata import HandledSubscription
from django_esdb.leases.lease import Lease
from django_esdb.masking import forget_locals
from django_esdb.policies import FailurePolicy
from django_esdb.recorders.recorder import DjangoTrackingRecorder
from django_esdb.runner.batches.batch_loop import process_batches
from django_esdb.runner.batches.catching_up import CatchingUp
from django_esdb.runner.batches.processor import BatchProcessor
from django_esdb.runner.batches.progress import Progress
from django_esdb.runner.batches.reader import BatchReason, EventReader
from django_esdb.runner.store_of_position import check_store_of
from django_esdb.runner.time_limits.slow_events import EventClock
from django_esdb.subscriptions.positions import (
    check_same_store,
    is_caught_up,
)
from django_esdb.subscriptions.subscribing import KeptSubscription, with_subscription
from django_esdb.topics.allowlist import (
    allowlist_for,
    guard_application,
    guarded_mapper,
    limit_for,
    with_allowlist,
)
from django_esdb.topics.subscribed import with_subscribed_topics
from eventsourcing_eventstoredb.subscriptions.state import SubscriptionState

# How long an event waits for others that is processed once more: no caller waits.
_REPLAY_BATCH_SECONDS = 1.0


class ProjectionRunner(library.ProjectionRunner[Any, Any]):
    """
    Runs a projection as the library's runner does, a transaction for a batch.

    Events are given to the projection one by one and in order. A batch ends
    when it is full or old enough or nothing more is there, so a single live
    event is committed at once. The view's position moves with every event,
    whether or not the projection has something to do for it.

    Args:
        application_class: Application whose events are processed.
        projection_class: Its ``row_keys(model, domain_event)``, if it has such
            a method, says which rows of a model an event will ask for; without
            it that is the row of the event's aggregate.
        view_class: Views that are not on the ORM are run as the library does.
        env: Environment of the application and the projection.
        batch_size: Most events in a batch; by default ``ESDB_BATCH_SIZE``, and
            ``ESDB_REPLAY_BATCH_SIZE`` while events are processed once more.
        batch_seconds: How long an event may wait for others, in seconds; by
            default ``ESDB_BATCH_SECONDS``.
        lease: The right to run the projection, which each batch renews; None if
            no other process competes for it.
        policy: What to do about an event that fails; by default it ends the run.
        may_start: Set when events may be processed; None for at once.
        clock: Told which event is being processed.

    Attributes:
        batch_reasons: How many batches there were, by the reason for their end.
        catching_up: Tells when all that there is is processed.
        progress: Counts what is processed.
    """

    def __init__(
        self,
        *,
        application_class: type[Any],
        projection_class: type[library.Projection[Any]],
        view_class: type[Any],
        env: EnvType | None = None,
        batch_size: int | None = None,
        batch_seconds: float | None = None,
        lease: Lease | None = None,
        policy: FailurePolicy | None = None,
        may_start: ThreadingEvent | None = None,
        clock: EventClock | None = None,
    ) -> None:
        # Before the library starts its threads, which read these.
        self.lease = lease
        self.policy = policy
        self.may_start = may_start
        self.clock = clock or EventClock()
        self.batch_size = batch_size or settings.ESDB_BATCH_SIZE
        self.replay_batch_size = batch_size or settings.ESDB_REPLAY_BATCH_SIZE
        self.batch_seconds = (
            settings.ESDB_BATCH_SECONDS if batch_seconds is None else batch_seconds
        )
        self.batch_reasons: Counter[BatchReason] = Counter()
        self.progress = Progress()
        self._reader: EventReader | None = None
        self.catching_up = CatchingUp(
            signals.Sender(projection_class, application_class.name)
        )
        env = with_allowlist(env)
        self._allowlist = allowlist_for(application_class, env)
        self._max_decompressed = limit_for(application_class, env)
        made: list[Application[Any]] = []
        try:
            super().__init__(
                application_class=with_subscription(application_class, made.append),
                projection_class=with_subscribed_topics(projection_class),
                view_class=view_class,
                env=env,
            )
        except BaseException as error:
            try:
                # Whose connection may be what is wrong: the next term gets another one.
                check_store_of(made, error, projection_class, view_class)
            finally:
                for app in made:
                    app.close()
                forget_locals(error)
            raise
        guard_application(self.app)
        if isinstance(self.view, DjangoTrackingRecorder):
            self.view.await_arrival = self.progress.wait

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Stop, wait for the end, and raise what ended the processing."""
        try:
            super().__exit__(exc_type, exc_val, exc_tb)
        finally:
            # Before 9.5 the library leaves the application open.
            self.app.close()

    def stop(self) -> None:
        """Have the batch that is being processed be the last; wakes who waits."""
        super().stop()
        self.progress.end()

    def run_forever(self, timeout: float | None = None) -> None:
        """Block until the timeout or the end, and raise what ended the processing."""
        if not self.is_interrupted.wait(timeout):
            return
        error = self._thread_error
        # The driver's error, whose code says what it comes from; the library drops it.
        cause = None if error is None else error.__cause__
        try:
            super().run_forever(0)
        except BaseException as raised:
            raise raised from cause

    @property
    def subscription_state(self) -> SubscriptionState | None:
        """What the subscription is at; None if it does not tell."""
        state = getattr(self._subscription.subscription, "state", None)
        return state if isinstance(state, SubscriptionState) else None

    @property
    def known_total(self) -> tuple[int, bool] | None:
        """
        How many events it will have processed with all that came, and if that is all.

        Counted since the projection began; None if it is not known.
        """
        reader, began = self._reader, self.progress.began
        if reader is None or began is None:
            return None
        # In this order: what comes in between may be counted.
        is_whole = reader.is_whole
        return began + reader.received, is_whole

    def is_caught_up(self, head: int | None) -> bool:
        """
        Return whether everything up to *head* is processed and committed.

        Asks the database, and the event store for events that are left.

        Args:
            head: A notification ID; None is always reached.
        """
        position = self.view.max_tracking_id(self.app.name)
        return is_caught_up(self.app, self.projection.topics, position, head)

    @staticmethod
    def _process_events_loop(
        subscription: ApplicationSubscription[Any],
        projection: library.EventSourcedProjection[Any] | library.Projection[Any],
        is_stopping: ThreadingEvent,
        runner: weakref.ReferenceType[Any],
    ) -> None:
        """Take the library's hook: it runs in the event-processing thread."""
        this_runner: ProjectionRunner | None = runner()
        if this_runner is not None and this_runner.may_start is not None:
            this_runner.may_start.wait()
        view = getattr(projection, "view", None)
        clock = EventClock() if this_runner is None else this_runner.clock
        if this_runner is not None:
            subscription.mapper = guarded_mapper(
                subscription.mapper,
                this_runner._allowlist,
                this_runner._max_decompressed,
            )
        if (
            this_runner is None
            or not isinstance(view, DjangoTrackingRecorder)
            or not isinstance(subscription, ApplicationSubscription)
        ):
            if this_runner is not None:
                this_runner.progress.end()
            del this_runner
            subscription.subscription = HandledSubscription(  # type: ignore[assignment]
                subscription.subscription
            )
            try:
                library.ProjectionRunner._process_events_loop(
                    KeptSubscription(subscription),  # type: ignore[arg-type]
                    CheckedProjection(projection, clock.at_an_event),  # type: ignore[arg-type]
                    is_stopping,
                    runner,
                )
            finally:
                # What is not a view of ours may use the ORM all the same.
                connections.close_all()
            return
        batch_seconds = this_runner.batch_seconds
        # By whether events are processed once more.
        limits = (
            (this_runner.batch_size, batch_seconds),
            (this_runner.replay_batch_size, max(batch_seconds, _REPLAY_BATCH_SECONDS)),
        )
        reader = EventReader(
            subscription,
            batch_size=max(size for size, _ in limits),
            batch_seconds=batch_seconds,
            clock=clock,
        )
        this_runner.batch_reasons = reader.batch_reasons
        this_runner._reader = reader
        progress = this_runner.progress
        lease, policy = this_runner.lease, this_runner.policy
        catching_up = this_runner.catching_up
        # A runner without references must be collected, and so stopped.
        del this_runner
        try:
            assert isinstance(projection, library.Projection)
            row = view.tracked(subscription.name).row()
            check_same_store(subscription.recorder, row)
            processor = BatchProcessor(
                projection,
                view,
                subscription.name,
                lease=lease,
                policy=policy,
                clock=clock,
                progress=progress,
                replay_until=row.replay_until,
            )
            process_batches(
                reader,
                processor,
                subscription,
                projection,
                is_stopping,
                catching_up,
                limits,
                row.replay_until if view.ends_with_replay else None,
            )
        except BaseException as error:
            this_runner = runner()
            if this_runner is not None:
                this_runner._thread_error = error
        finally:
            # This thread's own; no other could close them.
            connections.close_all()
            is_stopping.set()
            progress.end()
            reader.close()
