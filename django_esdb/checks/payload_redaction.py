"""The system check of the function that says what is shown of payloads."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Error
from django.utils.translation import gettext as _

from django_esdb.events.payload_redaction import redactor
from django_esdb.exceptions import ConfigurationError
from django_esdb.masking import without_credentials


def check_payload_redaction() -> Iterator[CheckMessage]:
    """It must be there, and be a function that can be called."""
    try:
        redactor()
    except ConfigurationError as error:
        yield Error(
            _("ESDB_PAYLOAD_REDACTION cannot be used: %(reason)s.")
            % {"reason": without_credentials(str(error))},
            hint=_(
                'It is like "school.events.redact", a function that gets a topic and '
                "a payload, and returns what is shown of that."
            ),
            id="django_esdb.E032",
        )
