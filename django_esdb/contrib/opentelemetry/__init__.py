"""
Traces for OpenTelemetry: a span for each batch and each save.

Needs the extra ``opentelemetry``. Nothing is traced before :func:`instrument`.
"""

from __future__ import annotations

# ruff: noqa: E402 - what follows imports the package that may be missing
from django_esdb.contrib.extras import require

require("opentelemetry", "opentelemetry", __name__)

from django_esdb.contrib.opentelemetry.instrumenting import instrument, uninstrument

__all__ = ["instrument", "uninstrument"]
