"""
Running projections.

:class:`ProjectionRunner` runs one projection for one term, until it stops or
fails. A :class:`Supervisor` runs term after term of one projection and decides
whether there is to be another. A :class:`Worker` runs a supervisor for each
projection in a thread of its own.
"""

from __future__ import annotations

from django_esdb.runner.projection_runner import ProjectionRunner
from django_esdb.runner.supervisor import Supervisor
from django_esdb.runner.worker import Callbacks, Options, Worker

__all__ = ["Callbacks", "Options", "ProjectionRunner", "Supervisor", "Worker"]
