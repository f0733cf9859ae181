"""Metrics for Prometheus: what is counted, what is asked, and who serves it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.request import urlopen

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from eventsourcing.persistence import Tracking
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from django_esdb import signals
from django_esdb.contrib.prometheus import (
    MetricsServer,
    ProjectionCollector,
    ProjectionMetrics,
)
from django_esdb.contrib.prometheus import collector as collecting
from django_esdb.contrib.prometheus.collector import STATES
from django_esdb.models import ProjectionLag, ProjectionTracking
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration, registry
from django_esdb.runner import decisions
from example_project.training_school.application import TrainingSchool
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.missing_packages import import_without
from tests.support.projects import ROOT
from tests.support.supervising import catch_up, running, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]

MakeRegistration = Callable[..., Registration]

DASHBOARD = ROOT / "docs" / "grafana" / "projections.json"
ALERTS = ROOT / "docs" / "prometheus" / "alerts.yml"
SCHOOL = {"projection": "TrainingSchoolProjection", "application": "TrainingSchool"}


@pytest.fixture
def own_registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(own_registry: CollectorRegistry) -> Iterator[ProjectionMetrics]:
    metrics = ProjectionMetrics(own_registry)
    yield metrics
    metrics.close()


class Burning(TrainingSchoolProjection):
    """Fails at one trick."""

    name = "TrainingSchoolProjection"
    errors: list[Exception] = []

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        if getattr(domain_event, "trick", "") == "burn" and self.errors:
            raise self.errors.pop(0)
        super().process_event(domain_event, tracking)


def test_a_run_is_counted(
    school: TrainingSchool,
    school_projection: Registration,
    own_registry: CollectorRegistry,
    metrics: ProjectionMetrics,
) -> None:
    def value(name: str, **labels: str) -> float | None:
        return own_registry.get_sample_value(
            f"django_esdb_{name}", {**SCHOOL, **labels}
        )

    metrics.connect([school_projection])
    assert value("events_total") == 0
    assert value("lease_changes_total", change="lost") == 0
    for number in range(5):
        school.register(f"dog {number}")
    was_held: list[float | None] = []

    def look(**kwargs: Any) -> None:
        was_held.append(value("lease_held"))

    signals.projection_caught_up.connect(look)
    try:
        with running(school_projection, batch_size=2):
            wait_until(lambda: was_held)
    finally:
        signals.projection_caught_up.disconnect(look)

    assert was_held == [1]
    assert value("lease_held") == 0
    assert value("events_total") == 5
    assert value("batches_total", reason="size") == 2
    for part in ("batch", "batch_handler", "batch_commit"):
        assert value(f"{part}_seconds_count") == 3
    total = value("batch_seconds_sum")
    parts = value("batch_handler_seconds_sum"), value("batch_commit_seconds_sum")
    assert total is not None
    assert all(part is not None and 0 < part < total for part in parts)
    assert value("lease_changes_total", change="acquired") == 1
    assert value("lease_changes_total", change="released") == 1


def test_failures_and_outages_are_counted(
    school: TrainingSchool,
    registration: MakeRegistration,
    own_registry: CollectorRegistry,
    metrics: ProjectionMetrics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decisions, "FIRST_PAUSE_SECONDS", 0.01)
    errors = [OperationalError("away"), *(RuntimeError("cannot") for _ in range(2))]
    monkeypatch.setattr(Burning, "errors", errors)

    def value(name: str, **labels: str) -> float | None:
        return own_registry.get_sample_value(
            f"django_esdb_{name}", {**SCHOOL, **labels}
        )

    metrics.connect()
    school.register("Fido")
    school.add_trick("Fido", "burn")
    school.add_trick("Fido", "sit")
    this = registration(projection_class=Burning, on_failure=OnFailure.PARK, retries=0)
    with running(this):
        wait_until(lambda: value("events_parked_total", cause="waits") == 1)

    assert value("interruptions_total", phase="running") == 1
    assert (value("batches_undone_total") or 0) >= 2
    assert value("event_failures_total", outcome="given_up") == 1
    assert value("events_parked_total", cause="failed") == 1


def test_each_other_signal_is_counted(
    own_registry: CollectorRegistry, metrics: ProjectionMetrics
) -> None:
    metrics.connect()
    sent: list[tuple[Any, dict[str, Any], str, dict[str, str], float]] = [
        (signals.event_skipped, {}, "events_skipped_total", {}, 1),
        (signals.projection_recovered, {}, "recoveries_total", {}, 1),
        (signals.subscription_resumed, {"times": 3}, "reconnections_total", {}, 3),
        (signals.projection_paused, {}, "pauses_total", {}, 1),
        (signals.projection_failed, {}, "projection_failures_total", {}, 1),
        (
            signals.lease_lost,
            {},
            "lease_changes_total",
            {"change": "lost"},
            1,
        ),
        (
            signals.lease_acquired,
            {"was_abandoned": True},
            "lease_changes_total",
            {"change": "taken_over"},
            1,
        ),
        (
            signals.event_failed,
            {"seconds": 0.5},
            "event_failures_total",
            {"outcome": "retried"},
            1,
        ),
    ]
    for signal, arguments, name, labels, expected in sent:
        # The log is a receiver, too, and wants more.
        signal.send_robust(TrainingSchoolProjection, **SCHOOL, **arguments)

        found = own_registry.get_sample_value(
            f"django_esdb_{name}", {**SCHOOL, **labels}
        )
        assert found == expected, name


def test_nothing_is_connected_before_it_is_asked_for(
    metrics: ProjectionMetrics,
) -> None:
    def are_heard() -> set[bool]:
        return {
            signal.has_listeners(TrainingSchoolProjection)
            for signal in (signals.batch_committed, signals.batch_undone)
        }

    assert are_heard() == {False}
    metrics.connect()
    assert are_heard() == {True}
    metrics.close()
    assert are_heard() == {False}


def test_the_collector_asks_once_and_tells_lag(
    school: TrainingSchool, own_registry: CollectorRegistry
) -> None:
    own_registry.register(ProjectionCollector())
    school.register("Fido")
    this = next(iter(registry))
    catch_up(this)

    with CaptureQueriesContext(connection) as queries:
        text = generate_latest(own_registry).decode()

    assert len(queries) == 1
    row = ProjectionTracking.objects.get()
    labels = {
        "projection": this.name,
        "application": this.application_name,
        "database": "default",
    }
    found = {
        (sample.name, sample.labels.get("state")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.items() >= labels.items()
    }
    assert found["django_esdb_position", None] == row.position
    assert found["django_esdb_failed_events", None] == 0
    states = [found["django_esdb_projection_state", state] for state in STATES]
    assert sorted(states) == [0] * (len(STATES) - 1) + [1]
    assert found["django_esdb_projection_state", "stopped"] == 1
    assert own_registry.get_sample_value("django_esdb_database_up") == 1


def test_the_collector_tells_what_workers_have_measured(
    school: TrainingSchool, own_registry: CollectorRegistry
) -> None:
    this = next(iter(registry))
    row = this.tracked().row()
    now = timezone.now()
    ProjectionLag.objects.create(
        tracking=row,
        head=70,
        head_time=now,
        reached_time=now - timedelta(seconds=30),
        total=row.processed + 7,
        is_exact=True,
        measured_at=now,
    )
    own_registry.register(ProjectionCollector())
    labels = {
        "projection": this.name,
        "application": this.application_name,
        "database": "default",
    }

    def value(name: str) -> float | None:
        return own_registry.get_sample_value(f"django_esdb_{name}", labels)

    assert value("lag_events") == 7
    assert value("lag_seconds") == 30
    assert value("lag_exact") == 1
    assert value("head_position") == 70
    assert value("position") is None
    assert value("lag_measured_timestamp_seconds") == pytest.approx(now.timestamp())


def test_registering_the_collector_asks_nothing() -> None:
    # The default registry wants to know the names of what is registered.
    with CaptureQueriesContext(connection) as queries:
        CollectorRegistry(auto_describe=True).register(ProjectionCollector())

    assert len(queries) == 0


def test_a_database_that_is_away_is_told(
    own_registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def away() -> list[Any]:
        raise OperationalError("server closed the connection\nunexpectedly")

    monkeypatch.setattr(collecting, "projection_statuses", away)
    own_registry.register(ProjectionCollector())

    assert own_registry.get_sample_value("django_esdb_database_up") == 0
    assert "Metrics are not known: error=server closed" in caplog.text


def test_a_server_answers_and_goes_on_when_its_like_is_there(
    school_projection: Registration, own_registry: CollectorRegistry
) -> None:
    own_registry.register(ProjectionCollector())
    first = MetricsServer([school_projection], registry=own_registry)
    second = MetricsServer([school_projection], registry=own_registry)
    try:
        for server in (first, second):
            with urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
                text = answer.read().decode()
            assert "django_esdb_events_total{" in text
            assert "django_esdb_database_up" in text
    finally:
        second.close()
        first.close()

    # What others have registered stays.
    assert "django_esdb_database_up" in generate_latest(own_registry).decode()
    assert "django_esdb_events_total" not in generate_latest(own_registry).decode()


def test_a_port_that_is_taken_is_one_line(
    school: TrainingSchool, own_registry: CollectorRegistry
) -> None:
    server = MetricsServer([], registry=own_registry)
    try:
        with pytest.raises(CommandError) as raised:
            call_command(
                "runprojections", "--until-caught-up", "--metrics-port", server.port
            )
    finally:
        server.close()

    assert str(raised.value) == (
        f"Metrics cannot be served on 127.0.0.1:{server.port}: "
        "Address already in use; choose another --metrics-port"
    )
    assert raised.value.returncode == 2


@pytest.mark.parametrize("host", ["a..b", "x" * 5000, "\udcff", "[::1"])
def test_a_host_that_can_be_none_is_one_line(
    school: TrainingSchool, own_registry: CollectorRegistry, host: str
) -> None:
    with pytest.raises(CommandError) as raised:
        call_command(
            *("runprojections", "--until-caught-up"),
            *("--metrics-port=0", f"--metrics-host={host}"),
        )

    assert raised.value.returncode == 2
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("host", ["x" * 5000, "a\x1bb", "\udcff"])
def test_a_host_that_others_reach_is_shown_in_one_line(host: str) -> None:
    with pytest.raises(CommandError, match="others can reach") as raised:
        call_command("runeventstore", f"--host={host}")

    assert str(raised.value).isprintable()
    assert len(str(raised.value)) <= 1000


def test_a_missing_extra_is_one_line() -> None:
    said = import_without("prometheus_client", "django_esdb.contrib.prometheus")

    assert said == (
        "django_esdb.exceptions.MissingExtraError: django_esdb.contrib.prometheus "
        "needs prometheus_client: install django-esdb[prometheus]"
    )


def exported() -> dict[str, set[str]]:
    """Return what samples there are, with the labels that they have."""
    own = CollectorRegistry()
    metrics = ProjectionMetrics(own)
    own.register(ProjectionCollector())
    for made in metrics._made:
        made.labels(*("x" for _ in made._labelnames))
    found: dict[str, set[str]] = {}
    try:
        for family in own.collect():
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    finally:
        metrics.close()
    for family in ProjectionCollector().describe():
        found.setdefault(family.name, set()).update(family._labelnames)
    return {
        name: labels for name, labels in found.items() if not name.endswith("_created")
    }


def families(names: set[str]) -> set[str]:
    return {re.sub(r"(?<=_seconds)_(bucket|sum|count)$", "", name) for name in names}


def expressions() -> Iterator[str]:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            yield target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["definition"]


def conditions() -> list[str]:
    """Return what alerts look for."""
    found = re.findall(
        r"^ +expr: (.*?)\n +(?:for|labels): ",
        ALERTS.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert len(found) == ALERTS.read_text(encoding="utf-8").count("- alert: ")
    return found


@pytest.mark.parametrize("expression", sorted([*expressions(), *conditions()]))
def test_a_query_or_an_alert_asks_for_what_is_exported(expression: str) -> None:
    names = exported()

    asked = re.findall(r"\bdjango_esdb_\w+", expression)
    grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
    selected = re.findall(r'(\w+)(?:=~|!~|!=|=)"', expression)

    assert asked
    assert expression.count("(") == expression.count(")")
    for name in asked:
        assert name in names
    known = set().union(*(names[name] for name in asked))
    labels = {label.strip() for group in grouped for label in group.split(",")}
    assert labels | set(selected) <= known


def test_the_dashboard_shows_all_that_is_exported() -> None:
    asked = {
        name
        for expression in expressions()
        for name in re.findall(r"\bdjango_esdb_\w+", expression)
    }

    assert families(asked) == families(set(exported()))


def test_the_dashboards_panels_do_not_overlap() -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    places = {
        (x, y)
        for at in (panel["gridPos"] for panel in panels)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    }

    assert len(places) == sum(p["gridPos"]["w"] * p["gridPos"]["h"] for p in panels)
    assert max(x for x, _ in places) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_each_metric_is_documented_and_no_other() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(django_esdb_\w+)` \|", page, re.MULTILINE)

    assert sorted(rows) == sorted(families(set(exported())))
