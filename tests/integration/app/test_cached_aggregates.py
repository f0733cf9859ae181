"""The repository's cache, shared by threads and behind other processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, ClassVar
from uuid import UUID

import pytest
from eventsourcing.application import AggregateNotFoundError, Application, Repository
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import IntegrityError, OperationalError

from django_esdb import get_application
from django_esdb.applications.repositories import SharedRepository
from django_esdb.applications.shared import close_applications
from eventsourcing_eventstoredb import store_deadline
from eventsourcing_eventstoredb.server import EmbeddedServer

SECONDS = 60
THREADS = 8


class Pausing:
    """Waits when it is copied, if a test says so."""

    copied: ClassVar[threading.Event | None] = None
    may_go_on = threading.Event()

    def __deepcopy__(self, memo: Any) -> Pausing:
        if Pausing.copied is not None:
            Pausing.copied.set()
            assert Pausing.may_go_on.wait(SECONDS)
        return self


class Hound(Aggregate):
    INITIAL_VERSION = 0

    class Left(Aggregate.Event):
        def mutate(self, aggregate: Any) -> None:
            return None

    @event("Registered")
    def __init__(self) -> None:
        # Copied after the version and before the tricks.
        self.pausing = Pausing()
        self.tricks: list[str] = []

    @event("TrickAdded")
    def add_trick(self, trick: str) -> None:
        self.tricks.append(trick)


class Kennel(Application[UUID]):
    env: ClassVar[dict[str, str]] = {"AGGREGATE_CACHE_MAXSIZE": "10"}

    def add_trick(self, hound_id: UUID, trick: str) -> None:
        """Add a trick, though others may be faster; not for ever, if all is wrong."""
        for _ in range(1000):
            hound: Hound = self.repository.get(hound_id)
            hound.add_trick(trick)
            try:
                self.save(hound)
            except IntegrityError:
                continue
            return
        pytest.fail("the cache has never what was saved last")


@pytest.fixture
def kennel(server: EmbeddedServer, settings: Any) -> Iterator[Kennel]:
    settings.ESDB_URI = server.uri
    settings.ESDB_TOPIC_ALLOWLIST = [__name__]
    yield get_application(Kennel)
    close_applications()


@pytest.fixture
def elsewhere(kennel: Kennel) -> Iterator[Kennel]:
    """The kennel as another process has it, without a cache."""
    with closing(Kennel({"AGGREGATE_CACHE_MAXSIZE": ""})) as elsewhere:
        assert type(elsewhere.repository) is Repository
        yield elsewhere


@pytest.fixture
def hound_id(kennel: Kennel) -> UUID:
    """The ID of a hound that is in the cache."""
    hound = Hound()
    kennel.save(hound)
    kennel.repository.get(hound.id)
    return hound.id


def is_whole(hound: Hound) -> bool:
    return bool(hound.version == len(hound.tricks))


def test_writes_of_others_are_seen(
    kennel: Kennel, elsewhere: Kennel, hound_id: UUID
) -> None:
    assert isinstance(kennel.repository, SharedRepository)
    for trick in ("sit", "roll over"):
        elsewhere.add_trick(hound_id, trick)
        hound: Hound = kennel.repository.get(hound_id)
        assert hound.tricks[-1] == trick
        assert is_whole(hound)
    kennel.add_trick(hound_id, "fetch")

    read: Hound = elsewhere.repository.get(hound_id)
    assert read.tricks == ["sit", "roll over", "fetch"]


def test_what_one_thread_copies_another_does_not_change(
    kennel: Kennel, elsewhere: Kennel, hound_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = threading.Event()
    monkeypatch.setattr(Pausing, "may_go_on", threading.Event())
    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(Pausing, "copied", copied)
        first = pool.submit(kennel.repository.get, hound_id)
        assert copied.wait(SECONDS)
        monkeypatch.setattr(Pausing, "copied", None)

        elsewhere.add_trick(hound_id, "sit")
        newer: Hound = kennel.repository.get(hound_id)
        Pausing.may_go_on.set()
        older: Any = first.result(SECONDS)

    assert (newer.version, newer.tricks) == (1, ["sit"])
    assert (older.version, older.tricks) == (0, [])


def test_many_threads_and_another_process_lose_nothing(
    kennel: Kennel, elsewhere: Kennel, hound_id: UUID
) -> None:
    tricks = [f"{thread}-{n}" for thread in range(THREADS) for n in range(10)]
    is_over = threading.Event()
    torn: list[Hound] = []

    def look() -> None:
        while not is_over.is_set():
            hound: Hound = kennel.repository.get(hound_id)
            if not is_whole(hound):
                torn.append(hound)

    with ThreadPoolExecutor(THREADS) as pool:
        looking = [pool.submit(look) for _ in range(2)]
        try:
            added = [
                pool.submit(
                    (elsewhere if n % 5 == 0 else kennel).add_trick, hound_id, t
                )
                for n, t in enumerate(tricks)
            ]
            for each in added:
                each.result(SECONDS)
        finally:
            is_over.set()
        for each in looking:
            each.result(SECONDS)

    assert torn == []
    found: Hound = kennel.repository.get(hound_id)
    assert sorted(found.tricks) == sorted(tricks)
    again: Hound = elsewhere.repository.get(hound_id)
    assert again.tricks == found.tricks


def test_what_is_not_saved_is_not_seen_by_others(
    kennel: Kennel, hound_id: UUID
) -> None:
    hound: Hound = kennel.repository.get(hound_id)
    hound.add_trick("sit")

    assert kennel.repository.get(hound_id).tricks == []


def test_without_fast_forward_what_was_saved_last_is_kept(
    elsewhere: Kennel, hound_id: UUID, settings: Any
) -> None:
    settings.ESDB_ENV = {"AGGREGATE_CACHE_FASTFORWARD": "n"}
    kennel = get_application(Kennel)
    first: Hound = kennel.repository.get(hound_id)
    second: Hound = kennel.repository.get(hound_id)
    first.add_trick("sit")
    kennel.save(first)
    # Continues with what it has saved, and is not through.
    first.add_trick("think")

    third: Hound = kennel.repository.get(hound_id)
    assert third.tricks == ["sit"]
    third.add_trick("roll over")
    kennel.save(third)
    # As a thread does that has saved before and is late.
    kennel.repository.cache.put(hound_id, second)
    assert kennel.repository.get(hound_id).tricks == ["sit", "roll over"]
    elsewhere.add_trick(hound_id, "fetch")
    assert kennel.repository.get(hound_id).tricks == ["sit", "roll over"]


def test_copies_can_be_turned_off(
    elsewhere: Kennel, hound_id: UUID, settings: Any
) -> None:
    settings.ESDB_ENV = {"DEEPCOPY_FROM_AGGREGATE_CACHE": "n"}
    kennel = get_application(Kennel)
    hound: Hound = kennel.repository.get(hound_id)
    elsewhere.add_trick(hound_id, "sit")

    assert kennel.repository.get(hound_id) is hound
    assert hound.tricks == ["sit"]


def test_earlier_versions_do_not_come_from_the_cache(
    kennel: Kennel, hound_id: UUID
) -> None:
    kennel.add_trick(hound_id, "sit")

    assert kennel.repository.get(hound_id, version=0).tricks == []
    assert kennel.repository.get(hound_id).tricks == ["sit"]


def test_who_has_left_is_not_found_any_more(
    kennel: Kennel, elsewhere: Kennel, hound_id: UUID
) -> None:
    hound: Hound = elsewhere.repository.get(hound_id)
    hound.trigger_event(Hound.Left)
    elsewhere.save(hound)

    for _ in range(2):
        with pytest.raises(AggregateNotFoundError):
            kennel.repository.get(hound_id)
        assert hound_id not in kennel.repository


@pytest.fixture
def held(kennel: Kennel, hound_id: UUID) -> Iterator[None]:
    """Another thread brings the hound up to date, for as long as the test takes."""
    repository: Any = kennel.repository
    lock = repository._use_fastforward_lock(hound_id)
    with lock:
        yield
    repository._disuse_fastforward_lock(hound_id)


@pytest.mark.usefixtures("held")
def test_the_wait_for_another_thread_has_an_end(kennel: Kennel, hound_id: UUID) -> None:
    with (
        store_deadline(0.1),
        pytest.raises(OperationalError, match="another thread still does"),
    ):
        kennel.repository.get(hound_id)


@pytest.mark.usefixtures("held")
def test_who_does_not_wait_gets_what_is_there(
    kennel: Kennel, elsewhere: Kennel, hound_id: UUID
) -> None:
    elsewhere.add_trick(hound_id, "sit")

    skipping: Callable[..., Any] = kennel.repository.get
    assert skipping(hound_id, fastforward_skipping=True).tricks == []


def test_a_repository_of_ones_own_is_left_alone(kennel: Kennel) -> None:
    class Own(Repository[UUID]):
        pass

    class OwnKennel(Kennel):
        def construct_repository(self) -> Repository[UUID]:
            return Own(self.events, cache_maxsize=1)

    with closing(OwnKennel()) as own:
        assert type(own.repository) is Own
