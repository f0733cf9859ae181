"""Fields of files: what is stored, and under which name."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.files.base import ContentFile, File
from django.core.files.storage import InMemoryStorage
from django.db import models
from django.test.utils import isolate_apps

from tests.support.made_events import made_tables, outcomes

pytestmark = pytest.mark.django_db(transaction=True)

storage = InMemoryStorage()

with isolate_apps("tests.support.rows_app"):

    class Paper(models.Model):
        id = models.IntegerField(primary_key=True)
        file = models.FileField(storage=storage)
        seen = models.TextField(default="")

        class Meta:
            app_label = "rows_app"


def begin() -> None:
    for name in storage.listdir("")[1]:
        storage.delete(name)
    Paper.objects.create(id=1, file=ContentFile(b"one", name="a.txt"))


def see(rows: Any) -> None:
    paper = rows(Paper).get(1)
    with paper.file.open() as file:
        paper.seen += f"{paper.file.closed} {file.read().decode()}, "


def results(*events: Any) -> list[tuple[Any, ...]]:
    with made_tables(Paper):
        rows, failed = outcomes(Paper, events, begin=begin)
    assert not failed
    return rows


def test_a_file_of_the_same_name_is_stored() -> None:
    def replace(rows: Any) -> None:
        paper = rows(Paper).get(1)
        storage.delete(paper.file.name)
        paper.file = File(io.BytesIO(b"two"), name=paper.file.name)

    assert results(see, replace, see) == [(1, "a.txt", "False one, False two, ")]


def test_a_file_is_opened_anew_in_each_event() -> None:
    def read_a_part(rows: Any) -> None:
        assert rows(Paper).get(1).file.read(1) == b"o"

    def rename(rows: Any) -> None:
        rows(Paper).get(1).file = storage.save("b.txt", ContentFile(b"three"))

    def tidy(rows: Any) -> None:
        rows(Paper).get(1).file.delete(save=False)

    events = [read_a_part, read_a_part, see, rename, see, tidy]
    assert results(*events) == [(1, "", "False one, False three, ")]
