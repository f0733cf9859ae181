"""
What this package uses of grpcio and the client libraries though it is not documented.

Each has a test that fails when it is gone, or is not needed any more.
"""

from __future__ import annotations

from typing import Any

# Names of gRPC's own threads, as Linux has them, cut off at 15 characters. Nothing
# public tells when gRPC has ended, which it does in threads of its own after the last
# channel is closed; a fork before that leaves children that hang.
GRPC_THREADS = frozenset(
    {
        "default-executo",
        "event_engine",
        "grpc_global_tim",
        "grpc_shutdown",
        "lifeguard",
        "resolver-execut",
    }
)


def take_the_last(call: Any) -> None:
    """
    Take all that gRPC has left to tell of a call that was cancelled.

    Only for the thread that iterates over the call. Where no other thread of gRPC's
    serves the call, it is kept, with all that it has received, until this is done;
    :meth:`cancel` alone ends iteration before.
    """
    # A call of another kind is served by a thread of gRPC's.
    take = getattr(call, "_consume_next_event", None)
    while take is not None and call._state.due:
        take()


def add_call_metadata(client: Any, metadata: tuple[tuple[str, str], ...]) -> None:
    """
    Have a client of a client library send more with each of its user's own calls.

    Each call takes headers from its caller, and the client gives this to all of them.
    """
    client._call_metadata = (*client._call_metadata, *metadata)
