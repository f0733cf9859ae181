"""The short form of ``make outages``: all recovers, however long it takes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.databases import SQLITE_URL, new_database
from tests.support.projects import ROOT
from tests.support.stress import outages
from tests.support.stress.figures import Figures

CLUSTER = {
    f"{what} {when}"
    for what in ("rows", "saves", "reads")
    for when in ("after an election", "after a frozen leader", "after it has woken")
}
STORE = {
    "rows after the store's first start",
    "rows after the store's return",
    "the state tells that the store is away",
    "the state tells that the store is there",
}


@pytest.mark.slow("goes through outages")
@pytest.mark.parametrize(
    ("measure", "expected"),
    [(outages.measure_cluster, CLUSTER), (outages.measure_store, STORE)],
)
def test_all_goes_on_and_nothing_is_lost_or_there_twice(
    measure: Callable[[str, Figures, Callable[[str], None]], None],
    expected: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outages, "WITHOUT_LEADER_SECONDS", (0.5, 4.0))
    monkeypatch.setattr(outages, "WITHOUT_STORE_SECONDS", (1.0,))
    monkeypatch.setattr(outages, "FROZEN_BEFORE_ELECTION_SECONDS", 1.0)
    monkeypatch.setattr(outages, "FROZEN_SECONDS", 6.0)
    monkeypatch.setattr(outages, "WORKER_ALONE_SECONDS", 2.0)
    figures = Figures()

    with new_database(SQLITE_URL, tmp_path) as url:
        measure(url, figures, lambda line: None)

    assert {what for what, _ in figures.seconds} == expected


def test_what_takes_longer_than_promised_is_said() -> None:
    figures = Figures()
    figures.add("rows", 3, 0.5)
    assert figures.are_kept

    figures.add("rows", 3, 3.25)
    figures.add("saves", 8, 8)

    assert not figures.are_kept
    assert list(figures.lines()) == [
        "rows: 0.5 3.2 s (at most 3)  MISSED",
        "saves: 8.0 s (at most 8)",
    ]


def test_a_wrong_option_is_told() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.support.stress.outages", "--minutes", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert result.returncode == 2
    assert "unrecognized arguments: --minutes 2" in result.stderr
