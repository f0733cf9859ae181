from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from django.core.checks import ERROR
from django.utils.translation import gettext_lazy

from django_esdb import get_application
from django_esdb.checks.configuration import check_all
from django_esdb.checks.environment_names import LIBRARY_NAMES
from django_esdb.conf import KNOWN_SETTINGS, build_env
from django_esdb.exceptions import ConfigurationError
from example_project.training_school.application import TrainingSchool

SECRET = "s3cret-w0rd"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVENTSTOREDB_URI", raising=False)


@pytest.mark.parametrize(
    "name",
    ["ESDB_URI", "ESDB_USERNAME", "ESDB_PASSWORD", "ESDB_ROOT_CERTIFICATES"],
)
@pytest.mark.parametrize("value", [SECRET.encode(), 0, False, [], [SECRET], 1e400])
def test_what_is_no_text_is_not_made_one(settings: Any, name: str, value: Any) -> None:
    settings.ESDB_URI = "esdb://localhost?Tls=false"
    setattr(settings, name, value)

    [message] = check_all()
    assert message.id == "django_esdb.E034"
    assert (
        f"{name} must be a text, but is of type {type(value).__name__}" in message.msg
    )
    assert SECRET not in str(message)
    with pytest.raises(ConfigurationError, match=f"{name} must be a text"):
        get_application(TrainingSchool)


class Unshown:
    """Has no text."""

    def __repr__(self) -> str:
        msg = "it cannot be shown"
        raise RuntimeError(msg)


@pytest.mark.parametrize("name", sorted(KNOWN_SETTINGS))
@pytest.mark.parametrize(
    "value",
    [Unshown(), [Unshown()], {Unshown(): "a"}, {"a": Unshown()}],
    ids=["alone", "in a list", "as a key", "as a value"],
)
def test_values_that_cannot_be_shown_are_refused_all_the_same(
    settings: Any, name: str, value: Any
) -> None:
    settings.ESDB_URI = "esdb://localhost?Tls=false"
    setattr(settings, name, value)

    assert any(message.level >= ERROR for message in check_all())


def test_texts_may_be_lazy_and_certificates_a_path(
    settings: Any, tmp_path: Any
) -> None:
    settings.ESDB_URI = gettext_lazy("esdb://localhost?Tls=false")
    settings.ESDB_ROOT_CERTIFICATES = tmp_path / "ca.pem"

    assert check_all() == []
    assert build_env()["EVENTSTOREDB_URI"] == "esdb://localhost?Tls=false"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ESDB_ENV", 0),
        ("ESDB_ENV", []),
        ("ESDB_EVENT_BASES", False),
        ("ESDB_EVENT_BASES", {}),
        ("ESDB_PAYLOAD_REDACTION", 0),
        ("ESDB_PAYLOAD_REDACTION", []),
        ("ESDB_PAYLOAD_REDACTION", b"school.events.redact"),
        ("ESDB_BATCH_SIZE", 2**31),
        ("ESDB_RETRIES", 10**400),
        ("ESDB_MAX_DECOMPRESSED", 2**63),
    ],
)
def test_what_is_false_or_too_large_is_not_taken_for_unset(
    settings: Any, name: str, value: Any
) -> None:
    settings.ESDB_URI = "esdb://localhost?Tls=false"
    setattr(settings, name, value)

    [message] = check_all()
    assert message.level >= ERROR
    assert name in f"{message.msg} {message.hint}"
    assert len(message.msg) < 200


@pytest.mark.parametrize(
    "name",
    [
        "ESDB_BATCH_SIZE",
        "ESDB_LEASE_SECONDS",
        "ESDB_MAX_DECOMPRESSED",
        "ESDB_CONTENT_TYPE",
        "ESDB_EVENT_METADATA",
        "ESDB_PAYLOAD_REDACTION",
        "ESDB_ROOT_CERTIFICATES",
    ],
)
@pytest.mark.parametrize("scheme", ["esdb", "http"])
def test_an_address_in_the_wrong_setting_is_shown_without_its_password(
    settings: Any, name: str, scheme: str
) -> None:
    settings.ESDB_URI = f"esdb://a:{SECRET}@localhost"
    setattr(settings, name, f"{scheme}://admin:{SECRET}@{'h' * 5000}")

    messages = [
        message
        for message in check_all()
        if name in f"{message.msg} {message.hint}" and message.level >= ERROR
    ]
    assert messages
    for message in messages:
        assert SECRET not in str(message)
        assert len(message.msg) < 1200


def test_credentials_that_cannot_be_sent_are_said_to_be_their_settings(
    settings: Any,
) -> None:
    settings.ESDB_URI = "esdb://localhost"
    settings.ESDB_USERNAME = "ad:min"
    settings.ESDB_PASSWORD = SECRET
    [message] = check_all()
    assert message.msg.startswith("ESDB_USERNAME or ESDB_PASSWORD cannot be used:")

    settings.ESDB_URI = "esdb://localhost:x"
    [message] = check_all()
    assert message.msg.startswith("ESDB_URI cannot be used:")


