"""
What every servicer does around its methods: turn errors into a status.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from .errors import HandlerError, ProtocolError
from .notifications import Listener, Notifier
from .sending import CallEndedError

logger = logging.getLogger(__name__)


@contextmanager
def answering(context: grpc.ServicerContext) -> Iterator[None]:
    """
    End the call with the status that an error stands for.

    An error that nobody foresaw is logged and answered as the real server answers
    one of its own: it ends this call and nothing else.
    """
    try:
        yield
    except ProtocolError as error:
        _abort(context, error)
    except CallEndedError:
        pass
    except GeneratorExit:
        raise
    except Exception as error:
        if not context.is_active():
            return
        logger.exception("A call failed unexpectedly.")
        _abort(context, HandlerError(str(error)))


def _abort(context: Any, error: ProtocolError) -> None:
    if error.trailers:
        context.set_trailing_metadata(error.trailers)
    context.abort(getattr(grpc.StatusCode, error.code), error.details)


@contextmanager
def listening(
    context: grpc.ServicerContext, notifier: Notifier, listener: Listener
) -> Iterator[Listener]:
    """
    Keep a listener for as long as the call lasts.

    The end of the call closes it from grpcio's thread, so a thread that waits on it
    is set free when the client vanishes or the server stops.
    """
    notifier.add(listener)
    try:
        if not context.add_callback(listener.close):
            listener.close()
        yield listener
    finally:
        notifier.remove(listener)
