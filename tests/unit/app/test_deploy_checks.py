"""What ``manage.py check --deploy`` warns about, and what it lets pass."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.checks import run_checks

from django_esdb.checks.deployment import check_deployment
from django_esdb.debug import SafeExceptionReporterFilter
from example_project.training_school.application import TrainingSchool

SECRET = "s3cret-w0rd"
SECURE = "esdb://store.example:2113"
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
OURS = "django_esdb.debug.SafeExceptionReporterFilter"


class Endless:
    """A compressor that makes what it is given to, however much that is."""

    def compress(self, data: bytes) -> bytes:
        return data

    def decompress(self, data: bytes) -> bytes:
        return data * 1000


class Bounded(Endless):
    """One that stops where it is told to."""

    def decompress(self, data: bytes, max_length: int = 0) -> bytes:
        return data[:max_length]


endless = Endless()


class OwnFilter(SafeExceptionReporterFilter):
    """A project's own, derived from the app's."""


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVENTSTOREDB_URI", raising=False)


def warned(settings: Any, uri: str | None, **others: Any) -> list[str]:
    """Return the numbers of the warnings, having looked at their texts."""
    settings.ESDB_URI = uri
    for name, value in others.items():
        setattr(settings, name, value)
    messages = check_deployment()
    for message in messages:
        assert SECRET not in str(message)
        assert message.hint
    return sorted(re.sub(r"django_esdb\.", "", str(each.id)) for each in messages)


CREDENTIALS = {"ESDB_USERNAME": "school", "ESDB_PASSWORD": SECRET}


@pytest.mark.parametrize(
    "uri",
    [
        SECURE,
        "esdb+discover://store.example?NodePreference=follower",
        "esdb://one,two?NodePreference=leader&MaxDiscoverAttempts=3&GossipTimeout=5",
        f"{SECURE}?TlsVerifyCert=true&DefaultDeadline=30&KeepAliveInterval=10000",
        "esdb://localhost:2113",
    ],
)
def test_nothing_is_said_about_what_is_well(settings: Any, uri: str) -> None:
    assert warned(settings, uri, **CREDENTIALS) == []


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("esdb://store.example?Tls=false", ["W003"]),
        ("esdb://10.0.0.7:2113?tls=False", ["W003"]),
        ("esdb://localhost.example?Tls=false", ["W003"]),
        ("esdb://0.0.0.0?Tls=false", ["W003"]),
        ("esdb://localhost,10.0.0.7?Tls=false", ["W003"]),
        ("esdb://localhost:2113?Tls=false", ["W004"]),
        ("esdb://127.0.0.2?Tls=false", ["W004"]),
        ("esdb://[::1]:2113?Tls=false", ["W004"]),
        ("esdb://LOCALHOST,127.0.0.1:2114?Tls=false", ["W004"]),
    ],
)
def test_no_tls_is_warned_about(settings: Any, uri: str, expected: list[str]) -> None:
    assert warned(settings, uri) == expected


def test_a_password_in_the_address_is_warned_about(settings: Any) -> None:
    uri = f"esdb://school:{SECRET}@store.example"

    assert warned(settings, uri) == ["W005"]
    assert warned(settings, uri, DEFAULT_EXCEPTION_REPORTER_FILTER="no.such") == [
        "W005"
    ]
    for hiding in (OURS, f"{__name__}.OwnFilter"):
        assert warned(settings, uri, DEFAULT_EXCEPTION_REPORTER_FILTER=hiding) == []


@pytest.mark.parametrize("name", ["Endless", "endless"])
def test_a_compressor_that_cannot_be_stopped_is_warned_about(
    settings: Any, name: str
) -> None:
    own = {"COMPRESSOR_TOPIC": f"{__name__}:{name}"}
    for_one = {"TRAININGSCHOOL_COMPRESSOR_TOPIC": f"{__name__}:{name}"}

    for env in (own, for_one):
        assert warned(settings, SECURE, **CREDENTIALS, ESDB_ENV=env) == ["W012"]
    (message,) = check_deployment()
    assert f"{__name__}:{name}" in message.msg


@pytest.mark.parametrize(
    "topic",
    [
        *("zlib", "gzip", "bz2", "lzma", "eventsourcing.compressor:ZlibCompressor"),
        f"{__name__}:Bounded",
        "no.such:Compressor",
        "os",
    ],
)
def test_other_compressors_are_none_of_this_checks(settings: Any, topic: str) -> None:
    env = {"COMPRESSOR_TOPIC": topic}

    assert warned(settings, SECURE, **CREDENTIALS, ESDB_ENV=env) == []


def test_a_password_in_an_address_for_one_application_is_warned_about(
    settings: Any,
) -> None:
    settings.ESDB_ENV = {
        "TRAININGSCHOOL_EVENTSTOREDB_URI": f"esdb://school:{SECRET}@store.example"
    }

    assert warned(settings, SECURE) == ["W005"]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (f"{SECURE}?TlsVerifyCert=false", ["W006"]),
        (f"{SECURE}?tlsverifycert=FALSE", ["W006"]),
        (f"{SECURE}?NodePreference=follower", ["W008"]),
        (f"{SECURE}?DiscoveryInterval=5&MaxDiscoverAttempts=5", ["W008"]),
        (f"{SECURE}?DefaultDeadline=10000", ["W009"]),
        (f"{SECURE}?DefaultDeadline=0", ["W009"]),
        (f"{SECURE}?KeepAliveInterval=10", ["W009"]),
        (f"{SECURE}?KeepAliveTimeout=10", ["W009"]),
    ],
)
def test_traps_of_the_connection_string_are_warned_about(
    settings: Any, uri: str, expected: list[str]
) -> None:
    assert warned(settings, uri, **CREDENTIALS) == expected


def test_what_needs_tls_is_warned_about_without_it(settings: Any) -> None:
    uri = "esdb://store.example?Tls=false"

    assert warned(settings, uri, **CREDENTIALS) == ["W003", "W007"]
    settings.ESDB_USERNAME = settings.ESDB_PASSWORD = None
    assert warned(settings, f"{uri}&UserKeyFile=x") == ["W003", "W007"]
    assert warned(settings, uri, ESDB_ROOT_CERTIFICATES=PEM) == ["W003", "W007"]
    [message] = [each for each in check_deployment() if each.id == "django_esdb.W007"]
    assert message.msg.endswith("these are not used: the root certificates.")
    assert warned(settings, SECURE, **CREDENTIALS, ESDB_ROOT_CERTIFICATES=PEM) == []


def test_the_password_of_an_installation_is_warned_about(settings: Any) -> None:
    assert warned(
        settings, SECURE, ESDB_USERNAME="admin", ESDB_PASSWORD="changeit"
    ) == ["W010"]
    assert "changeit" not in str(check_deployment())


@pytest.mark.parametrize(
    ("uri", "others"),
    [
        ("nonsense", {}),
        (SECURE, {}),
        (SECURE, {"ESDB_ENV": ["list"]}),
        (SECURE, {"ESDB_TOPIC_ALLOWLIST": "text"}),
        (SECURE, {"ESDB_ENV": {"PERSISTENCE_MODULE": "eventsourcing.popo"}}),
    ],
)
def test_what_other_checks_report_is_not_repeated(
    settings: Any, uri: str, others: dict[str, Any]
) -> None:
    assert warned(settings, uri, **others) == []


def test_a_missing_address_is_an_error_here(settings: Any) -> None:
    assert warned(settings, None) == ["E001"]


def test_each_applications_own_address_is_looked_at(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{TrainingSchool.name.upper()}_EVENTSTOREDB_URI"
    monkeypatch.setenv(name, "esdb://store.example?Tls=false")

    assert warned(settings, SECURE, **CREDENTIALS) == ["W003", "W007"]


def test_they_run_only_where_a_deployment_is_checked(settings: Any) -> None:
    settings.ESDB_URI = "esdb://store.example?Tls=false"

    def ids(*, deploy: bool) -> set[str | None]:
        found = run_checks(tags=["django_esdb"], include_deployment_checks=deploy)
        return {each.id for each in found}

    assert ids(deploy=False) == set()
    assert ids(deploy=True) == {"django_esdb.W003"}
