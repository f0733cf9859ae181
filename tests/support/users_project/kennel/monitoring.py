from __future__ import annotations

from prometheus_client import CollectorRegistry

from django_esdb.contrib.opentelemetry import instrument, uninstrument
from django_esdb.contrib.prometheus import MetricsServer, ProjectionCollector
from django_esdb.registry import registry
from kennel.projections import KennelProjection


def monitor(port: int) -> MetricsServer:
    instrument()
    metrics = CollectorRegistry()
    metrics.register(ProjectionCollector())
    registration = registry.get(KennelProjection.name)
    return MetricsServer([registration], port=port, registry=metrics)


def stop() -> None:
    uninstrument()
