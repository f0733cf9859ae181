"""What is decompressed is bounded, however small it was."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
import zlib
from typing import Any

import pytest
from eventsourcing.compressor import ZlibCompressor
from eventsourcing.persistence import Compressor, InfrastructureFactoryError
from hypothesis import given
from hypothesis import strategies as st

from eventsourcing_eventstoredb import EventStoreDBFactory
from eventsourcing_eventstoredb.encoding.compression import (
    DEFAULT_LIMIT,
    DecompressedSizeError,
    LimitedCompressor,
    limited,
)


class Own(Compressor):
    """A compressor that says that it can be bounded."""

    def compress(self, data: bytes) -> bytes:
        return zlib.compress(data)

    def decompress(self, data: bytes, max_length: int = 0) -> bytes:
        return zlib.decompressobj().decompress(data, max_length)


class Unbounded(Compressor):
    def compress(self, data: bytes) -> bytes:
        return data[:1]

    def decompress(self, data: bytes) -> bytes:
        return data * 1000


COMPRESSORS = [zlib, gzip, bz2, lzma, ZlibCompressor(), Own()]
NAMES = ["zlib", "gzip", "bz2", "lzma", "library", "own"]


@pytest.mark.parametrize("compressor", COMPRESSORS, ids=NAMES)
def test_a_bomb_is_not_unpacked(compressor: Any) -> None:
    bomb = compressor.compress(bytes(50_000_000))
    small = LimitedCompressor(compressor, 1000)
    tracemalloc.start()
    try:
        with pytest.raises(DecompressedSizeError, match="larger than 1000 bytes"):
            small.decompress(bomb)
        # lzma's dictionary of 8 MiB is not among it.
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@given(st.sampled_from(COMPRESSORS), st.binary(max_size=50), st.integers(1, 50))
def test_data_come_back_or_are_refused(
    compressor: Any, data: bytes, limit: int
) -> None:
    bounded = LimitedCompressor(compressor, limit)

    if len(data) <= limit:
        assert bounded.decompress(bounded.compress(data)) == data
    else:
        for act, given_data in (
            (bounded.compress, data),
            (bounded.decompress, compressor.compress(data)),
        ):
            with pytest.raises(DecompressedSizeError):
                act(given_data)


@pytest.mark.parametrize("compressor", [gzip, bz2, lzma], ids=NAMES[1:4])
def test_several_streams_are_one_text(compressor: Any) -> None:
    data = compressor.compress(b"ab") + compressor.compress(b"cd")

    assert LimitedCompressor(compressor, 4).decompress(data) == b"abcd"
    with pytest.raises(DecompressedSizeError):
        LimitedCompressor(compressor, 3).decompress(data)


@pytest.mark.parametrize("compressor", COMPRESSORS[:5], ids=NAMES[:5])
def test_what_is_cut_off_is_an_error(compressor: Any) -> None:
    data = compressor.compress(bytes(range(200)))

    with pytest.raises(ValueError, match="incomplete"):
        LimitedCompressor(compressor, 1000).decompress(data[:-9])


def test_lzma_gets_no_more_memory_than_its_presets_need() -> None:
    bounded = LimitedCompressor(lzma, 1000)
    assert bounded.decompress(lzma.compress(b"x", preset=9)) == b"x"

    bomb = bytearray(lzma.compress(b"x", lzma.FORMAT_ALONE))
    bomb[1:5] = (1 << 30).to_bytes(4, "little")  # the dictionary's size
    with pytest.raises(lzma.LZMAError):
        bounded.decompress(bytes(bomb))


def test_what_cannot_be_bounded_is_refused_afterwards() -> None:
    with pytest.raises(DecompressedSizeError):
        LimitedCompressor(Unbounded(), 1000).decompress(b"ab")


@pytest.mark.parametrize(
    "topic", ["zlib", "lzma", "eventsourcing.compressor:ZlibCompressor"]
)
def test_the_factory_limits_what_is_configured(topic: str) -> None:
    env = {"EVENTSTOREDB_URI": "esdb://localhost?Tls=false", "COMPRESSOR_TOPIC": topic}
    first, second = (
        EventStoreDBFactory({**env, **more}).mapper().inner.compressor
        for more in ({}, {"EVENTSTOREDB_MAX_DECOMPRESSED": "10"})
    )

    assert isinstance(first, LimitedCompressor)
    assert isinstance(second, LimitedCompressor)
    assert (first.limit, second.limit) == (DEFAULT_LIMIT, 10)
    assert limited(first, 5) is first


@pytest.mark.parametrize("text", ["0", "-1", "1M", "²"])
def test_a_limit_that_is_none_is_an_error(text: str) -> None:
    env = {"EVENTSTOREDB_URI": "esdb://localhost?Tls=false"}
    with pytest.raises(InfrastructureFactoryError, match="must be a number of bytes"):
        EventStoreDBFactory({**env, "EVENTSTOREDB_MAX_DECOMPRESSED": text})
