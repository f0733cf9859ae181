"""Undocumented parts of others that are used, and questions that have one place."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.db.models import sql
from django.db.models.base import ModelState
from django.test.utils import CaptureQueriesContext
from django.utils.module_loading import autodiscover_modules
from eventsourcing import projection as library
from eventsourcing import utils
from eventsourcing.utils import register_topic

from django_esdb import private
from django_esdb.recorders.rows.instances.own_saves import is_writing_row_of
from django_esdb.registry import registry
from example_project.training_school.models import Dog
from tests.support.projects import ROOT
from tests.support.rows_app.models import Animal, Owner

# Private by their spelling alone.
_DOCUMENTED = {
    "_base_manager",
    "_current_frames",
    "_default_manager",
    "_exit",
    "_getframe",
    "_meta",
    "_state",
}
_VENDOR = re.compile(r"\.vendor\b|mysql_is_mariadb|\.features\.")

# Not spelled as private, but not documented either, and with a public way.
_UNDOCUMENTED = re.compile(
    r"needs_rollback|health_check_done|close_at|errors_occurred|queries_log"
    r"|force_debug_cursor|__class__ = "
)


def sources() -> dict[str, str]:
    return {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for package in ("django_esdb", "example_project")
        for path in (ROOT / package).rglob("*.py")
    }


def own_names(tree: ast.AST) -> Iterator[str]:
    """Yield what a module defines or sets on its own objects."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # One of __slots__.
            yield node.value
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        ):
            yield node.attr


def test_private_parts_of_others_are_listed() -> None:
    trees = [ast.parse(source) for source in sources().values()]
    own = {name for tree in trees for name in own_names(tree)}

    used = {
        node.attr
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr)
    }

    foreign = used - own - _DOCUMENTED
    assert {name for name in foreign if name not in str(private.__doc__)} == set()


def test_one_package_asks_which_vendor_a_database_is() -> None:
    asking = {path for path, source in sources().items() if _VENDOR.search(source)}

    assert {path for path in asking if not path.startswith("django_esdb/db/")} == set()


def test_what_has_a_public_way_is_used_by_it() -> None:
    assert [p for p, source in sources().items() if _UNDOCUMENTED.search(source)] == []


def test_the_library_has_the_event_loop_that_is_overridden() -> None:
    loop = library.ProjectionRunner._process_events_loop

    assert list(inspect.signature(loop).parameters) == [
        *("subscription", "projection", "is_stopping", "runner")
    ]
    assert "_thread_error" in inspect.getsource(library)


def test_the_library_keeps_former_names_in_its_cache() -> None:
    register_topic("former_module:Dog", Dog)

    assert utils._topic_cache["former_module:Dog"] is Dog


def test_autodiscovery_still_asks_for_the_private_registry() -> None:
    assert "register_to._registry" in inspect.getsource(autodiscover_modules)
    assert isinstance(registry._registry, dict)


@pytest.mark.django_db(transaction=True)
def test_django_still_keeps_callbacks_in_a_list() -> None:
    with transaction.atomic():
        transaction.on_commit(int)

        [(_, function, is_robust)] = connection.run_on_commit
        assert (function, is_robust) == (int, False)


@pytest.mark.django_db
def test_django_still_has_what_watches_statements() -> None:
    def wrapper(*args: Any) -> None:
        """Stand for one."""

    with connection.execute_wrapper(wrapper):
        assert connection.execute_wrappers[-1] is wrapper
    with CaptureQueriesContext(connection) as statements, connection.cursor() as cursor:
        with cursor.debug_sql("COPY dogs FROM STDIN"):
            assert not statements.captured_queries
        [found] = statements.captured_queries
    assert found["sql"] == "COPY dogs FROM STDIN"


@pytest.mark.django_db
def test_django_still_inserts_rows_as_they_are() -> None:
    query = sql.InsertQuery(Dog)
    fields = list(Dog._meta.concrete_fields)
    query.insert_values(
        fields, [Dog(id=uuid4(), name="Fido", tricks=["sit"])], raw=True
    )

    query.get_compiler(using="default").execute_sql()

    assert Dog.objects.get().tricks == ["sit"]


@pytest.mark.django_db
def test_rows_are_still_written_by_methods_of_their_own() -> None:
    found: list[bool] = []
    owner = Owner(name="Ann")

    def look(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith(("INSERT", "UPDATE")):
            found.append(is_writing_row_of(owner))
        return execute(sql, *args)

    with connection.execute_wrapper(look):
        owner.save()
        owner.save()
        Owner.objects.update(visits=1)

    # It is looked for before it is inserted.
    assert found[-3:] == [True, True, False]


def test_instances_still_remember_relations_in_their_state() -> None:
    animal = Animal(owner=Owner(name="Ann"))

    assert list(animal._state.fields_cache) == ["owner"]
    assert not ModelState().__dict__
