"""What can be entered on the pages, and what is wrong with it."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from eventsourcing_eventstoredb.text import DIRECTION_CHARACTERS

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

# The column of the read model that names go to; tricks keep to the same.
MAX_LENGTH = 255

# Controls, halves of surrogate pairs, and breaks of lines and paragraphs.
# Format characters are let through, since emoji and some scripts are made with them,
# but for those that change the direction of writing: a name could look like another.
_REFUSED_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")
_VISIBLE_CATEGORIES = ("L", "M", "N", "P", "S")


def validate_one_line(value: str) -> None:
    """Raise ValidationError for text that is not one line that can be read."""
    for character in value:
        if (
            unicodedata.category(character) in _REFUSED_CATEGORIES
            or character in DIRECTION_CHARACTERS
        ):
            raise ValidationError(
                _("This contains a control character (U+%(code)s). Leave it out."),
                code="control_character",
                params={"code": f"{ord(character):04X}"},
            )
    if not any(unicodedata.category(c)[0] in _VISIBLE_CATEGORIES for c in value):
        raise ValidationError(
            _("This contains nothing that can be seen. Write at least one letter."),
            code="invisible",
        )


class _LineField(forms.CharField):
    default_validators = [validate_one_line]

    def __init__(
        self, *, label: StrPromise, missing: StrPromise, help_text: StrPromise
    ) -> None:
        super().__init__(
            label=label,
            help_text=help_text,
            max_length=MAX_LENGTH,
            error_messages={
                "required": missing,
                "max_length": _(
                    "This is too long: %(show_value)d characters, and at most "
                    "%(limit_value)d are possible."
                ),
            },
            widget=forms.TextInput(attrs={"autocomplete": "off"}),
        )

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        # With maxlength a browser would silently cut what is pasted.
        return {}


class RegisterForm(forms.Form):
    """Registers a dog."""

    name = _LineField(
        label=_("Name"),
        missing=_("Enter the dog's name."),
        help_text=_("There can be one dog of each name."),
    )


class TrickForm(forms.Form):
    """Adds a trick to those that a dog knows."""

    trick = _LineField(
        label=_("Trick"),
        missing=_("Enter the trick that the dog has learned."),
        help_text=_("For example: roll over."),
    )
