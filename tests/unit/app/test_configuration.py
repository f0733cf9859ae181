from __future__ import annotations

from typing import Any

import pytest
from eventsourcing.application import Application
from eventsourcing.persistence import InfrastructureFactoryError
from eventsourcing.popo import POPOApplicationRecorder

from django_esdb import get_application
from django_esdb.applications.shared import close_applications
from django_esdb.checks.configuration import check_all
from django_esdb.conf import application_environment, build_env, settings
from django_esdb.exceptions import ConfigurationError
from django_esdb.registry import registry
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog

SECRET = "s3cret-w0rd"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("EVENTSTOREDB_URI", raising=False)
    yield
    close_applications()


def ids() -> list[str]:
    return [str(message.id) for message in check_all()]


def test_settings_are_read_live(settings: Any) -> None:
    from django_esdb.conf import settings as live

    settings.ESDB_URI = "esdb://one?Tls=false"
    assert live.ESDB_URI == "esdb://one?Tls=false"
    settings.ESDB_URI = "esdb://two?Tls=false"
    assert live.ESDB_URI == "esdb://two?Tls=false"


def test_setting_goes_before_the_environment(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTSTOREDB_URI", "esdb://environment?Tls=false")

    def uri() -> str | None:
        return application_environment(TrainingSchool).get("EVENTSTOREDB_URI")

    assert uri() == "esdb://environment?Tls=false"
    settings.ESDB_URI = "esdb://setting?Tls=false"
    assert uri() == "esdb://setting?Tls=false"
    settings.ESDB_ENV = {"EVENTSTOREDB_URI": "esdb://env?Tls=false"}
    assert uri() == "esdb://env?Tls=false"
    monkeypatch.setenv("TRAININGSCHOOL_EVENTSTOREDB_URI", "esdb://own?Tls=false")
    assert uri() == "esdb://own?Tls=false"


def test_everything_else_is_passed_on(settings: Any) -> None:
    settings.ESDB_ROOT_CERTIFICATES = "ca.pem"
    settings.ESDB_USERNAME = "admin"
    settings.ESDB_PASSWORD = SECRET
    settings.ESDB_CONTENT_TYPE = "application/octet-stream"
    settings.ESDB_SNAPSHOT_MAX_COUNT = 3
    settings.ESDB_ENV = {"COMPRESSOR_TOPIC": "zlib"}

    assert build_env() == {
        "PERSISTENCE_MODULE": "eventsourcing_eventstoredb",
        "EVENTSTOREDB_ROOT_CERTIFICATES": "ca.pem",
        "EVENTSTOREDB_USERNAME": "admin",
        "EVENTSTOREDB_PASSWORD": SECRET,
        "EVENTSTOREDB_CONTENT_TYPE": "application/octet-stream",
        "EVENTSTOREDB_SNAPSHOT_MAX_COUNT": "3",
        "COMPRESSOR_TOPIC": "zlib",
    }


def test_an_application_may_choose_another_persistence_module(settings: Any) -> None:
    class Elsewhere(Application[Any]):
        env = {"PERSISTENCE_MODULE": "eventsourcing.popo"}

    assert isinstance(get_application(Elsewhere).recorder, POPOApplicationRecorder)
    settings.ESDB_ENV = {"PERSISTENCE_MODULE": "eventsourcing.popo"}
    school = get_application(TrainingSchool)
    assert isinstance(school.recorder, POPOApplicationRecorder)


def test_missing_address_is_an_error(settings: Any) -> None:
    assert ids() == ["django_esdb.E001"]
    with pytest.raises(InfrastructureFactoryError, match="EVENTSTOREDB_URI"):
        get_application(TrainingSchool)


def test_either_place_satisfies_the_address(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ESDB_URI = "esdb://localhost?Tls=false"
    assert ids() == []
    settings.ESDB_URI = None
    monkeypatch.setenv("EVENTSTOREDB_URI", "esdb://localhost?Tls=false")
    assert ids() == []
    monkeypatch.delenv("EVENTSTOREDB_URI")
    monkeypatch.setenv("TRAININGSCHOOL_EVENTSTOREDB_URI", "esdb://host?Tls=false")
    assert ids() == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"ESDB_URI": f"http://a:{SECRET}@localhost"}, "django_esdb.E002"),
        (
            {
                "ESDB_URI": f"esdb://a:{SECRET}@localhost",
                "ESDB_ROOT_CERTIFICATES": "/nowhere/ca.pem",
            },
            "django_esdb.E003",
        ),
        ({"ESDB_ENV": ["COMPRESSOR_TOPIC"]}, "django_esdb.E004"),
        ({"ESDB_ENV": {"COMPRESSOR_TOPIC": 1}}, "django_esdb.E004"),
        (
            {"ESDB_URI": "esdb://localhost?Tls=false", "ESDB_URL": "x"},
            "django_esdb.W002",
        ),
        *(
            ({"ESDB_URI": "esdb://localhost?Tls=false", name: value}, code)
            for name, value, code in [
                ("ESDB_LEASE_SECONDS", 0.4, "django_esdb.E011"),
                ("ESDB_EVENT_SECONDS", 0, "django_esdb.E014"),
                ("ESDB_EVENT_SECONDS", "300", "django_esdb.E014"),
                ("ESDB_WEB_DEADLINE", 0, "django_esdb.E015"),
                ("ESDB_MAX_DECOMPRESSED", 0, "django_esdb.E017"),
                ("ESDB_MAX_DECOMPRESSED", "1M", "django_esdb.E017"),
                ("ESDB_CONTENT_TYPE", "text/plain", "django_esdb.E018"),
                ("ESDB_CONTENT_TYPE", False, "django_esdb.E018"),
                ("ESDB_SNAPSHOT_MAX_COUNT", 0, "django_esdb.E019"),
                ("ESDB_SNAPSHOT_MAX_COUNT", "3", "django_esdb.E019"),
                ("ESDB_SNAPSHOT_MAX_COUNT", True, "django_esdb.E019"),
                ("ESDB_LEASE_SECONDS", "10", "django_esdb.E011"),
                ("ESDB_LEASE_SECONDS", float("nan"), "django_esdb.E011"),
                ("ESDB_LEASE_SECONDS", None, "django_esdb.E011"),
                ("ESDB_RETRIES", -1, "django_esdb.E012"),
                ("ESDB_RETRIES", 1.5, "django_esdb.E012"),
                ("ESDB_RETRIES", True, "django_esdb.E012"),
                ("ESDB_MAX_SKIPPED", -1, "django_esdb.E013"),
                ("ESDB_MAX_SKIPPED", "10", "django_esdb.E013"),
            ]
        ),
    ],
)
def test_wrong_settings_are_found(
    settings: Any, changed: dict[str, Any], expected: str
) -> None:
    for name, value in changed.items():
        setattr(settings, name, value)

    [message] = check_all()
    assert message.id == expected
    assert SECRET not in str(message)


