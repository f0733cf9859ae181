"""Decoding the JSON of events, of which a catch-up has many small ones."""

from __future__ import annotations

import json
from typing import Any

from eventsourcing.persistence import JSONTranscoder, Transcoder


def quicken(transcoder: Transcoder) -> None:
    """
    Have a transcoder decode in fewer steps, if it has Python's own decoder.

    What comes out, and what is raised, is the same.
    """
    decoder = getattr(transcoder, "decoder", None)
    # A subclass may do something else.
    if isinstance(transcoder, JSONTranscoder) and type(decoder) is json.JSONDecoder:
        transcoder.decoder = _QuickDecoder(
            object_hook=decoder.object_hook,
            parse_float=decoder.parse_float,
            parse_int=decoder.parse_int,
            parse_constant=decoder.parse_constant,
            strict=decoder.strict,
            object_pairs_hook=decoder.object_pairs_hook,
        )


class _QuickDecoder(json.JSONDecoder):
    """A decoder that looks for white space around a value only if there is some."""

    def decode(self, s: str, *args: Any) -> Any:
        """Return what a text says; raises JSONDecodeError if it is no JSON."""
        try:
            value, end = self.scan_once(s, 0)  # type: ignore[attr-defined]
        except StopIteration:
            # It begins with white space, or with what is no JSON.
            return super().decode(s, *args)
        return value if end == len(s) else super().decode(s, *args)
