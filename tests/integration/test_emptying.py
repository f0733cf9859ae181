from __future__ import annotations

from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import TransactionTestCase

from example_project.training_school.models import Dog
from tests.support.emptying import empty

pytestmark = pytest.mark.django_db(transaction=True)


def permissions() -> list[tuple[str, ...]]:
    return sorted(Permission.objects.values_list("content_type__model", "codename"))


def test_nothing_is_left_but_what_migrations_make() -> None:
    made = permissions()
    Dog.objects.create(id=uuid4(), name="Fido")
    user = User.objects.create_user("operator")
    user.user_permissions.add(*Permission.objects.all())

    for _ in range(2):
        empty(TransactionTestCase())

        assert not Dog.objects.exists()
        assert not User.objects.exists()
        assert not User.user_permissions.through.objects.exists()
        assert permissions() == made


def test_what_migrations_make_is_made_anew_where_a_test_has_changed_it() -> None:
    made = permissions()
    empty(TransactionTestCase())
    ContentType.objects.get_for_model(Dog).delete()
    Permission.objects.filter(codename__startswith="add").update(codename="do")
    assert permissions() != made

    empty(TransactionTestCase())

    assert permissions() == made


def test_a_table_may_be_elsewhere_meanwhile() -> None:
    empty(TransactionTestCase())
    Dog.objects.create(id=uuid4(), name="Fido")
    table = Dog._meta.db_table
    with connection.schema_editor() as editor:
        editor.alter_db_table(Dog, table, "elsewhere")
    try:
        User.objects.create_user("operator")

        empty(TransactionTestCase())

        assert not User.objects.exists()
    finally:
        with connection.schema_editor() as editor:
            editor.alter_db_table(Dog, "elsewhere", table)
    assert Dog.objects.exists()

    empty(TransactionTestCase())

    assert not Dog.objects.exists()
