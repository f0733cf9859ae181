"""What is kept of where an error happened."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_esdb import tracebacks
from django_esdb.exceptions import EventCrashError, EventHangError, EventProcessingError
from django_esdb.tracebacks import (
    LONGEST_TRACEBACK,
    frame_of,
    safe_lines,
    traceback_of,
)

SECRET = "s3cret-w0rd"
# Each search for garbage lets the other thread run, which starts threads.
LOOK_AT_A_THREAD = """
import gc, threading, time
from django_esdb.tracebacks import frame_of

class Garbage:
    def __init__(self):
        self.itself = self

    def __del__(self):
        time.sleep(0.001)

def start_threads():
    while not is_over.is_set():
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()

is_over = threading.Event()
starting = threading.Thread(target=start_threads)
starting.start()
gc.set_threshold(1)
for _ in range(200):
    [Garbage() for _ in range(3)]
    assert frame_of(threading.get_ident())
is_over.set()
starting.join()
"""
KEY = f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----"


def caught(act: Callable[[], object]) -> BaseException:
    try:
        act()
    except BaseException as error:
        return error
    raise AssertionError


def raise_(error: BaseException) -> None:
    raise error


def test_the_place_and_the_cause_come_last() -> None:
    lines = traceback_of(caught(lambda: 1 / 0)).split("\n")

    assert lines[0] == "Traceback (most recent call last):"
    assert any("test_tracebacks.py" in line for line in lines)
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_of_an_event_s_error_the_handler_s_is_shown() -> None:
    failure = EventProcessingError("stopped")
    failure.__cause__ = caught(lambda: {}["x"])

    text = traceback_of(caught(lambda: raise_(failure)))

    assert text.endswith("\nKeyError: 'x'")
    assert "EventProcessingError" not in text


def test_where_an_event_hangs_is_shown() -> None:
    error = EventHangError("hangs")
    error.stack = '  File "x.py", line 3, in f\n    sleep(9)\n'

    assert traceback_of(error) == error.stack.rstrip()


@pytest.mark.parametrize("error", [EventCrashError("ended"), ValueError("made")])
def test_what_was_raised_nowhere_has_no_place(error: Exception) -> None:
    assert traceback_of(error) == ""


@pytest.mark.parametrize(
    "text", [KEY, KEY[:50], f"esdb://u:{SECRET}@h", f"x\nkdb+discover://u:{SECRET}@h/"]
)
def test_secrets_are_masked_and_so_are_causes(text: str) -> None:
    def fail() -> None:
        try:
            raise ValueError(text)
        except ValueError as error:
            raise KeyError(text) from error

    shown = traceback_of(caught(fail))

    assert SECRET not in shown
    assert "********" in shown
    assert "ValueError" in shown


def test_endless_recursion_is_bounded_and_keeps_its_cause() -> None:
    def again(n: int) -> int:
        return again(n + 1) + 1

    text = traceback_of(caught(lambda: again(0)))

    assert len(text) <= LONGEST_TRACEBACK
    assert text.splitlines()[-1].startswith("RecursionError")


@given(st.text() | st.text(alphabet="\0\n\r\x1b\u2028\u202e\ud800 x").map("x\n".join))
def test_lines_are_bounded_and_can_be_seen(text: str) -> None:
    shown = safe_lines(text)

    assert len(shown) <= LONGEST_TRACEBACK
    assert all(line.isprintable() for line in shown.split("\n"))
    assert safe_lines(shown) == shown
    shown.encode()


def test_a_long_text_loses_its_beginning() -> None:
    lines = [f"line {n}" for n in range(5000)]

    shown = safe_lines("\n".join(lines)).split("\n")

    assert shown[0] == "[...]"
    assert shown[1:] == lines[-len(shown) + 1 :]


def test_of_millions_of_lines_no_more_are_made_safe_than_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    safe_line = tracebacks._safe_line
    monkeypatch.setattr(
        tracebacks, "_safe_line", lambda line: made.append(line) or safe_line(line)
    )

    shown = traceback_of(caught(lambda: raise_(ValueError("x\n" * 1_000_000))))

    assert len(shown) <= LONGEST_TRACEBACK
    assert len(made) <= LONGEST_TRACEBACK


class NotedError(Exception):
    @property
    def __notes__(self) -> list[str]:
        raise SystemExit


def test_an_error_whose_notes_fail_has_its_places() -> None:
    text = traceback_of(caught(lambda: raise_(NotedError("text"))))

    assert "in raise_" in text
    assert text.endswith("\nNotedError: text")


def test_of_a_thread_the_frame_is_where_it_is() -> None:
    frame = frame_of(threading.get_ident())

    assert frame is not None
    assert frame.f_back is sys._getframe()
    assert gc.isenabled()
    assert frame_of(0) is None


def test_to_look_at_a_thread_locks_no_others() -> None:
    looked = subprocess.run(
        [sys.executable, "-c", LOOK_AT_A_THREAD],
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert (looked.returncode, looked.stderr) == (0, "")
