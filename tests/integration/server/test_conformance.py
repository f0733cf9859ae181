from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.scenario_player import ScenarioPlayer

CONFORMANCE = Path(__file__).parents[2] / "conformance"
# Those that were written for a purpose, and walks whose steps were drawn.
FOLDERS = CONFORMANCE, CONFORMANCE / "random"
SCENARIOS: dict[str, list[dict[str, Any]]] = {
    scenario["name"]: scenario["steps"]
    for folder in FOLDERS
    for file in sorted((folder / "scenarios").glob("*.json"))
    for scenario in json.loads(file.read_text())
}
RECORDINGS = {
    file.stem: file for folder in FOLDERS for file in (folder / "golden").glob("*.json")
}

# Most of a scenario's time is waiting to see that nothing more comes.
CONCURRENT_SCENARIOS = 64


def seconds_of_waiting(name: str) -> float:
    """Tell how long a scenario takes at least."""
    return sum(step.get("idle", 0) + step.get("sleep", 0) for step in SCENARIOS[name])


def play(steps: list[dict[str, Any]]) -> list[Any]:
    options = [("grpc.max_receive_message_length", 17 * 1024 * 1024)]
    with (
        EmbeddedServer() as server,
        grpc.insecure_channel(server.target, options=options) as channel,
    ):
        return ScenarioPlayer(channel).play(steps)


@pytest.fixture(scope="module")
def plays(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[list[Any]]]]:
    selected = {
        item.callspec.params["name"]
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.originalname == "test_answers_as_eventstoredb_does"
    }
    with ThreadPoolExecutor(CONCURRENT_SCENARIOS) as executor:
        yield {
            name: executor.submit(play, SCENARIOS[name])
            # The longest first, so that none is left alone at the end.
            for name in sorted(selected, key=seconds_of_waiting, reverse=True)
        }


@pytest.mark.parametrize("name", SCENARIOS)
def test_answers_as_eventstoredb_does(
    name: str, plays: dict[str, Future[list[Any]]]
) -> None:
    recorded = json.loads(RECORDINGS[name].read_text())

    assert recorded == plays[name].result()


def test_every_scenario_has_a_recording() -> None:
    assert set(RECORDINGS) == set(SCENARIOS)
