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
SCENARIOS: dict[str, list[dict[str, Any]]] = {
    scenario["name"]: scenario["steps"]
    for file in sorted((CONFORMANCE / "scenarios").glob("*.json"))
    for scenario in json.loads(file.read_text())
}

# Most of a scenario's time is waiting to see that nothing more comes.
CONCURRENT_SCENARIOS = 16


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
            for name in SCENARIOS
            if name in selected
        }


@pytest.mark.parametrize("name", SCENARIOS)
def test_answers_as_eventstoredb_does(
    name: str, plays: dict[str, Future[list[Any]]]
) -> None:
    recorded = json.loads((CONFORMANCE / "golden" / f"{name}.json").read_text())

    assert recorded == plays[name].result()


def test_every_scenario_has_a_recording() -> None:
    recordings = {file.stem for file in (CONFORMANCE / "golden").glob("*.json")}

    assert recordings == set(SCENARIOS)
