"""Ending another thread's session in the database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest
from django.db import DatabaseError, connection, transaction

from django_esdb.db.sessions import Session, end_session, session_of
from tests.support.supervising import SECONDS

pytestmark = pytest.mark.django_db(transaction=True)


class Other:
    """
    A thread within a transaction.

    Attributes:
        session: Its session.
        has_lost_it: Whether its next query has failed.
    """

    session: Session
    has_lost_it: bool | None = None


@contextmanager
def other_session() -> Iterator[Other]:
    """Have a thread in a transaction until the block ends."""
    other, begins, ends = Other(), threading.Event(), threading.Event()

    def stay() -> None:
        try:
            with transaction.atomic():
                other.session = session_of(connection)
                begins.set()
                ends.wait(SECONDS)
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
            other.has_lost_it = False
        except DatabaseError:
            other.has_lost_it = True
        finally:
            connection.close()

    # So that there is something to ask.
    connection.ensure_connection()
    thread = threading.Thread(target=stay)
    thread.start()
    try:
        assert begins.wait(SECONDS)
        yield other
    finally:
        ends.set()
        thread.join(SECONDS)


def test_one_that_is_over_is_no_error() -> None:
    with other_session() as other:
        pass

    end_session(other.session, lambda: None)


@pytest.fixture
def postgresql() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("others do not use numbers again, and assume no roles")


@pytest.mark.usefixtures("postgresql")
def test_a_session_that_has_got_the_number_meanwhile_is_left_alone() -> None:
    with other_session() as other:
        before = Session("default", other.session.identity, seen=monotonic() - 3600)
        end_session(before, lambda: None)

    assert other.has_lost_it is False


@pytest.mark.usefixtures("postgresql")
def test_an_assumed_role_does_not_keep_a_session_from_being_ended() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE pg_read_all_stats")
    try:
        with other_session() as other:
            end_session(other.session, lambda: None)
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user")
            assert cursor.fetchone() == ("pg_read_all_stats",)
    finally:
        connection.close()

    assert other.has_lost_it is True


def test_what_a_session_does_next_fails_once_it_is_ended() -> None:
    with other_session() as other:
        end_session(other.session, lambda: None)

    assert other.has_lost_it is True
