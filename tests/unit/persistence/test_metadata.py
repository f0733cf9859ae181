"""What is said about events that are saved, without saving any."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from multiprocessing.pool import ThreadPool
from typing import Any
from uuid import uuid4

import pytest
from eventsourcing.persistence import DataError, Notification, ProgrammingError
from hypothesis import given
from hypothesis import strategies as st

from eventsourcing_eventstoredb import event_metadata
from eventsourcing_eventstoredb.metadata import (
    CAUSATION_ID,
    CORRELATION_ID,
    MAX_BYTES,
    VERSION,
    collected,
    decoded,
    encoded,
    handle,
    handled_metadata,
    handling,
    inherit_metadata,
    metadata_from,
    provider_named,
)
from eventsourcing_eventstoredb.streams.mapping import Layout, version_in_metadata

KEYS = st.text(min_size=1, max_size=20).filter(lambda key: not key.startswith("$"))
METADATA = st.dictionaries(KEYS, st.text(max_size=50), max_size=5)


def notification(**attributes: Any) -> Notification:
    made = Notification(uuid4(), 0, "topic", b"{}", 1)
    vars(made).update(attributes)
    return made


def test_nothing_is_said_unless_somebody_does() -> None:
    assert collected() == {}
    assert encoded({}) == b""


def test_blocks_add_to_those_around_them_and_take_precedence() -> None:
    with event_metadata(user="7", tenant="a"):
        with event_metadata({CORRELATION_ID: "c"}, user="8"):
            inside = collected()
        outside = collected()

    assert inside == {"user": "8", "tenant": "a", CORRELATION_ID: "c"}
    assert outside == {"user": "7", "tenant": "a"}
    assert collected() == {}


@given(METADATA, st.integers(0, 1), st.integers(1, 1000))
def test_what_is_said_is_read_again(
    metadata: dict[str, str], first: int, version: int
) -> None:
    layout = Layout("", first)

    stored = layout.metadata(version, encoded(metadata))

    assert layout.said(stored, version) == metadata
    assert version_in_metadata(stored) == (version if first else None)
    if stored:
        assert json.loads(stored) == (
            {VERSION: version, **metadata} if first else metadata
        )


@given(st.binary() | st.from_type(type(None)).map(lambda _: b"[" * 100_000))
def test_whatever_others_have_written_can_be_read(stored: bytes) -> None:
    assert all(isinstance(each, str) for each in decoded(stored).values())


def test_what_others_have_written_comes_as_text() -> None:
    stored = b'{"originator_version": 3, "n": 1, "of": {"a": [null]}, "text": "t"}'

    assert decoded(stored) == {"n": "1", "of": '{"a": [null]}', "text": "t"}
    assert decoded(b'["text"]') == {}
    assert decoded(b"\xff\x00") == {}


@pytest.mark.parametrize("value", [7, None, b"7", ["7"]])
def test_only_text_is_taken(value: Any) -> None:
    with pytest.raises(TypeError, match="'user' is of type") as raised:
        event_metadata(user=value).__enter__()
    assert "7" not in str(raised.value)
    with pytest.raises(TypeError, match="a key is of type int"):
        event_metadata({1: "x"}).__enter__()  # type: ignore[dict-item]


@pytest.mark.parametrize("key", [VERSION, "$maxAge", "$", ""])
def test_reserved_keys_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r"reserved|empty"):
        event_metadata({key: "secret"}).__enter__()
    with metadata_from(lambda: {key: "x"}), pytest.raises(ProgrammingError):
        collected()


def test_too_much_is_refused_and_no_value_is_shown() -> None:
    encoded({"note": "x" * (MAX_BYTES - len('{"note": ""}'))})

    with pytest.raises(DataError, match=r"'note'.* and 3 more") as raised:
        encoded({"note": "x" * MAX_BYTES, **{str(each): "y" for each in range(12)}})
    assert str(MAX_BYTES) in str(raised.value)
    assert "x" * 10 not in str(raised.value)


@pytest.mark.parametrize("returned", ["text", 7, [("user", "7")], {"user": 7}])
def test_what_a_function_returns_is_looked_at(returned: Any) -> None:
    def provider() -> Any:
        return returned

    with pytest.raises(ProgrammingError, match=r"provider must return .* texts"):
        collected(provider)


def test_a_provider_is_asked_for_each_save_and_blocks_say_more() -> None:
    asked: list[int] = []

    def provider() -> dict[str, str]:
        asked.append(1)
        return {"count": str(len(asked)), "user": "anonymous"}

    assert collected(provider) == {"count": "1", "user": "anonymous"}
    with event_metadata(user="7"):
        assert collected(provider) == {"count": "2", "user": "7"}
    assert collected(lambda: None) == {}


def test_what_is_saved_while_an_event_is_handled_follows_from_it() -> None:
    first = notification(event_id="id-1", metadata={"user": "7"})
    second = notification(
        event_id="id-2", metadata={CORRELATION_ID: "c", CAUSATION_ID: "id-1"}
    )

    with event_metadata(tenant="a"):
        with handling(first):
            assert handled_metadata() == {"user": "7"}
            assert collected() == {CORRELATION_ID: "id-1", CAUSATION_ID: "id-1"}
        with handling(second), event_metadata(user="8"):
            assert collected() == {
                CORRELATION_ID: "c",
                CAUSATION_ID: "id-2",
                "user": "8",
            }
        assert collected() == {"tenant": "a"}
    assert handled_metadata() == {}


def test_events_of_other_stores_are_no_causes() -> None:
    with handling(notification()):
        assert handled_metadata() == {}
        assert collected() == {}


def test_what_a_handler_does_to_the_metadata_it_sees_is_not_kept() -> None:
    with handling(notification(event_id="id", metadata={"user": "7"})):
        with pytest.raises(TypeError):
            handled_metadata()["user"] = "8"  # type: ignore[index]
        assert handled_metadata() == {"user": "7"}


def in_thread(function: Callable[[], Any]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def in_own_thread(function: Callable[[], Any]) -> None:
    class Own(threading.Thread):
        def run(self) -> None:
            function()

    thread = Own()
    thread.start()
    thread.join()
    assert "run" not in vars(thread)


def in_pool(function: Callable[[], Any]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(function).result()


def in_threads_of_threads(function: Callable[[], Any]) -> None:
    in_thread(lambda: in_pool(lambda: in_own_thread(function)))


def in_task(function: Callable[[], Any]) -> None:
    async def task() -> None:
        function()

    async def main() -> None:
        await asyncio.create_task(task())

    asyncio.run(main())


def in_task_of_thread(function: Callable[[], Any]) -> None:
    in_thread(lambda: in_task(function))


def in_thread_of_task(function: Callable[[], Any]) -> None:
    async def main() -> None:
        await asyncio.to_thread(function)

    asyncio.run(main())


def in_executor_of_loop(function: Callable[[], Any]) -> None:
    async def main() -> None:
        await asyncio.get_running_loop().run_in_executor(None, function)

    asyncio.run(main())


def in_copied_context(function: Callable[[], Any]) -> None:
    with ThreadPool(1) as pool:
        pool.apply(copy_context().run, (function,))


WAYS = [
    in_thread,
    in_own_thread,
    in_pool,
    in_threads_of_threads,
    in_task,
    in_task_of_thread,
    in_thread_of_task,
    in_executor_of_loop,
    in_copied_context,
]


@pytest.mark.parametrize("way", WAYS)
def test_threads_and_tasks_inherit(way: Callable[[Callable[[], Any]], None]) -> None:
    seen: list[dict[str, str]] = []

    def look() -> None:
        seen.append(collected())
        with event_metadata(own="x"):
            seen.append(collected())

    with event_metadata(user="7"):
        way(look)
        with handling(notification(event_id="id")):
            way(look)
    way(look)

    links = {CORRELATION_ID: "id", CAUSATION_ID: "id"}
    assert seen[:2] == [{"user": "7"}, {"user": "7", "own": "x"}]
    assert seen[2:4] == [links, {**links, "own": "x"}]
    assert seen[4:] == [{}, {"own": "x"}]


def test_a_thread_keeps_what_it_has_begun_with() -> None:
    seen: list[dict[str, str]] = []
    may_go_on = threading.Event()

    def look() -> None:
        may_go_on.wait()
        seen.append(collected())

    with event_metadata(user="7"):
        thread = threading.Thread(target=look)
        thread.start()
    may_go_on.set()
    thread.join()

    assert seen == [{"user": "7"}]


def test_a_pool_works_for_each_as_it_is_asked() -> None:
    with ThreadPoolExecutor(1) as pool:
        with event_metadata(user="7"):
            # Starts the thread.
            first = pool.submit(collected)
        second = pool.submit(collected)
        with event_metadata(user="8"):
            third = pool.submit(collected)

    assert [each.result() for each in (first, second, third)] == [
        {"user": "7"},
        {},
        {"user": "8"},
    ]


def test_tasks_do_not_mix() -> None:
    async def save(user: str, barrier: asyncio.Barrier) -> dict[str, str]:
        with event_metadata(user=user):
            await barrier.wait()
            return await asyncio.to_thread(collected)

    async def main() -> list[dict[str, str]]:
        barrier = asyncio.Barrier(100)
        return await asyncio.gather(*(save(str(n), barrier) for n in range(100)))

    assert asyncio.run(main()) == [{"user": str(n)} for n in range(100)]


def test_an_event_is_handled_until_another_one_is() -> None:
    def run() -> None:
        inherit_metadata()
        handle(notification(event_id="id-1", metadata={}))
        handle(notification(event_id="id-2", metadata={}))
        assert collected()[CAUSATION_ID] == "id-2"
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(collected).result()[CAUSATION_ID] == "id-2"
        handle(None)
        assert collected() == {}

    with event_metadata(user="7"):
        copy_context().run(run)
        assert collected() == {"user": "7"}


@pytest.mark.parametrize("separator", [".", ":"])
def test_a_provider_is_found_by_its_name(separator: str) -> None:
    assert provider_named(f"{__name__}{separator}said") is said


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nothing", "cannot be imported"),
        ("", "cannot be imported"),
        ("no.such.module", "cannot be imported: ModuleNotFoundError"),
        (f"{__name__}.nothing", "cannot be imported: AttributeError"),
        (f"{__name__}.WAYS", "is no function"),
        (f"{__name__}.said_later", "is async def"),
    ],
)
def test_a_provider_that_cannot_be_used_is_refused(name: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        provider_named(name)


def said() -> dict[str, str]:
    return {}


async def said_later() -> dict[str, str]:
    return {}
