"""
Repositories whose cache may be used by any number of threads.

With ``AGGREGATE_CACHE_MAXSIZE`` the library's repository keeps aggregates and brings
them up to date where they lie: another thread that copies one meanwhile gets a part of
the new events. Without ``AGGREGATE_CACHE_FASTFORWARD`` it keeps the very object that
was saved, which its owner keeps changing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from functools import wraps
from typing import Any

from eventsourcing.application import (
    AggregateNotFoundError,
    Application,
    Cache,
    Repository,
    project_aggregate,
)
from eventsourcing.persistence import OperationalError

from eventsourcing_eventstoredb.deadlines import seconds_left

_MARK = "_django_esdb_repositories"


def make_caches_safe() -> None:
    """
    Have applications with a cache use a repository that threads can share.

    One that is of a class of its own is left as it is. Idempotent.
    """
    construct = Application.construct_repository
    if hasattr(construct, _MARK):
        return

    @wraps(construct)
    def constructed(self: Application[Any]) -> Repository[Any]:
        repository = construct(self)
        if type(repository) is Repository and repository.cache is not None:
            return SharedRepository(repository)
        return repository

    setattr(constructed, _MARK, True)
    Application.construct_repository = constructed  # type: ignore[method-assign]


class SharedRepository(Repository[Any]):
    """
    A repository that never changes an aggregate which it has in its cache.

    New events are applied to a copy, which then takes the other's place. Where copies
    are turned off (``DEEPCOPY_FROM_AGGREGATE_CACHE``), it does as the library's.

    Args:
        repository: Where events and snapshots lie, and how they are cached.
    """

    def __init__(self, repository: Repository[Any]) -> None:
        super().__init__(
            repository.event_store,
            snapshot_store=repository.snapshot_store,
            fastforward=repository.fastforward,
            fastforward_skipping=repository.fastforward_skipping,
            deepcopy_from_cache=repository.deepcopy_from_cache,
        )
        assert repository.cache is not None
        self._kept = _Newest(repository.cache, copies=self.deepcopy_from_cache)
        # What the application puts aggregates into that it has saved.
        self.cache = self._kept

    def get(
        self,
        aggregate_id: Any,
        *,
        version: int | None = None,
        projector_func: Any = project_aggregate,
        fastforward_skipping: bool = False,
        deepcopy_from_cache: bool = True,
    ) -> Any:
        """
        Return an aggregate, as the library's repository does.

        Raises:
            AggregateNotFoundError: There is none with this ID.
            OperationalError: The store cannot be read, or another thread is still at it
                and the time for this work is over.
        """
        if version is not None:
            return super().get(
                aggregate_id, version=version, projector_func=projector_func
            )
        is_skipping = fastforward_skipping or self.fastforward_skipping
        aggregate = self._get_kept(aggregate_id, projector_func, is_skipping)
        if deepcopy_from_cache and self.deepcopy_from_cache:
            return deepcopy(aggregate)
        return aggregate

    def _get_kept(self, aggregate_id: Any, project: Any, is_skipping: bool) -> Any:
        try:
            aggregate = self._kept.get(aggregate_id)
        except KeyError:
            aggregate = self._reconstruct_aggregate(aggregate_id, None, project)
            self._kept.keep(aggregate_id, aggregate)
            return aggregate
        if not self.fastforward:
            return aggregate
        with self._in_turn(aggregate_id, is_skipping) as is_first:
            if is_first:
                aggregate = self._forwarded(aggregate_id, aggregate, project)
        return aggregate

    @contextmanager
    def _in_turn(self, aggregate_id: Any, is_skipping: bool) -> Iterator[bool]:
        """Wait for others that bring the aggregate up to date; or yield False."""
        lock = self._use_fastforward_lock(aggregate_id)
        try:
            left = max(seconds_left(threading.TIMEOUT_MAX), 0)
            is_first = lock.acquire(timeout=0 if is_skipping else left)
            if not is_first and not is_skipping:
                msg = (
                    f"Reading aggregate {aggregate_id}: another thread still does, and "
                    "the time for this work is over"
                )
                raise OperationalError(msg)
            try:
                yield is_first
            finally:
                if is_first:
                    lock.release()
        finally:
            self._disuse_fastforward_lock(aggregate_id)

    def _forwarded(self, aggregate_id: Any, aggregate: Any, project: Any) -> Any:
        # Another thread may have done it meanwhile.
        with suppress(KeyError):
            aggregate = self._kept.get(aggregate_id)
        events = list(
            self.event_store.get(originator_id=aggregate_id, gt=aggregate.version)
        )
        if not events:
            return aggregate
        if self.deepcopy_from_cache:
            aggregate = deepcopy(aggregate)
        aggregate = project(aggregate, events)
        if aggregate is None:
            with suppress(KeyError):
                self._kept.get(aggregate_id, evict=True)
            raise AggregateNotFoundError(aggregate_id)
        self._kept.keep(aggregate_id, aggregate)
        return aggregate


class _Newest(Cache[Any, Any]):
    """
    Of each aggregate the newest that was put into another cache.

    Args:
        cache: The library's.
        copies: Whether what is put is copied, since its owner may change it.
    """

    def __init__(self, cache: Cache[Any, Any], *, copies: bool) -> None:
        self._cache = cache
        self._copies = copies
        self._lock = threading.Lock()
        self.cache = cache.cache

    def get(self, key: Any, *, evict: bool = False) -> Any:
        return self._cache.get(key, evict=evict)

    def put(self, key: Any, value: Any) -> None:
        if value is not None:
            self.keep(key, deepcopy(value) if self._copies else value)

    def keep(self, key: Any, value: Any) -> None:
        """Put what is not changed any more, unless a newer one is there."""
        with self._lock:
            try:
                is_older = self._cache.get(key).version > value.version
            except KeyError:
                is_older = False
            if not is_older:
                self._cache.put(key, value)
