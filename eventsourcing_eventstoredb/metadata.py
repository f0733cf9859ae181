"""
What is said about events beside what they say: who has saved them, and why.

An event's metadata in EventStoreDB is a JSON object. Here its values are texts, but for
the version of the event, which is the mapping's own and no part of what is said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from eventsourcing.persistence import DataError, Notification, ProgrammingError

from eventsourcing_eventstoredb.functions import named_function
from eventsourcing_eventstoredb.inheriting import inherit
from eventsourcing_eventstoredb.text import quoted

# By these EventStoreDB's own projection and its pages follow events.
CORRELATION_ID = "$correlationId"
CAUSATION_ID = "$causationId"
# Says which version an event or a snapshot is of.
VERSION = "originator_version"

# Of what is said about one event, as JSON.
MAX_BYTES = 4096

MetadataProvider = Callable[[], Mapping[str, str] | None]
_Source = Mapping[str, str] | MetadataProvider

_NOTHING: Mapping[str, str] = MappingProxyType({})
_NAMED_KEYS = 10


# What blocks say, and the event that is handled. A plain tuple, since there is another
# one for each event that a projection processes.
_Said = tuple[tuple[_Source, ...], Notification | None]

_NOTHING_SAID: _Said = ((), None)
_said: ContextVar[_Said] = ContextVar("event_metadata", default=_NOTHING_SAID)


@contextmanager
def event_metadata(
    metadata: Mapping[str, str] = _NOTHING, /, **more: str
) -> Iterator[None]:
    """
    Add to the metadata of each event that is saved in the block.

    A block within another one adds to that one's, and takes precedence. It holds for
    the thread or task that it is used in, and for the tasks and threads that are
    started in it, for as long as they run. Snapshots say their version and no more.
    As a decorator it is for functions that are neither ``async`` nor generators.

    Args:
        metadata: Texts by keys that are no names, such as ``$correlationId``.
        more: Texts by name.

    Raises:
        TypeError: A key or a value is no text.
        ValueError: A key is empty or reserved: ``originator_version``, and those that
            begin with ``$`` but for ``$correlationId`` and ``$causationId``.
    """
    given = {**metadata, **more}
    problem = _type_problem(given)
    if problem:
        msg = f"event_metadata takes texts by name: {problem}"
        raise TypeError(msg)
    problem = _key_problem(given)
    if problem:
        msg = f"event_metadata: {problem}"
        raise ValueError(msg)
    with metadata_from(given):
        yield


@contextmanager
def metadata_from(source: _Source) -> Iterator[None]:
    """
    Add what a function returns when something is saved in the block.

    Args:
        source: Texts by key, or the function; it is called in the thread that saves.
    """
    inherit_metadata()
    sources, handled = _said.get()
    token = _said.set(((*sources, source), handled))
    try:
        yield
    finally:
        _said.reset(token)


def provider_named(name: str) -> MetadataProvider:
    """
    Return the function that a dotted path or a topic names; imports its module.

    Args:
        name: Such as ``school.events.metadata`` or ``school.events:metadata``.

    Raises:
        ValueError: There is none, or it cannot be called for metadata.
    """
    return named_function(name)


def inherit_metadata() -> None:
    """Have threads take over what is said where they are started; idempotent."""
    inherit(_said)


def handle(notification: Notification | None) -> None:
    """
    Note which event the calling thread or task handles from now on; None for none.

    What is saved meanwhile has that event's ID as its cause, and its correlation. What
    blocks around have said about other events does not hold for these. Threads take it
    over after :func:`inherit_metadata`, which is not called for each event.
    """
    _said.set(_NOTHING_SAID if notification is None else ((), notification))


@contextmanager
def handling(notification: Notification) -> Iterator[None]:
    """Note for a block which event is handled in it."""
    inherit_metadata()
    token = _said.set(((), notification))
    try:
        yield
    finally:
        _said.reset(token)


def handled_notification() -> Notification | None:
    """Return the event that is being handled; None if none is."""
    return _said.get()[1]


def handled_metadata() -> Mapping[str, str]:
    """Return the metadata of the event that is being handled; empty if none is."""
    _, handled = _said.get()
    return MappingProxyType(dict(metadata_of(handled))) if handled else _NOTHING


def metadata_of(notification: Notification) -> Mapping[str, str]:
    """Return a notification's metadata; empty if it is of a store that has none."""
    return getattr(notification, "metadata", _NOTHING)


