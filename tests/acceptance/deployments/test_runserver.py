from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.deployments.sites import serving
from tests.support.ports import free_port
from tests.support.projects import Project
from tests.support.supervising import wait_until


@pytest.mark.any_database
def test_the_reloader_restarts_and_leaves_no_process(
    projected: Project, tmp_path: Path
) -> None:
    module = tmp_path / "changing_module.py"
    module.write_text("")
    projected.env["DJANGO_SETTINGS_MODULE"] = "tests.support.deployments.settings"
    # The reloader says what it does only then.
    projected.env["DJANGO_DEBUG"] = "true"
    projected.env["PYTHONPATH"] = str(tmp_path)
    projected.env["FAULTS_IMPORT"] = "changing_module"
    port = free_port()
    command = (sys.executable, "manage.py", "runserver", f"127.0.0.1:{port}")
    with serving(projected, *command, port=port) as site:
        before = site.register_in(1)

        def is_reloading() -> bool:
            # Changed more than once, since the reloader notices only what changes
            # after it has looked at the file.
            module.write_text(module.read_text() + "#\n")
            return any("changed, reloading" in line for line in site.lines)

        wait_until(is_reloading)
        wait_until(lambda: site.get("/").process not in before)
        after = site.register_in(1)
        status = site.end()

    assert len(before) == 1
    assert before.isdisjoint(after)
    assert status == 0
