from __future__ import annotations

import json
import zlib
from decimal import Decimal
from uuid import uuid4

import pytest
from eventsourcing.persistence import (
    DatetimeAsISO,
    DecimalAsStr,
    InfrastructureFactoryError,
    JSONTranscoder,
    UUIDAsHex,
)
from hypothesis import given
from hypothesis import strategies as st

from eventsourcing_eventstoredb import EventStoreDBFactory
from eventsourcing_eventstoredb.encoding.content_types import (
    BINARY,
    JSON,
    content_type_of,
)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values, st.booleans())
def test_what_json_is_made_of_is_json(value: object, escapes: bool) -> None:
    assert content_type_of(json.dumps(value, ensure_ascii=escapes).encode()) == JSON


@given(st.binary() | st.binary().map(zlib.compress))
def test_bytes_are_json_if_they_can_be_read_as_such(data: bytes) -> None:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(data.decode(), parse_constant=refuse)
    except ValueError:
        assert content_type_of(data) == BINARY
    else:
        assert content_type_of(data) == JSON


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"a": NaN}',
        b"[-Infinity]",
        b"{'a': 1}",
        b"{} {}",
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        b'{"a": "\xff"}',
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_what_others_cannot_read_is_not_json(data: bytes) -> None:
    assert content_type_of(data) == BINARY


@pytest.mark.parametrize(
    "data", [b"{}", b" [1]\n", b'"x"', b'"\\ud800"', b"1" * 10_000, b"1e999"]
)
def test_what_others_can_read_is_json(data: bytes) -> None:
    assert content_type_of(data) == JSON


def test_what_the_librarys_transcoder_makes_is_json() -> None:
    transcoder = JSONTranscoder()
    for transcoding in (UUIDAsHex(), DecimalAsStr(), DatetimeAsISO()):
        transcoder.register(transcoding)

    encoded = transcoder.encode({"id": uuid4(), "sum": Decimal("1.10"), "name": "Bär"})

    assert content_type_of(encoded) == JSON


@pytest.mark.parametrize("text", ["json", "text/plain", "off", "Application/JSON"])
def test_another_setting_is_refused(text: str) -> None:
    env = {
        "EVENTSTOREDB_URI": "esdb://localhost?Tls=false",
        "EVENTSTOREDB_CONTENT_TYPE": text,
    }
    with pytest.raises(
        InfrastructureFactoryError,
        match=f"EVENTSTOREDB_CONTENT_TYPE is '{text}', but must be 'application/json'",
    ):
        EventStoreDBFactory(env)
