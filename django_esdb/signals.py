"""
What happens to projections, for receivers that want to know.

Each signal is sent when the thing has happened, and ``batch_began`` before it, in a
thread of the projection that it happened to, so receivers have to be safe to be called
by several threads at once, and hold up the projection for as long as they take. They
are called outside of the projection's transactions. One that raises an error is logged,
and stops nothing.

The sender is the projection's class. Each signal has the arguments ``projection`` and
``application``, which are names, and those that are listed here:

===========================  =====================================================
``projection_started``       It begins to run in this process. ``position``: of the
                             last processed event, or None.
``standing_by``              It waits, since another process runs it, or it is
                             paused, or the event store's nodes have yet to reach its
                             position; sent once for each wait. ``owner``: who runs
                             it; empty if no other does. ``reason``: why it waits;
                             empty if another process runs it. ``is_paused``.
``batch_began``              Events are about to be processed in a transaction.
                             ``position``: of the first one. ``events``: how many, at
                             most. ``reason``: as for ``batch_committed``, which is
                             sent next in this thread, unless ``batch_undone`` is.
``batch_committed``          Events are processed and committed. ``position``: of
                             the last one. ``events``: how many; 0 if it was passed
                             over what is not the projection's, which no
                             ``batch_began`` comes before. ``seconds``: how
                             long that took. ``handler_seconds``: of these, what the
                             projection took, with what it asked of the database.
                             ``commit_seconds``: of these, what it took then to write
                             what was collected, and to commit. ``reason``: why the
                             batch was processed with what it had.
``batch_undone``             A transaction was rolled back. ``position``: of the first
                             event. ``events``: how many, at most. ``error``. What is
                             done about it is told by other signals.
``event_failed``             An event could not be processed. ``position``,
                             ``error``, ``failures``: how often, so far.
                             ``retries``: how often it is tried again at most.
                             ``seconds``: after which it is tried again; None if it
                             is given up. ``is_first``: nothing was wrong before.
``event_parked``             An event is put aside. ``position``, ``topic``,
                             ``originator_id``, ``originator_version``, and
                             ``event``: which, in words. ``reason``: why it failed;
                             empty if an earlier one of its aggregate has failed.
``event_skipped``            An event is left out for good. As ``event_parked``.
``projection_interrupted``   The event store or the database was away. ``error``,
                             ``seconds``: after which it is tried again; 0 where the
                             subscription resumes by itself. ``phase``:
                             ``"beginning"``, ``"running"`` or ``"standing by"``.
                             ``is_first``: nothing was wrong before.
``subscription_resumed``     The event store had broken off what it sends, and sends
                             again; also where that was too short for
                             ``projection_interrupted``. ``times``: how often, since
                             it was last told.
``projection_recovered``     It works again. ``position``: of the last processed
                             event; None if there was none since.
``projection_caught_up``     It was behind, and has processed all that there is.
                             ``position``. Once for each time that it catches up.
``projection_paused``        It has stopped at an event until a retry is asked
                             for. ``position``: the event's. ``error``.
``rebuild_began``            What the projection has made is deleted, and it starts
                             over. ``until``: the position at which the application's
                             events ended then, or None. ``rows``: how many were
                             deleted, by the model's label.
``replay_ended``             All events are processed that had been before, or were
                             there when a rebuild began. ``position``.
``lease_acquired``           This process runs the projection from now on; if it has
                             to wait before that for anything else, that is told
                             next. ``owner``: as whom. ``was_abandoned``: whether the
                             owner before has ended without giving it back.
``lease_released``           This process has given it back, whether or not the
                             database could be told so. ``state``: which the
                             projection has now, such as ``"paused"``.
``lease_lost``               Another process has taken over. ``error``.
``projection_stopped``       It has ended as it was asked to, or has caught up and
                             was to end then. ``position``.
``projection_failed``        It has ended because of an ``error``, a
                             ``ProjectionError``.
===========================  =====================================================

Views that are not on the ORM are run by the library, of whose batches nothing is known.
"""

from __future__ import annotations

import logging
from typing import Any

from django.dispatch import Signal

from eventsourcing_eventstoredb.logs import log

logger = logging.getLogger("django_esdb.signals")

# Caching makes asking for receivers cheap enough for each batch.
projection_started = Signal(use_caching=True)
standing_by = Signal(use_caching=True)
batch_began = Signal(use_caching=True)
batch_committed = Signal(use_caching=True)
batch_undone = Signal(use_caching=True)
event_failed = Signal(use_caching=True)
event_parked = Signal(use_caching=True)
event_skipped = Signal(use_caching=True)
projection_interrupted = Signal(use_caching=True)
subscription_resumed = Signal(use_caching=True)
projection_recovered = Signal(use_caching=True)
projection_caught_up = Signal(use_caching=True)
projection_paused = Signal(use_caching=True)
rebuild_began = Signal(use_caching=True)
replay_ended = Signal(use_caching=True)
lease_acquired = Signal(use_caching=True)
lease_released = Signal(use_caching=True)
lease_lost = Signal(use_caching=True)
projection_stopped = Signal(use_caching=True)
projection_failed = Signal(use_caching=True)


class Sender:
    """
    Sends the signals of one projection.

    Args:
        projection_class: The projection's class.
        application: Name of the application whose events it processes.
    """

    def __init__(self, projection_class: type[Any], application: str) -> None:
        self._projection_class = projection_class
        self._application = application

    def has_listeners(self, signal: Signal) -> bool:
        """Tell whether it is worth while to find out what to send."""
        return signal.has_listeners(self._projection_class)

    def send(self, signal: Signal, **arguments: Any) -> None:
        """Call the receivers, one after the other; raises nothing of theirs."""
        try:
            signal.send_robust(
                self._projection_class,
                projection=self._projection_class.name,
                application=self._application,
                **arguments,
            )
        except BaseException:
            # Django lets pass what would end a thread, and cannot report the error of
            # a receiver that has no name.
            log(
                logger,
                logging.ERROR,
                "A signal's receiver failed",
                projection=self._projection_class.name,
                application=self._application,
                exc_info=True,
            )
