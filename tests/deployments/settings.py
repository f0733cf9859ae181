"""The example's settings, for a server that says which process answers."""

from __future__ import annotations

from tests.hooks.settings import *  # noqa: F403

WSGI_APPLICATION = "tests.deployments.preloaded.application"
