"""Metrics that a command serves while it runs projections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from django.core.management.base import CommandError

from django_esdb.exceptions import MissingExtraError
from django_esdb.management.base import CONFIGURATION
from django_esdb.registry import Registration
from eventsourcing_eventstoredb.text import LONGEST_NAME, one_line, quoted


@contextmanager
def metrics_served(
    registrations: Sequence[Registration],
    host: str,
    port: int | None,
    say: Callable[[str], None],
) -> Iterator[None]:
    """
    Serve metrics of these projections while the block runs.

    Args:
        registrations: The projections.
        host: The address to serve them on.
        port: The port; 0 for one that is free, None to serve none.
        say: Told where they are.

    Raises:
        CommandError: The extra is not installed, or the port cannot be used.
    """
    if port is None:
        yield
        return
    try:
        # An extra, which most do without.
        from django_esdb.contrib.prometheus.server import MetricsServer
    except MissingExtraError as error:
        raise CommandError(str(error), returncode=CONFIGURATION) from None
    shown = one_line(host, LONGEST_NAME)
    where = f"[{shown}]" if ":" in host else shown
    try:
        server = MetricsServer(registrations, host=host, port=port)
    except UnicodeError as error:
        # Python makes it of names that can be none, before it asks for their address.
        msg = f"--metrics-host {quoted(host)} is no address: {one_line(error)}"
        raise CommandError(msg, returncode=CONFIGURATION) from None
    except OSError as error:
        msg = (
            f"Metrics cannot be served on {where}:{port}: "
            f"{error.strerror or one_line(error)}; choose another --metrics-port"
        )
        raise CommandError(msg, returncode=CONFIGURATION) from None
    say(f"Metrics at http://{where}:{server.port}/metrics")
    try:
        yield
    finally:
        server.close()
