from __future__ import annotations

import os
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.support.databases import (
    SQLITE_URL,
    connected,
    copied_database,
    query,
    template_database,
)

# Where it is made does not depend on Django, but on the kind of server.
pytestmark = pytest.mark.django_db

URL = os.environ.get("DATABASE_URL", SQLITE_URL)


def test_who_comes_first_fills_a_template_and_who_ends_last_drops_it(
    tmp_path: Path,
) -> None:
    filled = []

    def fill(url: str) -> None:
        filled.append(url)
        with connected(url) as connection, closing(connection.cursor()) as cursor:
            cursor.execute("CREATE TABLE dogs (name varchar(10))")
            cursor.execute("INSERT INTO dogs VALUES ('Fido')")

    for _ in range(2):
        with ExitStack() as last:
            with template_database(URL, tmp_path / "template", fill) as first:
                second = last.enter_context(
                    template_database(URL, tmp_path / "template", fill)
                )

            assert first == second == filled[-1]
            with copied_database(second, tmp_path) as copy:
                assert query(copy, "SELECT name FROM dogs") == [("Fido",)]
            assert query(second, "SELECT name FROM dogs") == [("Fido",)]

    assert len(filled) == 2


def test_a_template_that_cannot_be_filled_is_tried_again(tmp_path: Path) -> None:
    def fail(url: str) -> None:
        raise LookupError(url)

    with (
        pytest.raises(LookupError),
        template_database(URL, tmp_path / "template", fail),
    ):
        pass

    with template_database(URL, tmp_path / "template", lambda _: None) as url:
        assert query(url, "SELECT 1") == [(1,)]
