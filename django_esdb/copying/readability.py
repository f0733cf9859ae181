"""Whether an application can read what is copied as it is stored."""

from __future__ import annotations

from typing import Any

from eventsourcing.application import Application
from eventsourcing.persistence import Notification

from django_esdb.exceptions import ConfigurationError
from eventsourcing_eventstoredb.text import named_line

_STORED_WITH = ("CIPHER_TOPIC", "CIPHER_KEY", "COMPRESSOR_TOPIC")


def compare_settings(source: Application[Any], target: Application[Any]) -> None:
    """
    Compare what two applications store data with.

    Raises:
        ConfigurationError: They have different ciphers, keys or compressors.
    """
    for key in _STORED_WITH:
        if (source.env.get(key) or "") != (target.env.get(key) or ""):
            msg = (
                f"{key} is another one for the source than for EventStoreDB: events "
                "are copied as they are stored, so both need the same"
            )
            raise ConfigurationError(msg)


def check_readable(event: Notification, target: Application[Any]) -> None:
    """
    Check that what is stored can be taken apart; nothing is made of its topic.

    Raises:
        ConfigurationError: The application cannot do it.
    """
    mapper = target.mapper
    try:
        data = bytes(event.state)
        if mapper.cipher is not None:
            data = mapper.cipher.decrypt(data)
        if mapper.compressor is not None:
            data = mapper.compressor.decompress(data)
        mapper.transcoder.decode(data)
    except Exception as error:
        # Whatever ciphers, compressors and transcodings raise.
        msg = (
            "The source's first event cannot be read with the application's cipher, "
            f"compressor and transcodings: {named_line(error)}"
        )
        raise ConfigurationError(msg) from None
