"""What handlers do once for each event, and what they know of replays."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from eventsourcing.persistence import Tracking
from eventsourcing.popo import POPOTrackingRecorder

from django_esdb.exceptions import ConfigurationError
from django_esdb.failures.retrying import retry_failed_events
from django_esdb.models import FailedEvent
from django_esdb.policies import OnFailure
from django_esdb.rebuilding.resetting import reset_projection
from django_esdb.registry import Registration, registry
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)
from tests.support.supervising import catch_up, running, tracking, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]


class Telling(TrainingSchoolProjection):
    """Sends a message for each trick; some events fail, and some tellings do."""

    name = "Telling"
    told: list[str] = []
    seen: list[tuple[str, bool]] = []
    bad: set[str] = set()
    speechless: set[str] = set()

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        super().process_event(domain_event, tracking)
        trick = getattr(domain_event, "trick", "")
        if trick:
            self.seen.append((trick, self.is_replay))
            self.on_live(lambda: self._tell(trick))
        if trick in self.bad:
            raise ValueError(trick)

    def _tell(self, trick: str) -> None:
        assert not connection.in_atomic_block
        self.told.append(trick)
        if trick in self.speechless:
            raise RuntimeError(trick)


@pytest.fixture
def telling(
    registration: MakeRegistration, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Registration]:
    for name, empty in (("told", []), ("seen", [])):
        monkeypatch.setattr(Telling, name, empty)
    for name in ("bad", "speechless"):
        monkeypatch.setattr(Telling, name, set())

    def make(**options: Any) -> Registration:
        made = registration(projection_class=Telling, **options)
        # A read model has one projection.
        monkeypatch.setattr(registry, "_registry", {"Telling": made})
        return made

    return make


def test_effects_are_those_of_what_is_committed_once_and_in_order(
    school: TrainingSchool, telling: MakeRegistration, caplog: pytest.LogCaptureFixture
) -> None:
    school.register("Fido")
    names = [f"trick {number}" for number in range(20)]
    for name in names:
        school.add_trick("Fido", name)
    Telling.bad.add("trick 7")
    Telling.speechless.add("trick 3")

    with caplog.at_level(logging.ERROR, "django_esdb.recorders"):
        catch_up(telling(on_failure=OnFailure.SKIP))

    # The batch was undone and processed again in parts.
    assert len(Telling.seen) > len(names)
    assert Telling.told == [name for name in names if name != "trick 7"]
    assert "An on_commit callback failed" in caplog.text


def test_what_was_processed_before_is_a_replay_and_what_comes_then_is_not(
    school: TrainingSchool, telling: MakeRegistration
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "sit")
    projection = telling()
    catch_up(projection)
    last = tracking().position
    Telling.seen.clear()

    reset_projection(projection)

    assert tracking().is_replaying
    assert tracking().replay_until == last
    school.add_trick("Fido", "roll")
    catch_up(projection)
    assert Telling.seen == [("sit", True), ("roll", False)]
    assert Telling.told == ["sit", "roll"]
    assert not tracking().is_replaying
    # Half of a replay that begins again is one, too.
    tracking().__class__.objects.update(position=last - 1)
    reset_projection(projection)
    assert tracking().replay_until == last


@pytest.mark.any_database
def test_events_of_another_store_may_count_as_new(
    school: TrainingSchool, telling: MakeRegistration
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "sit")
    projection = telling()
    catch_up(projection)

    call_command(
        "resetprojection",
        *("Telling", "--no-input", "--with-effects"),
        stdout=io.StringIO(),
    )
    catch_up(projection)

    assert Telling.told == ["sit", "sit"]


def test_failed_event_that_is_tried_again_has_its_effects_then(
    school: TrainingSchool, telling: MakeRegistration
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")
    Telling.bad.add("burn")
    projection = telling(on_failure=OnFailure.PARK)
    catch_up(projection)
    assert Telling.told == []
    Telling.bad.clear()

    retry_failed_events(projection)

    assert not FailedEvent.objects.exists()
    assert Telling.told == ["burn"]
    # In a replay it has had them.
    Telling.bad.add("burn")
    reset_projection(projection)
    catch_up(projection)
    Telling.bad.clear()
    retry_failed_events(projection)
    assert not FailedEvent.objects.exists()
    assert Telling.told == ["burn"]


def test_views_alone_have_the_same() -> None:
    view = TrainingSchoolView(name="Telling")
    told: list[int] = []

    def process(position: int) -> bool:
        with view.atomic(Tracking("TrainingSchool", position)):
            before = list(told)
            view.on_live(lambda: told.append(position))
            assert told == before
            return view.is_replay

    assert [process(1), process(2)] == [False, False]
    tracking().__class__.objects.update(position=None, replay_until=2)
    assert [process(1), process(2), process(3)] == [True, True, False]
    assert told == [1, 2, 3]
    assert not view.is_replay
    with (
        pytest.raises(ValueError, match="undone"),
        view.atomic(Tracking("TrainingSchool", 4)),
    ):
        view.on_live(lambda: told.append(4))
        raise ValueError("undone")
    assert told == [1, 2, 3]


def test_effects_need_a_transaction_and_something_to_call() -> None:
    view = TrainingSchoolView(name="Telling")

    with pytest.raises(transaction.TransactionManagementError, match="on_live"):
        view.on_live(print)
    with (
        pytest.raises(TypeError, match="not str"),
        view.atomic(Tracking("TrainingSchool", 1)),
    ):
        view.on_live("a mail")  # type: ignore[arg-type]


@pytest.mark.any_database
def test_views_elsewhere_know_no_replays_and_have_no_effects() -> None:
    projection: Any = TrainingSchoolProjection(view=POPOTrackingRecorder())  # type: ignore[arg-type]

    assert projection.is_replay is False
    with pytest.raises(ConfigurationError, match="POPOTrackingRecorder is not"):
        projection.on_live(print)


@pytest.mark.any_database
def test_what_a_class_has_by_these_names_is_kept() -> None:
    class Own(TrainingSchoolProjection):
        name = "Own"
        is_replay = "mine"

    assert Own(view=TrainingSchoolView()).is_replay == "mine"


def test_live_events_come_behind_a_replay_that_a_worker_makes(
    school: TrainingSchool, telling: MakeRegistration, settings: Any
) -> None:
    settings.ESDB_REPLAY_BATCH_SIZE = 2
    # The worker notices when the lease is to be renewed.
    settings.ESDB_LEASE_SECONDS = 3
    school.register("Fido")
    for number in range(7):
        school.add_trick("Fido", f"trick {number}")
    projection = telling()
    with running(projection):
        wait_until(lambda: len(Telling.told) == 7)

        reset_projection(projection)

        wait_until(lambda: len(Telling.seen) == 14)
        school.add_trick("Fido", "last")
        wait_until(lambda: Telling.told[-1] == "last")
    assert len(Telling.told) == 8
    assert len(Dog.objects.get().tricks) == 8
