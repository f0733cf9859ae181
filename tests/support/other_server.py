"""
A server that differs from the embedded one as KurrentDB 26.1 does from 23.10.

``python -m tests.support.other_server`` takes the embedded server's options. It takes
larger appends, tells subscriptions how far they are at other moments and with fields
that 23.10 does not have, and refuses positions at which no event begins in another way
and later. So tests that run with it lean on nothing of these.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final

from eventsourcing_eventstoredb.server import cli, embedded
from eventsourcing_eventstoredb.server.engine.subscriptions import (
    AllSubscription,
    Checkpoint,
    Item,
    Sign,
)
from eventsourcing_eventstoredb.server.errors import HandlerError, InvalidArgumentError
from eventsourcing_eventstoredb.server.services import streams
from eventsourcing_eventstoredb.server.services.messages import streams as messages
from eventsourcing_eventstoredb.server.services.requests import ReadRequest

_MAX_APPEND_BYTES: Final = 16 * 1024 * 1024
# With a time and a position, in fields that 23.10's messages do not have.
_CAUGHT_UP: Final = messages.ReadResp.FromString(b"\x42\x05\x78\x2a\x80\x01\x2a")


class _Streams(streams.Streams):
    """Answers subscriptions as 26.1 does."""

    def _encode_item(self, read: ReadRequest, item: Item, is_live: bool) -> Any:
        if item is Sign.CAUGHT_UP:
            return _CAUGHT_UP
        return super()._encode_item(read, item, is_live)


class _AllSubscription(AllSubscription):
    """Tells a checkpoint before the edge, and refuses positions when it has begun."""

    def __iter__(self) -> Iterator[list[Item]]:
        try:
            position = self._first_position()
        except HandlerError as error:
            yield [Sign.CONFIRMED]
            msg = "Trying to read from an invalid position."
            raise InvalidArgumentError(msg) from error
        yield [Sign.CONFIRMED]
        if self._filter is not None and position == 0:
            yield [Checkpoint(0, 0)]
        catch_up = self._scan if self._filter is None else self._scan_windows
        for page, following in catch_up(position):
            position = following
            yield page
        reached = max(0, position - 1)
        if self._filter is not None and self._log.is_record(reached):
            yield [Checkpoint(reached, reached)]
        yield [Sign.CAUGHT_UP]
        yield from self._follow(position)


def main() -> int:
    """Run it as the arguments say."""
    # Both are looked up when the server starts, or is subscribed to.
    vars(embedded)["Streams"] = _Streams
    vars(streams)["AllSubscription"] = _AllSubscription
    return cli.main(["--max-append-size", str(_MAX_APPEND_BYTES), *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
