from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.deployments.sites import serving
from tests.support.projects import ROOT, Project

UWSGI = Path(sys.executable).with_name("uwsgi")

pytestmark = pytest.mark.skipif(
    not UWSGI.exists() and not os.environ.get("REQUIRE_UWSGI"),
    reason="uWSGI is not installed: it is compiled, which takes gcc and python3-dev",
)

COMMAND = (
    *(str(UWSGI), "--http-socket", "127.0.0.1:0", "--master", "--processes", "2"),
    *("--enable-threads", "--threads", "2", "--need-app", "--die-on-term"),
    *("--virtualenv", sys.prefix, "--pythonpath", str(ROOT)),
    *("--module", "tests.support.deployments.preloaded:application"),
)


@pytest.mark.parametrize(
    "option",
    [
        pytest.param("--lazy-apps", marks=pytest.mark.any_database),
        "--py-call-uwsgi-fork-hooks",
    ],
)
def test_each_worker_saves_and_reads_also_one_that_takes_anothers_place(
    projected: Project, option: str
) -> None:
    with serving(projected, *COMMAND, option) as site:
        site.find_port(r"uwsgi socket 0 bound to TCP address 127\.0\.0\.1:(\d+)")
        is_preloaded = site.replace_a_worker(
            r"\(pid: {killed}\) died, killed by signal 9"
        )
        status = site.end()

    assert is_preloaded == (option != "--lazy-apps")
    assert status == 0
