"""The example's settings, with handlers that do as a test says; see apps.py."""

from __future__ import annotations

import os

from example_project.settings import *  # noqa: F403
from example_project.settings import INSTALLED_APPS

if seconds := os.environ.get("FAULTS_EVENT_SECONDS"):
    ESDB_EVENT_SECONDS = float(seconds)
INSTALLED_APPS = [*INSTALLED_APPS, "tests.support.fault_injection"]
