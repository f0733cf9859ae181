"""
What the server answers when it cannot do what a client asks.

`ProtocolError` is an answer: status code, text and trailers are EventStoreDB's own,
since clients tell errors apart by them. Only the servicers turn it into a gRPC status.
"""

from __future__ import annotations

from urllib.parse import quote

# Everything that may stand in a gRPC trailer unescaped.
_TRAILER_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")


class ProtocolError(Exception):
    """
    An answer other than OK.

    Args:
        code: Name of the gRPC status code.
        details: Text of the status.
        trailers: Trailing metadata; values outside printable ASCII are
            percent-encoded, since gRPC cannot carry them.
    """

    def __init__(self, code: str, details: str, **trailers: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.trailers = tuple(
            (key.replace("_", "-"), quote(value, safe=_TRAILER_SAFE + " %"))
            for key, value in trailers.items()
        )


class StreamDeletedError(ProtocolError):
    """The stream has a tombstone, or was deleted and is expected to exist."""

    def __init__(self, stream: str) -> None:
        super().__init__(
            "FAILED_PRECONDITION",
            f"Event stream '{stream}' is deleted.",
            exception="stream-deleted",
            stream_name=stream,
        )
        self.stream = stream


class WrongExpectedVersionError(ProtocolError):
    """
    The stream is not where the writer believes it to be.

    Attributes:
        expected: What was expected: a number, or one of the negative codes.
        current: Number of the stream's last event, -1 when there is none.
    """

    def __init__(self, stream: str, expected: int, current: int) -> None:
        super().__init__(
            "FAILED_PRECONDITION",
            # "Delete" also for tombstones; appends answer in their own messages.
            f"Delete failed due to WrongExpectedVersion. Stream: {stream},"
            f" Expected version: {expected}, Actual version: {current}",
            exception="wrong-expected-version",
            stream_name=stream,
            expected_version=str(expected),
            actual_version=str(current),
        )
        self.expected = expected
        self.current = current


class MaximumAppendSizeError(ProtocolError):
    """The events of one append are too large together."""

    def __init__(self, maximum_bytes: int) -> None:
        super().__init__(
            "INVALID_ARGUMENT",
            f"Maximum Append Size of {maximum_bytes} Exceeded.",
            exception="maximum-append-size-exceeded",
            maximum_append_size=str(maximum_bytes),
        )
        self.maximum_bytes = maximum_bytes


class MissingMetadataError(ProtocolError):
    """A proposed event lacks a key that its metadata must have."""

    def __init__(self, key: str) -> None:
        super().__init__(
            "INVALID_ARGUMENT",
            f"Required Metadata Property '{key}' is missing",
            exception="missing-required-metadata-property",
            required_metadata_properties="type,content-type",
        )


class InvalidArgumentError(ProtocolError):
    """A field has a value, or lacks one, that makes no request."""

    def __init__(self, details: str) -> None:
        super().__init__("INVALID_ARGUMENT", details)


class UnsetChoiceError(InvalidArgumentError):
    """
    None of the alternatives of a field is set.

    Args:
        field: The name that EventStoreDB gives to the field.
        found: What it says to be in its place.
    """

    def __init__(self, field: str, found: str = "None") -> None:
        super().__init__(f"'{found}' is not a valid EventStore.Client.{field}")


class ReadFailedError(ProtocolError):
    """A read cannot begin where the client wants it to."""

    def __init__(self, result: str) -> None:
        super().__init__("UNKNOWN", f"Unexpected {result}: Error")


class NotReadyError(ProtocolError):
    """The server stops."""

    def __init__(self) -> None:
        super().__init__("UNAVAILABLE", "Server Is Not Ready")


class StorageError(ProtocolError):
    """The database refuses to read or to write, for example as the disk is full."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            "INTERNAL",
            f"The server's storage failed: {reason}. Nothing of this was written.",
        )


class HandlerError(ProtocolError):
    """
    A request at which the real server's code fails.

    Args:
        reason: Why, as the real server puts it; batch appends pass it on.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("UNKNOWN", "Exception was thrown by handler.")
        self.reason = reason
