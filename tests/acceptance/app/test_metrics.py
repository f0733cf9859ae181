"""What ``runprojections --metrics-port`` serves, as a process."""

from __future__ import annotations

import re
import subprocess
import time
from urllib.request import urlopen

import pytest

from tests.acceptance.app.test_runprojections import REGISTER, refused
from tests.support.projects import Project

pytestmark = pytest.mark.any_database


def line(process: subprocess.Popen[str], start: str) -> str:
    assert process.stdout is not None
    for each in process.stdout:
        if each.startswith(start):
            return each
    pytest.fail(f"it does not say {start!r}")


def scraped(url: str) -> dict[str, float]:
    """Return the values by name; of those with more labels one each."""
    with urlopen(url, timeout=60) as answer:
        text = answer.read().decode()
    found = re.findall(r"^(\w+)(?:\{.*\})? (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_a_worker_serves_its_metrics_and_those_that_stand_by_do(
    project: Project,
) -> None:
    project.python(REGISTER + "school.register('Fido')")
    with project.running("runprojections", "--metrics-port=0") as first:
        url = line(first, "Metrics at ").split()[-1]
        line(first, "Running")
        end = time.monotonic() + 60
        while True:
            values = scraped(url)
            if values["django_esdb_events_total"] == 1 and (
                # Until it is known that what others have written is not its own.
                values.get("django_esdb_lag_events") == 0
                and values.get("django_esdb_lag_seconds") == 0
            ):
                break
            assert time.monotonic() < end, values
            time.sleep(0.1)
        with project.running("runprojections", "--metrics-port=0") as second:
            other = line(second, "Metrics at ").split()[-1]
            line(second, "Standing by")
            beside = scraped(other)
        port = re.search(r":(\d+)/", url)
        assert port is not None
        refused(
            project,
            f"--metrics-port={port[1]}",
            says=f"Metrics cannot be served on 127.0.0.1:{port[1]}: "
            "Address already in use; choose another --metrics-port",
        )
        first.terminate()
        first.communicate(timeout=60)

    assert first.returncode == 0
    assert url.startswith("http://127.0.0.1:")
    assert values["django_esdb_lease_held"] == 1
    assert values["django_esdb_database_up"] == 1
    assert beside["django_esdb_lease_held"] == 0
    assert beside["django_esdb_events_total"] == 0
    assert beside["django_esdb_position"] >= values["django_esdb_position"]


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_what_is_no_port_is_refused(project: Project, port: str) -> None:
    result = project.manage("runprojections", f"--metrics-port={port}", check=False)

    assert result.returncode == 2
    assert f"invalid port value: '{port}'" in result.stderr


def test_an_address_that_is_not_there_is_one_line(project: Project) -> None:
    refused(
        project,
        "--metrics-port=0",
        "--metrics-host=nowhere.invalid",
        says="Metrics cannot be served on nowhere.invalid:0: ",
    )


def test_an_address_without_a_port_is_refused_instead_of_serving_nothing(
    project: Project,
) -> None:
    refused(
        project,
        "--metrics-host=0.0.0.0",
        says="--metrics-host needs --metrics-port",
    )
