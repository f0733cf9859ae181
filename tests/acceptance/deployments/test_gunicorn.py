from __future__ import annotations

import pytest

from tests.support.deployments.sites import python_module, serving
from tests.support.projects import Project

COMMAND = (
    *python_module("gunicorn"),
    *("--bind", "127.0.0.1:0", "--workers", "2", "--graceful-timeout", "20"),
    "tests.support.deployments.preloaded:application",
)


@pytest.mark.parametrize(
    "options",
    [
        ("--preload",),
        pytest.param(
            ("--preload", "--worker-class", "gthread", "--threads", "4"),
            # What is forked is the same as without threads.
            marks=pytest.mark.any_database,
        ),
        pytest.param(
            ("--worker-class", "gthread", "--threads", "4"),
            # Nothing is forked that has connections.
            marks=pytest.mark.any_database,
        ),
    ],
    ids=" ".join,
)
def test_each_worker_saves_and_reads_also_one_that_takes_anothers_place(
    projected: Project, options: tuple[str, ...]
) -> None:
    with serving(projected, *COMMAND, *options) as site:
        site.find_port(r"Listening at: http://127\.0\.0\.1:(\d+)")
        is_preloaded = site.replace_a_worker(
            r"Worker \(pid:{killed}\) was sent SIGKILL"
        )
        status = site.end()

    assert is_preloaded == ("--preload" in options)
    assert status == 0
