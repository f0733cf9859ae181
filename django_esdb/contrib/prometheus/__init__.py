"""
Metrics of projections for Prometheus; needs the extra ``prometheus``.

``manage.py runprojections --metrics-port 9100`` serves all of them. A process that
runs no projections registers a collector, which asks the database:

    REGISTRY.register(ProjectionCollector())
"""

from __future__ import annotations

# ruff: noqa: E402 - what follows imports the package that may be missing
from django_esdb.contrib.extras import require

require("prometheus_client", "prometheus", __name__)

from django_esdb.contrib.prometheus.collector import ProjectionCollector
from django_esdb.contrib.prometheus.metrics import ProjectionMetrics
from django_esdb.contrib.prometheus.server import MetricsServer

__all__ = ["MetricsServer", "ProjectionCollector", "ProjectionMetrics"]
