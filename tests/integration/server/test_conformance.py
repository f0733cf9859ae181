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

# Most of a scenario's time is waiting to see that nothing more comes, so many are
# played side by side; not all, as each process that has some of the tests plays its
# own.
TOGETHER = 40


def play(steps: list[dict[str, Any]]) -> list[Any]:
    options = [("grpc.max_receive_message_length", 17 * 1024 * 1024)]
    with (
        EmbeddedServer() as server,
        grpc.insecure_channel(server.target, options=options) as channel,
    ):
        return ScenarioPlayer(channel).play(steps)


class Plays:
    """What the server has answered, by the scenario's name."""

    def __init__(self, executor: ThreadPoolExecutor, selected: list[str]) -> None:
        self._executor = executor
        self._selected = selected
        self._futures: dict[str, Future[list[Any]]] = {}

    def __getitem__(self, name: str) -> list[Any]:
        if name not in self._futures:
            start = self._selected.index(name) // TOGETHER * TOGETHER
            for each in self._selected[start : start + TOGETHER]:
                self._futures[each] = self._executor.submit(play, SCENARIOS[each])
        return self._futures[name].result()


@pytest.fixture(scope="module")
def plays(request: pytest.FixtureRequest) -> Iterator[Plays]:
    selected = [
        item.callspec.params["name"]
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.originalname == "test_answers_as_eventstoredb_does"
    ]
    with ThreadPoolExecutor(TOGETHER) as executor:
        yield Plays(executor, selected)


@pytest.mark.parametrize("name", SCENARIOS)
def test_answers_as_eventstoredb_does(name: str, plays: Plays) -> None:
    recorded = json.loads(RECORDINGS[name].read_text())

    played = plays[name]
    if played != recorded:
        # A scenario waits for so long and no longer, which may have been too short on a
        # busy machine. Alone it has the time.
        played = play(SCENARIOS[name])
    assert recorded == played


def test_every_scenario_has_a_recording() -> None:
    assert set(RECORDINGS) == set(SCENARIOS)
