"""
Running projections.

:class:`ProjectionRunner` runs one projection for one term, until it stops or
fails. A :class:`Supervisor` runs term after term of one projection and decides
whether another follows. A :class:`Worker` runs a supervisor for each
projection in a thread of its own. What happens is told by
:mod:`django_esdb.signals`, of which the log is one receiver.
"""

from __future__ import annotations

# Connects the receivers that write the log.
from django_esdb.runner import log_lines as log_lines
from django_esdb.runner.projection_runner import ProjectionRunner
from django_esdb.runner.supervisor import Supervisor
from django_esdb.runner.worker import Options, Worker

__all__ = ["Options", "ProjectionRunner", "Supervisor", "Worker"]
