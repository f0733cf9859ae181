"""From batches of events to committed transactions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any

from eventsourcing.persistence import Notification
from eventsourcing.projection import Projection

from django_esdb.exceptions import EventCrashError, EventError
from django_esdb.failures.ahead import forget_ahead
from django_esdb.failures.parking import ParkedAggregates, aggregate_key
from django_esdb.failures.skipping import note_skipped
from django_esdb.handlers import forks
from django_esdb.handlers.functions import EventHandlers, check_returned
from django_esdb.leases.lease import Lease
from django_esdb.policies import FailurePolicy, OnFailure
from django_esdb.recorders.recorder import DjangoTrackingRecorder
from django_esdb.runner.batches.batch_signals import BatchSignals
from django_esdb.runner.batches.blame import Blame
from django_esdb.runner.batches.crashes import CrashSearch
from django_esdb.runner.batches.progress import Progress
from django_esdb.runner.batches.row_keys import expected_keys
from django_esdb.runner.errors import crash_error, event_error, note_brake
from django_esdb.runner.time_limits.slow_events import EventClock, idle_seconds
from django_esdb.subscriptions.heads import event_time
from django_esdb.subscriptions.positions import event_identity
from django_esdb.subscriptions.received import LateEvent, ReceivedEvent
from django_esdb.tracebacks import traceback_of
from eventsourcing_eventstoredb.metadata import handle, inherit_metadata
from eventsourcing_eventstoredb.text import named_line

# So many are processed one by one when they have failed together.
_FEW_EVENTS = 8
# Without a lease there is no hurry; with one a batch takes at most this part of it,
# so that its locks are gone before another process may take over.
_LEASE_PART = 1 / 4
# Batches of a replay have many events; others wait for the locks, too.
_REPLAY_SECONDS = 2.0


class BatchProcessor:
    """
    Gives a projection its events, a transaction for each batch.

    A batch that fails is undone and processed again in halves, and so on, so that
    what comes before the failing event is kept, the policy is asked about that one
    alone, and what is too much for one transaction is done in several. What may pass
    is tried again later; where it does not, though the projection's row can be
    written, it is looked for in the same way, and counts as the event's in the end.

    Args:
        projection: What processes the events.
        view: Its view, whose position moves with each batch.
        application_name: The application that has recorded them.
        lease: The right to do so; None without competitors.
        policy: What to do about an event that fails.
        clock: Told which event is being processed.
        progress: Told how far it has come.
        replay_until: Position of the last event that is processed once more; None if
            there is none.

    Attributes:
        position: Of the last event that is processed and committed.
    """

    def __init__(
        self,
        projection: Projection[Any],
        view: DjangoTrackingRecorder,
        application_name: str,
        *,
        lease: Lease | None = None,
        policy: FailurePolicy | None = None,
        clock: EventClock | None = None,
        progress: Progress | None = None,
        replay_until: int | None = None,
    ) -> None:
        inherit_metadata()
        self._replay_until = replay_until
        self._projection = projection
        self._handlers = EventHandlers(projection)
        self._view = view
        self._application_name = application_name
        self._signals = BatchSignals(type(projection), application_name)
        self._lease = lease
        self._policy = policy or FailurePolicy(OnFailure.STOP, retries=0)
        self._clock = clock or EventClock()
        self._row_keys = getattr(projection, "row_keys", None)
        tracked = view.tracked(application_name)
        self._tracked = tracked
        forget_ahead(tracked)
        self._parked = ParkedAggregates(tracked)
        self._blame = Blame(tracked, self._policy)
        self._search: CrashSearch | None = None
        self._is_handling = self._is_beginning = False
        row = tracked.row()
        self.position = row.position
        self._policy.skipped = row.skipped_in_a_row
        self._progress = progress or Progress()
        self._progress.begin(row.processed, row.position)

    @property
    def is_replaying(self) -> bool:
        """Whether events are next that are processed once more."""
        until, position = self._replay_until, self.position
        return until is not None and (position is None or position < until)

    @property
    def is_searching(self) -> bool:
        """Whether a process has ended at one of the next events, maybe decoding it."""
        return self._lease is not None and self._lease.was_abandoned

    def process(self, events: Sequence[ReceivedEvent], reason: str = "") -> None:
        """
        Process consecutive events and commit.

        Args:
            events: The events.
            reason: Why they are a batch, for receivers of ``batch_committed``.

        Raises:
            EventError: An event could not be decoded or processed, and will be
                tried again, or the projection stops there; those before it
                are committed.
            LeaseLostError: Another process has taken over the projection.
            PositionMovedError: Another process is running the projection.
            Exception: Any other error that may be gone at another try, or that
                is not about an event; events before it may be committed.
        """
        self._signals.reason = reason
        done = 0
        while done < len(events):
            if self._lease is not None and self._lease.was_abandoned:
                done += self._process_after_crash(events[done:], self._lease)
            else:
                count = self._policy.together(e.notification.id for e in events[done:])
                done += self._process_some(self._decoded(events[done:][:count]))

    def save_checkpoint(self, position: int) -> None:
        """
        Move on to a later position, up to which no event is the projection's.

        Raises:
            LeaseLostError: Another process has taken over the projection.
            PositionMovedError: Another process is running the projection.
        """
        began = monotonic()
        with self._view.batch(
            self._application_name, self.position, position, lease=self._lease
        ):
            pass
        self._move_to(position, 0)
        self._signals.committed(position, 0, began, began, began, "idle")

    def _process_some(
        self, events: Sequence[ReceivedEvent], *, is_searching: bool = False
    ) -> int:
        """Process at least one event and return how many."""
        self._is_handling = self._is_beginning = False
        try:
            self._signals.began(events)
            try:
                return self._commit(events)
            finally:
                handle(None)
                self._clock.end()
        except BaseException as error:
            # Also what would end a thread: here only handlers raise it.
            was_too_slow = self._clock.was_too_slow(error, self._lease)
            self._signals.undone(events, error)
            if was_too_slow and self._policy.slow(self._clock.position):
                raise
            if not self._blame.falls_on(
                events,
                error,
                is_searching=is_searching,
                has_lock=self._is_handling,
                is_beginning=self._is_beginning,
            ):
                raise
            if len(events) == 1:
                failure = event_error(self._projection.name, events[0], error)
                self._give_up_or_raise(events[0], failure)
                return 1
        size = 1 if len(events) <= _FEW_EVENTS else (len(events) + 1) // 2
        done = 0
        while done < len(events):
            part = events[done : done + size]
            done += self._process_some(part, is_searching=True)
        return done

    def _process_after_crash(
        self, events: Sequence[ReceivedEvent], lease: Lease
    ) -> int:
        """Process some of the events, with a note in case the process ends there."""
        if self._search is None:
            self._search = CrashSearch(lease, events)
        size, crashes = self._search.begin(events)
        position = events[0].notification.id
        action = self._policy.crashed(position, crashes) if size == 1 else None
        done = size
        try:
            if action is None:
                done = self._process_some(self._decoded(events[:size]))
            else:
                failure = crash_error(self._projection.name, events[0], crashes)
                self._act(action, events[0], failure)
        except EventError as error:
            if not isinstance(error, EventCrashError):
                self._search.failed()
            raise
        except Exception:
            # The process continues, so this was no end of it.
            done = 0
            self._search.interrupted(crashes)
            raise
        finally:
            self._search.ended(done)
            if self._search.is_over:
                self._search, lease.was_abandoned = None, False
        return done

    def _decoded(self, events: Sequence[ReceivedEvent]) -> Sequence[ReceivedEvent]:
        """Decode what is not yet; return what comes before one that cannot be."""
        if not isinstance(events[0], LateEvent):
            return events
        with self._clock.at_an_event():
            for index, event in enumerate(events):
                self._clock.begin(event.notification)
                if isinstance(event, LateEvent):
                    event.decode()
                if event.error is not None:
                    return events[: index or 1]
        return events

    def _commit(self, events: Sequence[ReceivedEvent]) -> int:
        """Process events in a transaction; return how many it came to."""
        last = events[-1].notification
        handler_of = self._handlers.for_batch()
        lease, depth = self._lease, forks.depth
        self._clock.begin(events[0].notification)
        began = monotonic()
        end = self._last_moment(began)
        put_behind: list[Notification] = []
        is_slow = self._policy.is_slow(events[0].notification.id)
        self._is_beginning = True
        with self._view.batch(
            self._application_name,
            self.position,
            last.id,
            lambda model: self._keys_of(model, events),
            lease=lease,
            idle_seconds=idle_seconds(lease, is_slow=is_slow),
            replay_until=self._replay_until,
            **self._changes(events[-1], len(events)),
            **self._skipped(0),
        ) as batch:
            self._clock.begin_transaction(events[0].notification, batch.session)
            parked = self._parked.among(event.notification for event in events)
            handling = monotonic()
            self._is_handling, self._is_beginning = True, False
            done = 0
            for event in events:
                batch.begin(event.tracking)
                self._clock.begin(event.notification)
                if parked and aggregate_key(event.notification) in parked:
                    self._parked.park(event.notification)
                    put_behind.append(event.notification)
                elif event.error is not None:
                    raise event.error
                else:
                    handle(event.notification)
                    domain_event = event.domain_event
                    handler = handler_of(type(domain_event))
                    try:
                        returned = handler(domain_event, event.tracking)
                    finally:
                        if forks.depth != depth:
                            forks.end_child()
                    if returned is not None:
                        check_returned(returned)
                done += 1
                is_over = end is not None and monotonic() > end
                if (not batch.event_ended() or is_over) and done < len(events):
                    last = event.notification
                    batch.end_at(last.id, **self._changes(event, done))
                    break
            has_processed = done > len(put_behind)
            if self._policy.skipped and not has_processed:
                batch.end_at(last.id, skipped_in_a_row=self._policy.skipped)
            handle(None)
            self._is_handling = False
            self._clock.commit()
            committing = monotonic()
        self._moved(last.id, done)
        if has_processed:
            self._policy.skipped = 0
        self._signals.committed(self.position, done, began, handling, committing)
        for notification in put_behind:
            self._signals.put_behind(notification)
        return done

    def _last_moment(self, began: float) -> float | None:
        """Return when a transaction takes no more events; None for no limit."""
        if self._lease is None:
            return None
        seconds = self._lease.seconds * _LEASE_PART
        return began + (min(seconds, _REPLAY_SECONDS) if self.is_replaying else seconds)

    def _changes(self, event: ReceivedEvent, count: int) -> dict[str, Any]:
        """
        Return what to write into the tracking row with the position.

        Args:
            event: The last one.
            count: How many they are with it.
        """
        last = event.notification
        recovery = {} if self._lease is None else self._lease.recovery(last.id)
        return {
            "event_position": last.id,
            "event_id": event_identity(last),
            "event_time": event_time(last, event.domain_event),
            "processed": self._progress.processed + count,
            **recovery,
        }

    def _skipped(self, count: int) -> dict[str, Any]:
        """Return what to write of how many events in a row are skipped now."""
        return {"skipped_in_a_row": count} if count != self._policy.skipped else {}

    def _move_to(self, position: int, count: int) -> None:
        was_replaying = self.is_replaying
        self.position = position
        self._progress.moved(count, position)
        if was_replaying and not self.is_replaying:
            self._signals.replay_ended(position)

    def _moved(self, position: int, count: int) -> None:
        self._move_to(position, count)
        if self._lease is not None and self._lease.recovered():
            self._signals.recovered(position)

    def _keys_of(self, model: Any, events: Sequence[ReceivedEvent]) -> Iterable[Any]:
        # Another event may be what hangs than the first that asks for a row.
        at = self._clock.notification
        keys = expected_keys(self._row_keys, model, events, self._clock.begin)
        self._clock.begin(at)
        return keys

    def _give_up_or_raise(self, event: ReceivedEvent, failure: EventError) -> None:
        action = self._policy.failed(event.notification.id)
        if action is None:
            raise failure
        self._act(action, event, failure)

    def _act(
        self, action: OnFailure, event: ReceivedEvent, failure: EventError
    ) -> None:
        if action is OnFailure.STOP:
            if self._policy.has_braked:
                note_brake(failure)
            raise failure
        notification = event.notification
        # Not by its truth, which an error may have of its own.
        cause = failure.__cause__
        reason = named_line(failure if cause is None else cause)
        place = traceback_of(failure)
        skipped = self._policy.skipped + (action is OnFailure.SKIP)
        with self._view.batch(
            self._application_name,
            self.position,
            notification.id,
            lease=self._lease,
            **self._changes(event, 1),
            **self._skipped(skipped),
        ):
            if action is OnFailure.PARK:
                self._parked.park(notification, reason, place)
            else:
                note_skipped(self._tracked, notification, reason, place)
        self._policy.skipped = skipped
        self._signals.given_up(
            action,
            notification,
            failure,
            reason,
            self._policy,
            is_first=self._lease is None or not self._lease.is_failing,
        )
        self._moved(notification.id, 1)
