"""
Taking many requests of one call without a change of threads for each.

grpcio's server wakes the thread of the call for each request, and gets the next one
when that thread asks for it. Here the polling thread hands a request over and gets the
next one itself.

That needs private parts of grpcio (:mod:`.private`). Where they are not as expected,
requests are to be taken the public way, only slower.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from eventsourcing_eventstoredb.server.services import private

logger = logging.getLogger(__name__)


def can_receive(requests: Iterator[Any]) -> bool:
    """Tell whether a :class:`Receiver` can take these."""
    return private.HAS_INTERNALS and isinstance(requests, private.RequestIterator)


class Receiver:
    """
    Takes the requests of one call, which no other thread may take meanwhile.

    Args:
        requests: What grpcio has.
        take: Gets each request with its bytes, in their order, and None when no more
            will come; returns whether to continue, never after that. Called by grpcio's
            polling thread, so it must neither block nor raise.
    """

    def __init__(
        self, requests: Iterator[Any], take: Callable[[Any, int], bool]
    ) -> None:
        taken: Any = requests
        self._state, self._call = taken._state, taken._call
        self._parse = taken._request_deserializer
        self._take = take

    def start(self) -> None:
        """Continue: at first, and after each time that *take* has returned False."""
        with self._state.condition:
            has_begun = self._begin()
            if has_begun:
                # As long as the token is due grpcio keeps the call's state.
                self._state.due.add(private.RECEIVE_TOKEN)
        if not has_begun:
            self._take(None, 0)

    def _begin(self) -> bool:
        if not private.is_active(self._state):
            return False
        try:
            self._call.start_server_batch(
                (private.ReceiveMessage(0),), self._on_received
            )
        except Exception:
            logger.exception("grpcio refuses to receive.")
            return False
        return True

    def _on_received(self, event: Any) -> Any:
        # In grpcio's polling thread. Must not raise: that would end the server.
        serialized = private.serialized_request(event)
        request = None if serialized is None else self._parsed(serialized)
        with self._state.condition:
            if request is None and self._state.client is private.OPEN:
                self._state.client = private.CLOSED
            # Within: once it is told not to continue, it may be started by any thread.
            if self._take(request, len(serialized or b"")):
                if self._begin():
                    return None, ()
                self._take(None, 0)
            return private.possibly_finish_call(self._state, private.RECEIVE_TOKEN)

    def _parsed(self, serialized: bytes) -> Any:
        try:
            return self._parse(serialized)
        except Exception:
            logger.exception("A call failed unexpectedly.")
            return None
