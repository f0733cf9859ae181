"""Decoding JSON in fewer steps, with the same outcome."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from eventsourcing.persistence import DecimalAsStr, JSONTranscoder

from eventsourcing_eventstoredb.encoding.json_decoding import quicken


@pytest.fixture
def transcoder() -> JSONTranscoder:
    transcoder = JSONTranscoder()
    transcoder.register(DecimalAsStr())
    quicken(transcoder)
    assert type(transcoder.decoder) is not json.JSONDecoder
    return transcoder


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"a":[1,2.5,null,true,"\\u00e9"],"b":{"c":NaN}}',
        ' {"a": 1}',
        '{"a": 1}\n',
        "\t[ ] ",
        "1",
        '"text"',
    ],
)
def test_what_comes_out_is_the_same(transcoder: JSONTranscoder, text: str) -> None:
    assert repr(transcoder.decode(text.encode())) == repr(json.loads(text))


@pytest.mark.parametrize("text", ["", " ", "x", "{", '{"a":1}{', "[1,]", "1 2", " {]"])
def test_what_is_raised_is_the_same(transcoder: JSONTranscoder, text: str) -> None:
    with pytest.raises(json.JSONDecodeError) as expected:
        json.loads(text)

    with pytest.raises(json.JSONDecodeError) as raised:
        transcoder.decode(text.encode())
    assert str(raised.value) == str(expected.value)


def test_transcodings_are_applied(transcoder: JSONTranscoder) -> None:
    encoded = transcoder.encode({"price": Decimal("1.50")})

    assert transcoder.decode(encoded) == {"price": Decimal("1.50")}


def test_what_a_decoder_was_made_with_goes_on() -> None:
    transcoder = JSONTranscoder()
    transcoder.decoder = json.JSONDecoder(parse_float=Decimal, strict=False)

    quicken(transcoder)

    assert transcoder.decode(b'{"a":1.50,"b":"\n"}') == {
        "a": Decimal("1.50"),
        "b": "\n",
    }


def test_a_decoder_of_another_class_is_left_alone() -> None:
    class Own(json.JSONDecoder):
        def decode(self, s: str, *args: Any) -> Any:
            return "own"

    transcoder = JSONTranscoder()
    transcoder.decoder = Own()

    quicken(transcoder)

    assert transcoder.decode(b"{}") == "own"
