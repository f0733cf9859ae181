"""What probes and load balancers ask a site for."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import Error as DatabaseError
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from django_esdb.conf import settings
from django_esdb.status.health import Health, projection_health

_UNAVAILABLE = 503


@login_not_required
@require_safe
@never_cache
def live(request: HttpRequest) -> HttpResponse:
    """
    Say that this process answers, with status 200.

    Asks nothing else, since a restart of this process would be no remedy for that.
    """
    return JsonResponse({"status": "live"})


@login_not_required
@require_safe
@never_cache
def ready(request: HttpRequest) -> HttpResponse:
    """
    Say whether all projections are healthy and the event store is there.

    Status 200 if it is so, else 503. Asks the database with one query, and not the
    event store: workers say what that is at.
    """
    try:
        found = projection_health(
            max_behind=settings.ESDB_MAX_BEHIND, max_idle=settings.ESDB_MAX_IDLE
        )
    except DatabaseError:
        # The client need not be told more; Django's log has it.
        answer = {"status": "not ready", "reason": "a database cannot be used"}
        return JsonResponse(answer, status=_UNAVAILABLE)
    is_ready = all(each.is_ready for each in found)
    return JsonResponse(
        {
            "status": "ready" if is_ready else "not ready",
            "projections": [_projection(each) for each in found],
        },
        status=200 if is_ready else _UNAVAILABLE,
    )


# Else ATOMIC_REQUESTS would begin with a database that may be away.
for _alias in connections:
    live = transaction.non_atomic_requests(_alias)(live)
    ready = transaction.non_atomic_requests(_alias)(ready)


def _projection(health: Health) -> dict[str, Any]:
    # Anybody may ask: errors and owners stay inside.
    status = health.status
    return {
        "name": status.projection,
        "state": status.state,
        "is_healthy": health.is_healthy,
        "is_ready": health.is_ready,
        "reason": health.unready,
        "behind_events": status.lag.events,
        "behind_is_exact": status.lag.is_exact,
        "behind_seconds": status.lag.seconds,
    }
