from __future__ import annotations

import pytest

from example_project.training_school.forms import RegisterForm, TrickForm


@pytest.mark.parametrize(
    "name",
    [
        "Rex",
        "x" * 255,
        "犬" * 255,
        "O'Malley",
        "a/b?c#d&e%20",
        "<script>alert(1)</script>",
        "Zoë Müller-Straße",
        "👩‍👩‍👧",
        "שָׁלוֹם",
        "-",
        "None",
    ],
)
def test_names_of_any_script_are_taken_as_they_are(name):
    form = RegisterForm({"name": name})

    assert form.is_valid(), form.errors
    assert form.cleaned_data["name"] == name


def test_space_around_a_name_is_dropped():
    form = RegisterForm({"name": " \tRex\n"})

    assert form.is_valid()
    assert form.cleaned_data["name"] == "Rex"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", "Enter the dog's name."),
        (" \t ", "Enter the dog's name."),
        (
            "x" * 256,
            "This is too long: 256 characters, and at most 255 are possible.",
        ),
        ("Re\x00x", "Null characters are not allowed."),
        ("Re\nx", "This contains a control character (U+000A). Leave it out."),
        ("Re\x9bx", "This contains a control character (U+009B). Leave it out."),
        ("Re\u2028x", "This contains a control character (U+2028). Leave it out."),
        *(
            (f"Re{char}x", f"This contains a control character (U+{ord(char):04X}).")
            for char in "\u061c\u200e\u200f\u202a\u202e\u2066\u2069"
        ),
        ("\u200b\u200d", "This contains nothing that can be seen."),
    ],
)
def test_a_name_that_cannot_be_is_explained(name, error):
    form = RegisterForm({"name": name})

    assert not form.is_valid()
    assert any(line.startswith(error) for line in form.errors["name"])


def test_a_trick_is_held_to_the_same():
    assert TrickForm({"trick": "roll over"}).is_valid()
    assert TrickForm({"trick": ""}).errors["trick"] == [
        "Enter the trick that the dog has learned."
    ]
    assert "too long" in TrickForm({"trick": "x" * 256}).errors["trick"][0]


def test_a_browser_is_not_told_to_cut_long_names_silently():
    assert "maxlength" not in str(RegisterForm()["name"])