@pytest.mark.parametrize(
    ("given", "variables", "env", "place"),
    [
        ("EVENTSTOREDB_URI", {}, {}, "ESDB_ENV['EVENTSTOREDB_URI']"),
        (
            "TRAININGSCHOOL_EVENTSTOREDB_URI",
            {},
            {},
            "ESDB_ENV['TRAININGSCHOOL_EVENTSTOREDB_URI']",
        ),
        ("", {"EVENTSTOREDB_URI": "esdb://h:x"}, {}, "EVENTSTOREDB_URI"),
        (
            "",
            {},
            {"EVENTSTOREDB_URI": "esdb://h:x"},
            "TrainingSchool.env['EVENTSTOREDB_URI']",
        ),
    ],
)
def test_what_cannot_be_used_is_named_where_it_is(
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    given: str,
    variables: dict[str, str],
    env: dict[str, str],
    place: str,
) -> None:
    settings.ESDB_URI = "" if given in ("", "EVENTSTOREDB_URI") else "esdb://localhost"
    settings.ESDB_ENV = {given: "esdb://h:x"} if given else {}
    monkeypatch.setattr(TrainingSchool, "env", env)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    [message] = check_all()
    assert message.msg.startswith(f"{place} cannot be used:")


def test_credentials_are_named_where_they_are(settings: Any) -> None:
    settings.ESDB_URI = "esdb://localhost"
    settings.ESDB_PASSWORD = SECRET
    settings.ESDB_ENV = {"EVENTSTOREDB_USERNAME": "ad:min"}
    [message] = check_all()
    assert message.msg.startswith(
        "ESDB_ENV['EVENTSTOREDB_USERNAME'] or ESDB_PASSWORD cannot be used:"
    )


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("COMPRESOR_TOPIC", "COMPRESSOR_TOPIC"),
        ("compressor_topic", "COMPRESSOR_TOPIC"),
        ("IS_SNAPSHOTING_ENABLED", "IS_SNAPSHOTTING_ENABLED"),
        ("EVENTSTOREDB_URL", "EVENTSTOREDB_URI"),
        ("EVENTSTOREDB_USER", "EVENTSTOREDB_USERNAME"),
        ("EventStoreDB_URI", "EVENTSTOREDB_URI"),
        ("TRAININGSCHOOL_EVENTSTOREDB_PASSWRD", "TRAININGSCHOOL_EVENTSTOREDB_PASSWORD"),
        ("TRAININGSCOOL_EVENTSTOREDB_URI", "TRAININGSCHOOL_EVENTSTOREDB_URI"),
        ("TRAININGSCHOOL_CIPHER_TOPICS", "TRAININGSCHOOL_CIPHER_TOPIC"),
        ("EVENTSTOREDB_X_Y_Z", None),
        ("COMPRESSOR_TOPIC", ""),
        ("CIPHER_KEY", ""),
        ("TRAININGSCHOOL_EVENTSTOREDB_URI", ""),
        ("SOMETHINGELSE_PERSISTENCE_MODULE", ""),
        ("MY_OWN", ""),
    ],
)
def test_misspelt_keys_of_the_environment_are_found(
    settings: Any, key: str, meant: str | None
) -> None:
    settings.ESDB_URI = "esdb://localhost?Tls=false"
    settings.ESDB_ENV = {key: SECRET}

    messages = [each for each in check_all() if each.id == "django_esdb.W014"]
    if meant == "":
        assert messages == []
        return
    [message] = messages
    assert message.msg == f"ESDB_ENV has {key!r}, which nothing reads."
    assert SECRET not in str(message)
    expected = "The names are" if meant is None else f"Did you mean {meant}?"
    assert str(message.hint).startswith(expected)


def test_misspelt_variables_of_process_and_application_are_found(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ESDB_URI = "esdb://localhost?Tls=false"
    monkeypatch.setenv("EVENTSTOREDB_USER", "admin")
    # Of a service with this name in Kubernetes.
    monkeypatch.setenv("EVENTSTOREDB_PORT", "tcp://10.0.0.1:2113")
    monkeypatch.setenv("EVENTSTOREDB_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setattr(TrainingSchool, "env", {"AGGREGATE_CACHE_MAX_SIZE": "10"})

    assert [message.msg for message in check_all()] == [
        "TrainingSchool.env has 'AGGREGATE_CACHE_MAX_SIZE', which nothing reads.",
        "The process's environment has 'EVENTSTOREDB_USER', which nothing reads.",
    ]


def test_each_name_that_the_library_reads_is_known() -> None:
    modules = [
        import_module(f"eventsourcing.{name}")
        for name in (
            "application",
            "cipher",
            "persistence",
            "popo",
            "postgres",
            "sqlite",
        )
    ]
    found = {
        value
        for module in modules
        for cls in vars(module).values()
        if isinstance(cls, type)
        for name, value in vars(cls).items()
        if name.isupper() and isinstance(value, str) and value.isupper()
    }
    assert found <= LIBRARY_NAMES


def test_settings_that_are_like_one_are_found_whatever_they_begin_with(
    settings: Any,
) -> None:
    settings.ESDB_URI = "esdb://localhost?Tls=false"
    settings.ESBD_PASSWORD = SECRET
    settings.ESDB_BATCHSIZE = 5

    first, second = check_all()
    assert (first.id, second.id) == ("django_esdb.W002", "django_esdb.W002")
    assert str(first.hint).startswith("Did you mean ESDB_PASSWORD?")
    assert str(second.hint).startswith("Did you mean ESDB_BATCH_SIZE?")
    assert SECRET not in f"{first}{second}"
