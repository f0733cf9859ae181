"""
A limit for what compressed data become.

Who may write to the store decides what the data of an event are: a megabyte that zlib
made of nothing but zeros becomes a gigabyte. So data are decompressed piece by piece,
up to a limit.
"""

from __future__ import annotations

import bz2
import gzip
import inspect
import lzma
import zlib
from collections.abc import Callable
from typing import Any

from eventsourcing.compressor import ZlibCompressor
from eventsourcing.persistence import Compressor

# Far more than EventStoreDB takes in one event without a compressor: 1 MiB.
DEFAULT_LIMIT = 16 * 1024 * 1024

# What decompressing takes itself: 65 MiB for what lzma's highest preset has made.
_LZMA_MEMORY = 128 * 1024 * 1024


class DecompressedSizeError(ValueError):
    """An event's data are larger than they may be."""


class LimitedCompressor(Compressor):
    """
    A compressor that makes and takes data of bounded size.

    Args:
        inner: What compresses. The standard library's modules and what uses them as
            the library's ``ZlibCompressor`` does, and those whose ``decompress`` takes
            ``max_length``, are stopped when there is too much; of another one what it
            returns is looked at.
        limit: Most bytes, decompressed.
    """

    def __init__(self, inner: Any, limit: int) -> None:
        self.inner = inner
        self.limit = limit
        self._decompress = _bounded(inner) or _unbounded(inner)

    def compress(self, data: bytes) -> bytes:
        """
        Compress data.

        Raises:
            DecompressedSizeError: It could not be read again.
        """
        if len(data) > self.limit:
            raise self._too_large()
        compressed: bytes = self.inner.compress(data)
        return compressed

    def decompress(self, data: bytes) -> bytes:
        """
        Decompress data.

        Raises:
            DecompressedSizeError: They are too large.
        """
        # One more tells data of just this size from larger ones.
        decompressed = self._decompress(data, self.limit + 1)
        if len(decompressed) > self.limit:
            raise self._too_large()
        return decompressed

    def _too_large(self) -> DecompressedSizeError:
        return DecompressedSizeError(
            f"the data of the event are larger than {self.limit} bytes when "
            "decompressed; if they are meant to be, raise ESDB_MAX_DECOMPRESSED "
            "(or EVENTSTOREDB_MAX_DECOMPRESSED)"
        )


def limited(compressor: Any, limit: int) -> LimitedCompressor | None:
    """Return a compressor, unless it is none or limited already, with a limit."""
    if compressor is None or isinstance(compressor, LimitedCompressor):
        return compressor
    return LimitedCompressor(compressor, limit)


def is_bounded(compressor: Any) -> bool:
    """Return whether decompressing stops when there is too much, not afterwards."""
    return _bounded(compressor) is not None


def parse_limit(text: str) -> int:
    """
    Return the number of bytes that a text says.

    Raises:
        ValueError: It says none.
    """
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        msg = "must be a number of bytes from 1 on"
        raise ValueError(msg)
    return int(text)


def _bounded(compressor: Any) -> Callable[[bytes, int], bytes] | None:
    """Return a function that decompresses up to so many bytes; None if none can."""
    function = getattr(compressor.decompress, "__func__", compressor.decompress)
    if function in (zlib.decompress, ZlibCompressor.decompress):
        return _zlib
    if function is gzip.decompress:
        return _gzip
    if function is bz2.decompress:
        return _bz2
    if function is lzma.decompress:
        return _lzma
    if _takes_max_length(compressor.decompress):
        return lambda data, most: compressor.decompress(data, max_length=most)
    return None


def _unbounded(compressor: Any) -> Callable[[bytes, int], bytes]:
    return lambda data, most: compressor.decompress(data)


def _takes_max_length(function: Callable[..., bytes]) -> bool:
    try:
        return "max_length" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _zlib(data: bytes, most: int) -> bytes:
    return _members(data, most, zlib.decompressobj, is_one=True)


def _gzip(data: bytes, most: int) -> bytes:
    return _members(data, most, lambda: zlib.decompressobj(wbits=31))


def _bz2(data: bytes, most: int) -> bytes:
    return _members(data, most, bz2.BZ2Decompressor)


def _lzma(data: bytes, most: int) -> bytes:
    return _members(data, most, lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY))


def _members(
    data: bytes, most: int, begin: Callable[[], Any], *, is_one: bool = False
) -> bytes:
    """Decompress streams that stand one behind the other, up to so many bytes."""
    parts: list[bytes] = []
    while True:
        decompressor = begin()
        parts.append(decompressor.decompress(data, most))
        most -= len(parts[-1])
        if most <= 0:
            break
        if not decompressor.eof:
            msg = "compressed data are incomplete"
            raise ValueError(msg)
        data = decompressor.unused_data.lstrip(b"\0")
        if is_one or not data:
            break
    return b"".join(parts)
