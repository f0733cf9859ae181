from __future__ import annotations

import subprocess
import sys

from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.projects import ROOT, clean_environment
from tests.support.running_stores import store_variables


def test_forked_children_save_while_the_parent_still_receives(
    server: EmbeddedServer,
) -> None:
    finished = subprocess.run(
        # Newer Pythons warn of any fork with threads.
        [sys.executable, "-W", "ignore", "-m", "tests.support.deployments.pool"],
        env={
            **clean_environment(),
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "EVENTSTOREDB_URI": server.uri,
            **store_variables(server),
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == "exact: True 14\n"
