"""What people who look at events do not get to see of payloads, as a setting says."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from django_esdb.conf import settings
from django_esdb.exceptions import ConfigurationError, RedactionError
from eventsourcing_eventstoredb.functions import named_function
from eventsourcing_eventstoredb.logs import log

logger = logging.getLogger("django_esdb.admin")

Redactor = Callable[[str, Any], Any]


def redactor() -> Redactor | None:
    """
    Return the function that ESDB_PAYLOAD_REDACTION names; None if it is not set.

    Raises:
        ConfigurationError: It cannot be imported, or cannot be called for payloads.
    """
    # Settings may be anything.
    name: object = settings.ESDB_PAYLOAD_REDACTION
    if name is None:
        return None
    if not isinstance(name, str):
        msg = f"it must be a text, but is of type {type(name).__name__}"
        raise ConfigurationError(msg)
    try:
        return named_function(name)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def redacted(topic: str, payload: Any) -> Any:
    """
    Return what may be shown of a payload.

    Args:
        topic: The event's, as it is stored.
        payload: What JSON can say; the function may change it.

    Raises:
        RedactionError: It is not known what may be shown, hence nothing may be. The
            text says nothing of the payload.
    """
    try:
        function = redactor()
        if function is None:
            return payload
        # What would be shown of anything else is not what was meant.
        return json.loads(json.dumps(function(topic, payload)))
    except Exception as error:
        # Its text may repeat what is not to be shown, as that of a KeyError does.
        reason = type(error).__name__
        log(
            logger,
            logging.ERROR,
            "Payload not shown",
            setting="ESDB_PAYLOAD_REDACTION",
            error=reason,
        )
        msg = f"it is not shown, since ESDB_PAYLOAD_REDACTION has failed: {reason}"
        raise RedactionError(msg) from None
