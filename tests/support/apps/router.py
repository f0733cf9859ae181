"""Read models in a database of their own."""

from __future__ import annotations

from typing import Any


class ReadModelRouter:
    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "reports" if model._meta.app_label == "training_school" else None

    db_for_write = db_for_read


class PrimaryRouter:
    """Writes go to one database, wherever a row was read from."""

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"
