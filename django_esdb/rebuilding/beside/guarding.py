"""Seeing to it that a build changes nothing but its own tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from django.apps import apps

from django_esdb.db.effects import text_of
from django_esdb.exceptions import BuildBesideError

_TEXTS = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)
# What a statement changes, as Django and people write it.
_CHANGED = re.compile(
    r"\b(?:INSERT\s+(?:IGNORE\s+|OR\s+\w+\s+)?INTO|REPLACE\s+INTO|MERGE\s+INTO"
    r"|DELETE\s+FROM|TRUNCATE(?:\s+TABLE)?|COPY"
    # Neither an upsert's, nor a lock.
    r"|(?<!KEY )(?<!FOR )UPDATE(?!\s+SET\b))\s+(?:ONLY\s+)?"
    r"((?:[\"`]?\w+[\"`]?\.)?[\"`]?\w+[\"`]?)",
    re.IGNORECASE,
)
# Behind these a name is a table's, and not that of a column.
_BEFORE_TABLES = r"(?:FROM|JOIN|INTO|UPDATE|TABLE|ONLY|TRUNCATE|COPY|,)\s+"
_MOST_SHOWN = 60


class StatementGuard:
    """
    Refuses statements of a build that name a table in use, or change another's rows.

    Args:
        projection: Whose build it is, for messages.
        in_use: The tables that the second set is for.
        own: The tables that may be changed: the second set, and this app's.
        columns: Names of columns, which a table in use may have, too.

    Attributes:
        refused: The first statement that was refused; None if none was.
    """

    def __init__(
        self,
        projection: str,
        in_use: Iterable[str],
        own: Iterable[str],
        columns: Iterable[str] = (),
    ) -> None:
        self._projection = projection
        self._own = {name.lower() for name in own}
        columns = {name.lower() for name in columns}
        names = []
        for table in in_use:
            word = rf"(?<![\w$]){re.escape(table)}(?![\w$])"
            if table.lower() in columns:
                word = rf"{_BEFORE_TABLES}[\"`]?{word}|{word}[\"`]?\s*\."
            names.append(word)
        self._in_use = re.compile("|".join(names), re.IGNORECASE)
        self.refused: BuildBesideError | None = None

    def execute_wrapper(
        self,
        execute: Callable[..., Any],
        sql: Any,
        params: Any,
        many: bool,
        context: Any,
    ) -> Any:
        """Take the hook that Django has for every statement."""
        connection = context["connection"]
        text = text_of(sql, connection.connection)
        self.check(text)
        return execute(sql, params, many, context)

    def check(self, text: str) -> None:
        """
        Look at a statement.

        Raises:
            BuildBesideError: It names a table in use, or changes rows of a table that
                is not the build's.
        """
        bare = _TEXTS.sub("''", text)
        found = self._in_use.search(bare)
        if found is not None:
            self._refuse(
                text,
                "names a table in use; write it with the model's _meta.db_table, or by "
                "the ORM",
            )
        for table in _CHANGED.findall(bare):
            name = table.replace('"', "").replace("`", "").rpartition(".")[2]
            if name.lower() not in self._own:
                self._refuse(
                    text,
                    f"changes rows of {name}, which is of none of the view's "
                    "read_models: a build would change what the site reads",
                )

    def _refuse(self, text: str, why: str) -> None:
        statement = " ".join(text.split())[:_MOST_SHOWN]
        error = BuildBesideError(
            f"{self._projection} cannot be rebuilt next to the rows in use: a "
            f"handler's statement ({statement} ...) {why}"
        )
        self.refused = self.refused or error
        raise error


def own_tables_of_app() -> list[str]:
    """Return the tables in which this app keeps positions and what goes with them."""
    return [
        model._meta.db_table
        for model in apps.get_app_config("django_esdb").get_models()
    ]
