"""One owner for each projection, by the database's clock."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from django_esdb.db.functions import DatabaseTime
from django_esdb.exceptions import LeaseLostError, PositionMovedError
from django_esdb.leases import process_identity
from django_esdb.leases.acquiring import acquire_lease
from django_esdb.leases.lease import Lease, next_token
from django_esdb.leases.process_identity import is_gone, new_owner
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import ProjectionState, ProjectionTracking
from django_esdb.recorders import DjangoTrackingRecorder
from tests.support.at_once import at_once
from tests.support.processes import ended_owner

pytestmark = pytest.mark.django_db(transaction=True)

TRACKED = TrackedProjection("default", "Projection", "App")


def acquire(seconds: float = 60, owner: str | None = None) -> Lease | None:
    return acquire_lease(TRACKED, owner or new_owner(), seconds)


def acquired(seconds: float = 60, owner: str | None = None) -> Lease:
    lease = acquire(seconds, owner)
    assert lease is not None
    return lease


def expire() -> None:
    """Let the lease be over, without waiting for it."""
    TRACKED.queryset().update(leased_until=DatabaseTime(-1))


def test_there_is_one_owner_at_a_time() -> None:
    first = acquired()

    assert acquire() is None
    first.release(ProjectionState.STOPPED)
    second = acquired()
    assert second.token == first.token + 1


def test_of_many_who_ask_at_once_one_becomes_owner() -> None:
    acquired().release(ProjectionState.STOPPED)

    leases = at_once(lambda number: acquire(), 6)

    assert len([lease for lease in leases if lease is not None]) == 1


def test_a_lease_ends_by_the_databases_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    acquired(seconds=60)
    # This machine's clock runs a day ahead.
    now = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: now() + timedelta(days=1))
    monkeypatch.setattr(time, "time", lambda: 4e9)

    assert acquire() is None
    expire()
    assert acquire() is not None


def test_a_lease_that_is_not_renewed_is_over_in_time() -> None:
    acquired(seconds=0.3)
    end = time.monotonic() + 30

    while acquire() is None:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_renewing_puts_the_end_off() -> None:
    lease = acquired(seconds=60)
    before = TRACKED.row().leased_until
    assert before is not None

    time.sleep(0.01)
    lease.renew()

    after = TRACKED.row().leased_until
    assert after is not None
    assert after > before
    # Where the process runs, clocks agree well enough to tell seconds from hours.
    assert abs(after - timezone.now()) < timedelta(seconds=90)


def test_who_was_taken_over_cannot_renew_and_learns_by_whom() -> None:
    first = acquired()
    expire()
    second = acquired()

    with pytest.raises(LeaseLostError, match="taken over by") as raised:
        first.renew()

    assert second.owner in str(raised.value)
    assert "since its lease was not renewed for 60 s" in str(raised.value)
    assert TRACKED.row().owner == second.owner


def test_a_lease_that_was_taken_away_is_not_said_to_be_over() -> None:
    first = acquired()
    row = TRACKED.row()
    # As a reset does, after which the first process takes over.
    TRACKED.queryset().update(token=next_token(row), owner="", leased_until=None)
    second = acquired()

    with pytest.raises(LeaseLostError) as raised:
        first.renew()

    assert f"taken over by {second.owner}, and reset, paused" in str(raised.value)


def test_who_was_taken_over_releases_nothing() -> None:
    first = acquired()
    expire()
    second = acquired()

    first.release(ProjectionState.STOPPED)

    assert TRACKED.row().owner == second.owner
    assert acquire() is None


def test_who_was_taken_over_cannot_commit() -> None:
    view = DjangoTrackingRecorder(TRACKED.projection)
    first = acquired()
    expire()
    acquired()

    with (
        pytest.raises(LeaseLostError),
        view.batch(TRACKED.application, None, 7, lease=first),
    ):
        pass

    assert TRACKED.row().position is None


def test_an_owner_whose_position_was_moved_is_told_so() -> None:
    view = DjangoTrackingRecorder(TRACKED.projection)
    lease = acquired()
    TRACKED.queryset().advance(5)

    with (
        pytest.raises(PositionMovedError),
        view.batch(TRACKED.application, None, 7, lease=lease),
    ):
        pass


def test_a_batch_renews_the_lease() -> None:
    view = DjangoTrackingRecorder(TRACKED.projection)
    lease = acquired()
    expire()

    with view.batch(TRACKED.application, None, 7, lease=lease):
        pass

    assert acquire() is None


def test_an_owner_in_a_transaction_holds_up_no_other() -> None:
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip(f"{connection.display_name} locks more than rows")
    view = DjangoTrackingRecorder(TRACKED.projection)
    lease = acquired()
    asked: list[Lease | None] = []

    def ask() -> None:
        try:
            asked.append(acquire())
        finally:
            connections.close_all()

    with view.batch(TRACKED.application, None, 7, lease=lease):
        # Over, as far as others can see.
        lease.seconds = -1
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()

    assert asked == [None]


def test_renewing_does_not_wait_for_a_batch() -> None:
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip(f"{connection.display_name} locks more than rows")
    lease = acquired()
    renewed = threading.Event()

    def renew() -> None:
        try:
            lease.renew()
            renewed.set()
        finally:
            connections.close_all()

    with transaction.atomic():
        TRACKED.queryset().compare_and_swap(None, 7, token=lease.token)
        thread = threading.Thread(target=renew)
        thread.start()
        assert renewed.wait(20)
    thread.join()


def test_whose_process_has_ended_is_taken_over_at_once() -> None:
    if not new_owner().split(":")[2]:
        pytest.skip("this system does not tell which processes one can see")
    gone = ended_owner()
    acquired(seconds=3600, owner=gone)

    lease = acquired()

    assert is_gone(gone)
    assert lease.was_abandoned


@pytest.mark.any_database
def test_a_process_whose_status_was_not_asked_for_is_gone() -> None:
    code = (
        "import django; django.setup();"
        "from django_esdb.leases.process_identity import new_owner;"
        "print(new_owner(), flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        owner = process.stdout.readline().strip()
        assert not is_gone(owner)
        process.kill()
        end = time.monotonic() + 30
        while owner.split(":")[2] and not is_gone(owner):
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.mark.any_database
@pytest.mark.parametrize(
    "other",
    [
        lambda host, pid, scope, rest: f"{host}:{pid}:000000000000:{rest}",
        lambda host, pid, scope, rest: f"{host}:{pid}::{rest}",
        lambda host, pid, scope, rest: f"{host}:nonsense:{scope}:{rest}",
        lambda host, pid, scope, rest: host,
        lambda host, pid, scope, rest: "",
    ],
)
def test_no_process_is_declared_gone_that_cannot_be_seen(
    other: Callable[[str, str, str, str], str],
) -> None:
    owner = other(*ended_owner().split(":"))
    acquired(seconds=3600, owner=owner)

    assert not is_gone(owner)
    assert acquire() is None


def test_a_process_that_runs_is_not_gone() -> None:
    assert not is_gone(new_owner())
    assert f":{os.getpid()}:" in new_owner()


@pytest.mark.parametrize("way", ["psutil", "files"])
def test_whose_number_another_process_has_is_gone(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "files":
        monkeypatch.setattr(process_identity, "psutil", None)
    owner = new_owner()
    name, _, started = owner.rpartition("-")
    if not started.isdigit():
        pytest.skip("this system does not tell when a process started")

    assert not is_gone(owner)
    # Names of older versions do not say when it was.
    assert not is_gone(name)
    assert is_gone(f"{name}-{int(started) - 1000}")


def test_both_ways_of_asking_say_when_a_process_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owners = [new_owner()]
    monkeypatch.setattr(process_identity, "psutil", None)
    owners.append(new_owner())

    first, second = (int(owner.rpartition("-")[2] or 0) for owner in owners)
    assert abs(first - second) <= 1


@pytest.mark.any_database
def test_a_process_is_known_to_have_ended_without_psutil(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not new_owner().split(":")[2]:
        pytest.skip("this system does not tell which processes one can see")
    monkeypatch.setattr(process_identity, "psutil", None)

    assert is_gone(ended_owner())


def test_only_who_did_not_release_has_abandoned_it() -> None:
    acquired().release(ProjectionState.STOPPED)
    second = acquired()
    expire()
    third = acquired()

    assert (second.was_abandoned, third.was_abandoned) == (False, True)


def test_each_change_of_state_says_since_when() -> None:
    lease = acquired()
    since = []
    for state, error in (
        (ProjectionState.RETRYING, "away"),
        (ProjectionState.RETRYING, "away"),
        (ProjectionState.RUNNING, ""),
    ):
        time.sleep(0.01)
        lease.set_state(state, error)
        since.append(TRACKED.row().state_since)
        assert lease.is_failing == (state == ProjectionState.RETRYING)

    first, second, third = since
    assert first is not None
    assert third is not None
    assert first == second < third


def test_what_was_received_before_does_not_end_an_outage_of_the_store() -> None:
    lease = acquired()
    lease.begin_attempt(7)
    lease.set_state(ProjectionState.RETRYING, "away")
    lease.store_is_away = True
    changes = lease.recovery(7)
    assert changes["attempts"] == 0
    assert not {"state", "error"} & changes.keys()
    assert not lease.recovered()
    assert lease.is_failing

    lease.store_is_away = False
    assert lease.recovery(8)["state"] == ProjectionState.RUNNING
    assert lease.recovered()


def test_attempts_at_an_event_outlive_the_process() -> None:
    first = acquired()
    assert first.begin_attempt(7) == 0
    expire()
    second = acquired()
    assert second.begin_attempt(7) == 1
    assert second.begin_attempt(9) == 0

    with pytest.raises(LeaseLostError):
        first.begin_attempt(7)


def test_long_names_are_cut_to_what_the_column_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "h:" * 300)
    owner = new_owner()

    acquired(owner=owner)

    assert ProjectionTracking.objects.get().owner == owner
    assert owner.count(":") == 3