def collected(provider: MetadataProvider | None = None) -> dict[str, str]:
    """
    Return what is said about the events that the calling code is about to save.

    From the weakest to the strongest: the provider, the event that is being handled,
    and the blocks, inner ones last.

    Args:
        provider: Called for each save; None if there is none.

    Raises:
        ProgrammingError: What a function has returned is no mapping of texts, or has
            keys that are reserved.
        DataError: It is too much. The message has the keys, and no values.
    """
    said = _said.get()
    if provider is None and said is _NOTHING_SAID:
        return {}
    found = {} if provider is None else _asked(provider)
    sources, handled = said
    if handled is not None:
        found.update(_links_to(handled))
    for source in sources:
        found.update(_asked(source) if callable(source) else source)
    return found


def encoded(metadata: Mapping[str, str]) -> bytes:
    """
    Return metadata as it is stored; nothing if nothing is said.

    Raises:
        DataError: It is too much. The message has the keys, and no values.
    """
    if not metadata:
        return b""
    text = json.dumps(dict(metadata)).encode("ascii")
    if len(text) > MAX_BYTES:
        msg = (
            f"Metadata of events has {len(text)} bytes, of which {MAX_BYTES} are "
            f"allowed: say less about them; its keys are {_names(metadata)}"
        )
        raise DataError(msg)
    return text


def decoded(metadata: bytes) -> dict[str, str]:
    """
    Return what an event's stored metadata says, without its version.

    By any client: what is no text comes as its JSON, and what is no JSON
    object at all as nothing.
    """
    try:
        found = json.loads(metadata)
        if not isinstance(found, dict):
            return {}
        return {
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in found.items()
            if key != VERSION
        }
    except (ValueError, RecursionError):
        return {}


def _asked(function: MetadataProvider) -> dict[str, str]:
    returned: object = function()
    if returned is None:
        return {}
    problem = (
        _type_problem(returned) or _key_problem(returned)
        if isinstance(returned, Mapping)
        else f"it has returned a {type(returned).__name__}"
    )
    if problem:
        name = getattr(function, "__qualname__", type(function).__qualname__)
        msg = f"{name} must return metadata as texts by key: {problem}"
        raise ProgrammingError(msg)
    assert isinstance(returned, Mapping)
    return dict(returned)


def _links_to(handled: Notification) -> dict[str, str]:
    # Those of other stores have no ID.
    event_id: str | None = getattr(handled, "event_id", None)
    if event_id is None:
        return {}
    correlation = metadata_of(handled).get(CORRELATION_ID) or event_id
    return {CORRELATION_ID: correlation, CAUSATION_ID: event_id}


def _type_problem(metadata: Mapping[Any, Any]) -> str:
    for key, value in metadata.items():
        if not isinstance(key, str):
            return f"a key is of type {type(key).__name__}"
        if not isinstance(value, str):
            return f"{quoted(key)} is of type {type(value).__name__}"
    return ""


def _key_problem(metadata: Mapping[str, Any]) -> str:
    for key in metadata:
        if not key:
            return "a key is empty"
        if key == VERSION or (
            key.startswith("$") and key not in (CORRELATION_ID, CAUSATION_ID)
        ):
            return f"{quoted(key)} is reserved"
    return ""


def _names(metadata: Mapping[str, str]) -> str:
    names = [quoted(key) for key in metadata]
    rest = len(names) - _NAMED_KEYS
    return ", ".join(names[:_NAMED_KEYS]) + (f" and {rest} more" if rest > 0 else "")
