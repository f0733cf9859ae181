"""Whether what is done is done within a block of a certain kind."""

from __future__ import annotations

from types import TracebackType


class Block:
    """
    A context that is true within its block, which may be nested.

    It is called for ``with``, and costs less than a function that is a context.
    """

    __slots__ = ("_depth",)

    def __init__(self) -> None:
        self._depth = 0

    def __call__(self) -> Block:
        return self

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._depth -= 1

    def __bool__(self) -> bool:
        return self._depth > 0
