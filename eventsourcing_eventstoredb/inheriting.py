"""
Context variables that threads take over from the code that starts them.

Tasks of asyncio have those of the code that makes them. A thread begins without any,
unless Python was told otherwise. What is said about the events of a request is to hold
for the threads that the request starts as well, so for some variables it does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, ContextVar
from functools import wraps
from types import MethodType
from typing import Any, TypeVar

T = TypeVar("T")

_inherited: set[ContextVar[Any]] = set()
_lock = threading.Lock()


def inherit(variable: ContextVar[Any]) -> None:
    """
    Have threads begin with the value that a variable has where they are started.

    Holds for ``threading.Thread`` and its subclasses, and for each call that is given
    to a ``ThreadPoolExecutor``, also by an event loop's ``run_in_executor``: threads of
    such a pool have no value of their own. A thread that is made with a ``context``
    (from Python 3.14 on) has that one's. Idempotent; threads that run are left alone.

    Args:
        variable: Has a default.
    """
    if variable in _inherited:
        return
    with _lock:
        if variable in _inherited:
            return
        default = Context().run(variable.get)
        _start_with(variable, default)
        _submit_with(variable, default)
        _inherited.add(variable)


def without_inheriting(call: Callable[..., T], *args: Any) -> T:
    """
    Call a function that starts threads which work for all, and so inherit nothing.

    Otherwise they would also keep alive what the values refer to, such as a request.
    """
    return Context().run(call, *args)


class _Inside:
    """A call in which a variable has a value that it has not afterwards."""

    def __init__(
        self, variable: ContextVar[Any], value: Any, function: Callable[..., Any]
    ) -> None:
        self._variable = variable
        self._value = value
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        token = self._variable.set(self._value)
        try:
            return self._function(*args, **kwargs)
        finally:
            self._variable.reset(token)


def _start_with(variable: ContextVar[Any], default: Any) -> None:
    start = threading.Thread.start

    @wraps(start)
    def start_with_value(self: threading.Thread) -> None:
        value = variable.get()
        if value is not default and getattr(self, "_context", None) is None:
            run = self.run

            def run_with_value(self: threading.Thread) -> None:
                variable.set(value)
                try:
                    run()
                finally:
                    # It refers to the thread that it belongs to.
                    vars(self).pop("run", None)

            # A method, as others expect it who do the same.
            self.run = MethodType(run_with_value, self)  # type: ignore[method-assign]
        start(self)

    threading.Thread.start = start_with_value  # type: ignore[method-assign]


def _submit_with(variable: ContextVar[Any], default: Any) -> None:
    submit: Callable[..., Future[Any]] = ThreadPoolExecutor.submit

    @wraps(submit)
    def submit_with_value(
        self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        value = variable.get()
        if value is default:
            return submit(self, fn, *args, **kwargs)
        # A thread that is started for this call works for others afterwards.
        token = variable.set(default)
        try:
            return submit(self, _Inside(variable, value, fn), *args, **kwargs)
        finally:
            variable.reset(token)

    executor_class: Any = ThreadPoolExecutor
    executor_class.submit = submit_with_value
