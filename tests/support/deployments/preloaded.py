"""
The example as a WSGI application that uses the event store where it is loaded.

With preloading that is the parent of the processes that answer requests.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from django_esdb import get_application
from example_project.training_school.application import TrainingSchool
from example_project.wsgi import application as site

_loaded_in = os.getpid()
get_application(TrainingSchool).recorder.max_notification_id()


def application(
    environ: dict[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    """Answer as the site does, and say which process does, and which loaded it."""

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        processes = [
            ("X-Process", str(os.getpid())),
            ("X-Loaded-In", str(_loaded_in)),
        ]
        return start_response(status, [*headers, *processes], *more)

    answer: Iterable[bytes] = site(environ, start)
    return answer
