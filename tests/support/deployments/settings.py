"""The example's settings, for a server that says which process answers."""

from __future__ import annotations

from tests.support.fault_injection.settings import *  # noqa: F403

WSGI_APPLICATION = "tests.support.deployments.preloaded.application"
