"""Calls by several threads at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from django.db import connections

T = TypeVar("T")


def at_once(call: Callable[[int], T], threads: int) -> list[T]:
    """
    Call a function in threads that begin together; return what it has, in their order.

    Args:
        call: Gets the thread's number, from 0 on. Its error is raised here.
        threads: How many.
    """
    start = Barrier(threads)

    def run(number: int) -> T:
        start.wait(30)
        try:
            return call(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))
