"""Passwords and keys are shown nowhere, whatever fails."""

from __future__ import annotations

import logging
import pickle
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import path
from django.views.debug import ExceptionReporter, get_default_exception_reporter_filter
from eventsourcing.persistence import InfrastructureFactoryError, PersistenceError

from django_esdb import get_application
from django_esdb.applications.shared import close_applications
from django_esdb.masking import Masked, has_password, masked
from django_esdb.registry import Registration
from django_esdb.runner import ProjectionRunner
from eventsourcing_eventstoredb.connection_settings import (
    ConnectionSettingsError,
    parse_connection,
)
from eventsourcing_eventstoredb.protocol import retrying
from example_project.training_school.application import TrainingSchool
from tests.support.ciphers import NO_CIPHER

SECRET = "s3cret-w0rd"
OURS = "django_esdb.debug.SafeExceptionReporterFilter"
DJANGOS = "django.views.debug.SafeExceptionReporterFilter"

CLUSTER = "127.0.0.1:9,127.0.0.1:10?MaxDiscoverAttempts=1"


def register(request: HttpRequest) -> HttpResponse:
    get_application(TrainingSchool).register("Fido")
    return HttpResponse()


urlpatterns = [path("register/", register)]


@pytest.fixture(autouse=True)
def _site(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    settings.ESDB_ENV = {"TRAININGSCHOOL_CIPHER_KEY": f"{SECRET}-own"}
    monkeypatch.setenv("EVENTSTOREDB_PASSWORD", f"{SECRET}-environment")
    # It is away for good.
    monkeypatch.setattr(retrying, "PATIENCE", 0.1)
    get_default_exception_reporter_filter.cache_clear()
    yield
    get_default_exception_reporter_filter.cache_clear()
    close_applications()


def cluster(settings: Any) -> None:
    settings.ESDB_URI = f"esdb://{CLUSTER}"
    settings.ESDB_USERNAME = "admin"
    settings.ESDB_PASSWORD = SECRET
    settings.ESDB_ENV = {"EVENTSTOREDB_ROOT_CERTIFICATES": ""}


def no_server(settings: Any) -> None:
    settings.ESDB_URI = "esdb://127.0.0.1:9"
    settings.ESDB_USERNAME = "admin"
    settings.ESDB_PASSWORD = SECRET
    settings.ESDB_ENV = {"CIPHER_TOPIC": NO_CIPHER, "CIPHER_KEY": SECRET}


def wrong_key(settings: Any) -> None:
    settings.ESDB_URI = "esdb://127.0.0.1:9?Tls=false"
    settings.ESDB_ENV = {"CIPHER_KEY": SECRET}


def wrong_uri(settings: Any) -> None:
    settings.ESDB_URI = "esdb://127.0.0.1:x"
    settings.ESDB_PASSWORD = SECRET


def private_key(settings: Any) -> None:
    settings.ESDB_URI = "esdb://127.0.0.1:x"
    settings.ESDB_ENV = {
        "EVENTSTOREDB_ROOT_CERTIFICATES": f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n"
    }


FAILURES = [cluster, no_server, wrong_key, wrong_uri]
Failure = Callable[[Any], None]


def page(**headers: str) -> str:
    client = Client(raise_request_exception=False, headers=headers)
    response = client.get("/register/")
    assert response.status_code == 500
    return response.content.decode()


def email(**options: Any) -> str:
    """Return what Django's handler mails to administrators, text and HTML."""
    request = RequestFactory().get("/register/")
    try:
        register(request)
    except Exception:
        reporter = ExceptionReporter(request, *sys.exc_info(), is_email=True)
        return reporter.get_traceback_text() + reporter.get_traceback_html()
    raise AssertionError


@pytest.mark.parametrize("failure", FAILURES)
def test_an_error_page_shows_no_secret(settings: Any, failure: Failure) -> None:
    failure(settings)
    settings.DEBUG = True

    html = page()

    assert "Local vars" in html
    assert "get_application" in html
    assert SECRET not in html
    assert SECRET not in page(accept="text/plain")


@pytest.mark.parametrize("failure", FAILURES)
def test_a_mailed_report_shows_no_secret(settings: Any, failure: Failure) -> None:
    failure(settings)
    settings.DEBUG = False

    assert SECRET not in email()


def with_password(settings: Any) -> None:
    settings.ESDB_URI = f"esdb://admin:{SECRET}@{CLUSTER}"


def with_misplaced_password(settings: Any) -> None:
    settings.ESDB_URI = f"esdb://admin:{SECRET}"


def with_password_in_env(settings: Any) -> None:
    settings.ESDB_ENV = {"EVENTSTOREDB_URI": f"esdb://admin:{SECRET}@{CLUSTER}"}


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize(
    "failure",
    [with_password, with_misplaced_password, with_password_in_env, private_key],
)
def test_a_password_in_the_address_is_hidden_by_the_apps_filter(
    settings: Any, failure: Failure, debug: bool
) -> None:
    failure(settings)
    settings.DEBUG = debug
    settings.DEFAULT_EXCEPTION_REPORTER_FILTER = DJANGOS
    # Django's own filter shows it, so what hides it is the other one.
    assert SECRET in email()

    settings.DEFAULT_EXCEPTION_REPORTER_FILTER = OURS
    get_default_exception_reporter_filter.cache_clear()

    assert SECRET not in email()
    if debug:
        assert SECRET not in page()


def test_the_apps_filter_hides_what_else_a_page_has(settings: Any) -> None:
    settings.DEFAULT_EXCEPTION_REPORTER_FILTER = OURS
    settings.OTHER = [{"nested": f"see kurrentdb://a:{SECRET}@host"}]
    uri = f"esdb://admin:{SECRET}@localhost"
    request = RequestFactory().get("/", EVENTSTOREDB_URI=uri)
    environment = {"EVENTSTOREDB_PASSWORD": SECRET, "uri": uri, "DEBUG": "yes"}
    try:
        raise RuntimeError(environment["DEBUG"])
    except RuntimeError:
        reporter = ExceptionReporter(request, *sys.exc_info())
        html, text = reporter.get_traceback_html(), reporter.get_traceback_text()

    assert SECRET not in text
    assert "esdb://********@localhost" in text
    assert "DEBUG" in html
    # The lines of this very function are shown as well.
    assert html.count(SECRET) == 0


def test_an_error_keeps_the_way_it_has_come(settings: Any) -> None:
    wrong_uri(settings)

    with pytest.raises(InfrastructureFactoryError) as raised:
        get_application(TrainingSchool)

    names = [entry.name for entry in raised.traceback]
    assert "construct_factory" in names
    assert not any(
        "env" in entry.frame.f_locals
        for entry in raised.traceback
        if entry.name == "construct_factory"
    )


@pytest.mark.parametrize("failure", [cluster, wrong_key, wrong_uri])
def test_a_runner_that_cannot_begin_tells_no_secret(
    settings: Any,
    failure: Failure,
    school_projection: Registration,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failure(settings)
    caplog.set_level(logging.DEBUG)

    try:
        ProjectionRunner(
            application_class=school_projection.application_class,
            projection_class=school_projection.projection_class,
            view_class=school_projection.view_class,
            env=school_projection.env(),
        )
    except Exception:
        html = ExceptionReporter(None, *sys.exc_info()).get_traceback_html()
    else:
        raise AssertionError

    assert SECRET not in html
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "uri",
    [
        f"esdb://admin:{SECRET}@host",
        f"admin:{SECRET}@esdb://host",
        f"admin:{SECRET}@host",
        f"esdb://admin:{SECRET}/x?y",
        f"esdb://admin:{SECRET}@host?DefaultDeadline=x",
    ],
)
def test_no_error_about_a_connection_string_repeats_it(uri: str) -> None:
    with pytest.raises(ConnectionSettingsError) as raised:
        parse_connection(uri, root_certificates="/nowhere")

    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("CIPHER_KEY", SECRET, "********"),
        ("SCHOOL_CIPHER_KEY", SECRET, "********"),
        ("EVENTSTOREDB_PASSWORD", SECRET, "********"),
        ("ESDB_URI", SECRET, "********"),
        ("ESDB_URI", f"esdb://a:{SECRET}", "esdb://********"),
        ("ESDB_URI", f"http://a:{SECRET}@h", "http://********@h"),
        ("ESDB_URI", f"esdb://a:{SECRET}@h?Tls=no", "esdb://********@h?Tls=no"),
        ("ESDB_URI", "esdb://h:2113,[::1]?Tls=no", "esdb://h:2113,[::1]?Tls=no"),
        ("ESDB_URI", f"{SECRET}://h?Tls=no", "********://h?Tls=no"),
        ("ESDB_URI", f"esdb://h?{SECRET}&Tls=true", "esdb://h?********&Tls=true"),
        ("ESDB_URI", f"esdb://a:{SECRET}@h?Key={SECRET}", "esdb://********@h?********"),
        ("ESDB_URI", f"esdb://h/?Tls={SECRET}", "esdb://h/?********"),
        ("other", f"at esdb://h:1,i?x={SECRET} now", "at esdb://h:1,i?******** now"),
        ("other", "esdb://h. Is it running? No", "esdb://h. Is it running? No"),
        ("other", f"at ESDB://a:{SECRET}@x@h", "at ESDB://********@h"),
        ("other", f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}", "********"),
        ("other", "esdb://localhost", "esdb://localhost"),
        ("other", "plain", "plain"),
    ],
)
def test_what_is_secret_is_masked_and_nothing_else(
    name: str, value: str, shown: str
) -> None:
    hidden = Masked(name, value)

    assert masked(name, value) == shown
    assert repr(hidden) == repr(shown)
    assert hidden == value
    assert f"{hidden}" == value
    copy = pickle.loads(pickle.dumps(hidden))
    assert copy == value
    assert SECRET not in repr(copy)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("esdb://a:b@h", True),
        ("esdb://a:b@c@h", True),
        ("esdb://a@h", False),
        ("esdb://a:@h", False),
        ("esdb://h:2113", False),
        ("nonsense", False),
    ],
)
def test_a_password_in_an_address_is_found(uri: str, expected: bool) -> None:
    assert has_password(uri) is expected


def test_errors_while_running_tell_no_secret(settings: Any) -> None:
    no_server(settings)

    with pytest.raises(PersistenceError) as raised:
        get_application(TrainingSchool).register("Fido")

    error: BaseException | None = raised.value
    while error is not None:
        assert SECRET not in str(error)
        error = error.__cause__ or error.__context__
