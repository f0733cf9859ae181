"""
Copies of another store's events, and what they are known by.

A copy is known by its ID, which is made from what it is: the application, the stream,
the place there, the topic and the data. So a copy that is appended again is recognised,
and one that has changed is not taken for a copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

_NAMESPACE = b"django-esdb copy"


class CopyError(Exception):
    """Something cannot be copied, or was not; the text is one line and says where."""


@dataclass(frozen=True, slots=True)
class Copy:
    """
    An event or a snapshot as it is to be in EventStoreDB.

    Attributes:
        stream: The stream's name.
        version: The version it has there.
        position: Its place in the stream; a snapshot's is its version.
        topic: Its topic.
        state: What it says, as it is stored.
        source_version: The version it has in the source.
        id: By this it is known as the copy of this very event.
    """

    stream: str
    version: int
    position: int
    topic: str
    state: bytes
    source_version: int
    id: UUID

    @property
    def size(self) -> int:
        """Bytes that it takes in an append, approximately."""
        return len(self.state) + 300

    def __str__(self) -> str:
        shifted = (
            f" (version {self.source_version} of the source)"
            if self.source_version != self.version
            else ""
        )
        return f"version {self.version}{shifted} of stream {self.stream!r}"


def copy_id(
    application: str, stream: str, position: int, topic: str, state: bytes
) -> UUID:
    """Return the ID of the copy of an event."""
    digest = sha256()
    for part in (
        _NAMESPACE,
        application.encode(),
        # Half of a surrogate pair, too, is told apart.
        stream.encode("utf-8", "surrogatepass"),
        b"%d" % position,
        topic.encode("utf-8", "surrogatepass"),
        state,
    ):
        # With lengths, so that nothing can move from one part to the next.
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return UUID(bytes=digest.digest()[:16], version=5)
