"""
Which errors may pass by themselves: by the database's code, not by the error's class.

Drivers sort codes into classes in an order of their own: an index entry that is too
long is an ``OperationalError`` as a lost connection is, and a database that has become
a read-only replica an ``InternalError``. Codes are SQLSTATEs on PostgreSQL, errnos on
MariaDB and MySQL, and SQLite's result codes. Errors without one, such as those of a
connection that could not be made, are judged by their class.

======  =================================  ===============  ================  ========
cause   what it means                      SQLSTATE         errno             SQLite
======  =================================  ===============  ================  ========
LOCK    another transaction is in the way  40, 55P03        1205, 1213, ...   5, 6
IDLE    the transaction waited too long    25P03, 25P04
        and was ended
OUTAGE  lost, shut down, full, read-only,  08, 28, 3D000,   1045, 1053,       10, 13,
        or not let in                      53, 57, 58,      1114, 1290,       8, ...
                                           25006            2006, ...
EVENT   all else
======  =================================  ===============  ================  ========
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto

from django.db import Error as DatabaseError
from django.db import InterfaceError as DatabaseInterfaceError
from django.db import OperationalError as DatabaseOperationalError
from eventsourcing.persistence import (
    InterfaceError,
    OperationalError,
    PersistenceError,
)

from django_esdb.exceptions import PositionMovedError


class Cause(Enum):
    """
    What an error comes from.

    Attributes:
        LOCK: Another transaction; the same succeeds when that one has ended.
        IDLE: The database has ended a transaction that it has heard nothing of.
        OUTAGE: The database or the event store cannot be used now.
        EVENT: What was asked for; the same will fail again.
    """

    LOCK = auto()
    IDLE = auto()
    OUTAGE = auto()
    EVENT = auto()


# Deadlocks and serialization failures (class 40, except a constraint that fails at the
# commit), and locks that could not be had.
_LOCK_STATES = ("40", "55P03", "55006")
_NO_LOCK_STATES = ("40002",)
_IDLE_STATES = ("25P03", "25P04")
# Connections; who is let in, and a database that is not there, both while connecting;
# resources, such as space and connections; an operator's intervention, such as a
# shutdown; the system's own failures; read-only after a failover.
_OUTAGE_STATES = ("08", "28", "3D000", "53", "57", "58", "25006")

_LOCK_NUMBERS = {
    1020,  # A row has changed since it was read.
    1205,  # Lock wait timeout.
    1213,  # Deadlock.
    1223,  # FLUSH TABLES WITH READ LOCK.
    1412,  # A table has been altered since the transaction's snapshot.
    1614,  # Deadlock of XA transactions.
    1615,  # A statement has to be prepared again.
    1689,  # A lock wait was aborted.
    3058,  # Deadlock of user locks.
    3101,  # The commit clashes with one on another server of the group.
    3572,  # NOWAIT.
}
_OUTAGE_NUMBERS = {
    0,  # The connection is closed.
    # Files of the server's own: writing, reading, deleting, opening, their space.
    *(1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 18, 19, 20, 21, 23, 24, 25, 26),
    *(27, 29, 30),
    *(1016, 1023, 1024, 1026, 1028),  # Files that it cannot use now.
    *(1021, 1030, 1037, 1038, 1041, 1114, 1206, 1297, 1637),  # Space and memory.
    *(1180, 1598, 3100),  # The commit, such as its binary log.
    *(1040, 1042, 1043, 1129, 1135, 1203, 1226),  # Connecting.
    # Not let in, as while a password is changed or an account is locked.
    *(1044, 1045, 1130, 1251, 1698, 1820, 1862, 3118, 4151),
    1049,  # A database that is not there, as before it is restored.
    *(1047, 1053, 1077, 1079, 1080, 1152, 1184, 1927, 4031),  # Ended, or not ready.
    *(1154, 1155, 1156, 1157, 1158, 1159, 1160, 1161),  # The network.
    *(1290, 1792, 1836, 1874),  # Read-only.
    *(1317, 1969, 3024),  # Interrupted, or longer than statements may take.
    *(
        2001,
        2002,
        2003,
        2004,
        2005,
        2006,
        2012,
        2013,
        2014,
        2026,
        2027,
        2055,
        2059,
        2061,
    ),  # The client's.
}

# Primary result codes: BUSY and LOCKED.
_LOCK_RESULTS = {5, 6}
# NOMEM, READONLY, INTERRUPT, IOERR, CORRUPT, FULL, CANTOPEN, PROTOCOL, NOTADB.
_OUTAGE_RESULTS = {7, 8, 9, 10, 11, 13, 14, 15, 26}


def cause_of(error: BaseException) -> Cause:
    """Return what an error comes from; see the table above."""
    by_class = Cause.EVENT
    for each in _with_causes(error):
        cause = _by_code(each)
        if cause is not None:
            return cause
        if isinstance(
            each,
            (
                OperationalError,
                InterfaceError,
                PositionMovedError,
                DatabaseOperationalError,
                DatabaseInterfaceError,
            ),
        ):
            by_class = Cause.OUTAGE
    return by_class


def is_transient(error: BaseException) -> bool:
    """
    Return whether the same may succeed later, though nothing is changed.

    That is so for a lost connection, a locked database or a server that is not
    ready, and for a position that another process has moved.
    """
    return cause_of(error) is not Cause.EVENT


def is_refused_after_another(error: BaseException) -> bool:
    """Return whether PostgreSQL refuses a statement since one before has failed."""
    return any(_state_of(each) == "25P02" for each in _with_causes(error))


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and the driver's in it."""
    each: BaseException | None = error
    seen: set[int] = set()
    # One that was raised from what was raised from it leads in a circle.
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        # What else is raised from an error has its own reason.
        wraps = isinstance(each, DatabaseError | PersistenceError)
        each = each.__cause__ if wraps else None


def _by_code(error: BaseException) -> Cause | None:
    if not _has_code(error):
        return None
    state = _state_of(error)
    if state is not None:
        return _by_state(state)
    result = getattr(error, "sqlite_errorcode", None)
    if isinstance(result, int):
        # The rest says more, such as which kind of BUSY.
        return _by_number(result & 0xFF, _LOCK_RESULTS, _OUTAGE_RESULTS)
    number = error.args[0] if error.args else None
    if isinstance(number, int):
        return _by_number(number, _LOCK_NUMBERS, _OUTAGE_NUMBERS)
    return None


def _state_of(error: BaseException) -> str | None:
    # Of psycopg, and of psycopg2.
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return state if isinstance(state, str) else None


def _has_code(error: BaseException) -> bool:
    """Return whether it is a database's error, also a driver's that is not wrapped."""
    drivers = ("MySQLdb", "pymysql", "psycopg", "sqlite3", "_sqlite3")
    # What a class says of its module is not always a text.
    module = str(type(error).__module__)
    return isinstance(error, DatabaseError) or module.startswith(drivers)


def _by_state(state: str) -> Cause:
    if state.startswith(_LOCK_STATES) and state not in _NO_LOCK_STATES:
        return Cause.LOCK
    if state in _IDLE_STATES:
        return Cause.IDLE
    return Cause.OUTAGE if state.startswith(_OUTAGE_STATES) else Cause.EVENT


def _by_number(number: int, locks: set[int], outages: set[int]) -> Cause:
    if number in locks:
        return Cause.LOCK
    return Cause.OUTAGE if number in outages else Cause.EVENT