@pytest.mark.parametrize(
    "env", ["COMPRESSOR_TOPIC", ["COMPRESSOR_TOPIC"], {"COMPRESSOR_TOPIC": 1}]
)
def test_an_environment_that_is_none_is_said_to_be_so(settings: Any, env: Any) -> None:
    settings.ESDB_ENV = env
    with pytest.raises(ConfigurationError, match="ESDB_ENV must be a dictionary"):
        get_application(TrainingSchool)


def test_a_read_model_of_two_projections_is_an_error(
    settings: Any, registration: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ESDB_URI = "esdb://localhost?Tls=false"
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))

    class Second(next(iter(registry)).projection_class):  # type: ignore[misc]
        pass

    class SecondView(next(iter(registry)).view_class):  # type: ignore[misc]
        read_models = (Dog,)

    registry.register(Second, application_class=TrainingSchool, view_class=SecondView)

    [message] = check_all()
    assert message.id == "django_esdb.E007"
    assert "training_school.Dog is a read model of both" in message.msg


@pytest.mark.parametrize(
    ("read_models", "example"),
    [
        (Dog, "Dog"),
        ((Dog, "School"), "Model"),
        ("training_school.Dog", "Model"),
        (None, "Model"),
    ],
)
def test_read_models_that_are_no_models_are_an_error(
    settings: Any, monkeypatch: pytest.MonkeyPatch, read_models: Any, example: str
) -> None:
    settings.ESDB_URI = "esdb://localhost?Tls=false"
    registration = next(iter(registry))
    monkeypatch.setattr(registration.view_class, "read_models", read_models)

    [message] = check_all()

    assert message.id == "django_esdb.E006"
    assert message.msg.endswith(
        f".read_models must be models in a tuple: ({example},)."
    )


def test_no_setting_is_cached_in_the_settings_object() -> None:
    assert vars(settings) == {}
