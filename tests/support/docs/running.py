"""
Runs the Python of the documentation's pages in the tutorial's project.

``python -m tests.support.docs.running PAGE...`` does so in the folder of the project,
whose environment says where the event store is. Each page begins with the names that
the tutorial has made, and with those that its text takes for granted.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from tests.support.docs.blocks import Block, blocks_of
from tests.support.docs.following import SECONDS, URI
from tests.support.projects import ROOT

# What projects read from the environment, with invented names and keys.
ENVIRONMENT = {
    "EVENTSTOREDB_USERNAME": "school",
    "EVENTSTOREDB_PASSWORD": "only for this test",
    "SCHOOL_CIPHER_KEY": "b25seSBmb3IgdGhpcyB0ZXN0IQ==",
}

COMMON = """
import uuid
from types import SimpleNamespace
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.core.mail import send_mail
from django.urls import include, path
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.persistence import Tracking
from eventsourcing.projection import Projection
from eventsourcing.utils import get_topic
from django_esdb import get_application, register_projection, wait_for
from django_esdb.admin import ReadModelAdmin
from django_esdb.recorders import DjangoTrackingRecorder
from django_esdb.registry import registry
from school.domain import Dog, TrainingSchool
from school.models import TrainedDog
from school.projections import SchoolProjection, SchoolView

school = get_application(TrainingSchool)
INSTALLED_APPS = []
MIDDLEWARE = []
"""

# What a page takes for granted besides, and what is tried with what it has defined.
BEFORE = {
    "docs/admin.md": """
from django_esdb.models import ProjectionLag as Licence
admin.site.unregister(TrainedDog)
""",
    "docs/deployment.md": """
from celery import Celery
app = Celery("school")
""",
    "docs/howto/failing-events.md": "registry.unregister('SchoolProjection')\n",
    "docs/howto/rebuild.md": "SchoolView2 = SchoolView\n",
    "docs/metadata.md": """
process_event = singledispatchmethod(lambda self, event, tracking: None)
RELEASE = "1"
""",
    "docs/persistence.md": """
app, dog_id = school, Dog.create_id("Bonzo")
school.register("Bonzo")
""",
    "docs/projections.md": """
name, trick = "Rex", "fetch"
school.register(name)
""",
    "docs/rebuilding.md": """
from uuid import UUID
from django.db.models import QuerySet
process_event = singledispatchmethod(lambda self, event, tracking: None)
request = SimpleNamespace(user=SimpleNamespace(pk=1))
_get = registry.get
registry.get = lambda name: _get({"School": "SchoolProjection"}.get(name, name))
""",
}
AFTER = {
    "docs/rebuilding.md": "del registry.get\n",
    "docs/clients.md": "factory.close()\n",
    "docs/howto/rename-an-event.md": """
from eventsourcing.persistence import (
    DatetimeAsISO, JSONTranscoder, Mapper, StoredEvent
)
transcoder = JSONTranscoder()
transcoder.register(DatetimeAsISO())
data = b'{"timestamp": null, "originator_topic": "page:Cat", "name": "Tom"}'
topic = get_topic(Cat.Registered)
cat = Mapper(transcoder).to_domain_event(StoredEvent(uuid.uuid4(), 0, topic, data))
assert cat.full_name == "Tom"
""",
    "docs/metadata.md": """
assert school.repository.get(Dog.create_id("Fido")).name == "Fido"
""",
    "docs/metrics.md": """
from django_esdb.contrib.opentelemetry import uninstrument
assert b"django_esdb_lag_events" in metrics(HttpRequest()).content
uninstrument()
""",
    "docs/persistence.md": """
assert school.repository.get(dog_id).tricks == ["roll over"]
""",
    "docs/projections.md": """
assert TrainedDog.objects.get(name="Rex").tricks == ["fetch"]
""",
}


@contextmanager
def as_before() -> Iterator[None]:
    """Undo what a page does with the environment and what it registers."""
    from django.contrib import admin

    from django_esdb.registry import registry

    environment, registered = dict(os.environ), dict(registry._registry)
    pages = dict(admin.site._registry)
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        registry._registry.clear()
        registry._registry.update(registered)
        admin.site._registry.clear()
        admin.site._registry.update(pages)


def run_page(name: str) -> dict[str, Any]:
    """Run a page's blocks in one namespace, and return it."""
    uri = os.environ["EVENTSTOREDB_URI"]
    # A module, since dataclasses ask for theirs.
    module = sys.modules["page"] = ModuleType("page")
    names = vars(module)
    exec(COMMON, names)
    exec(BEFORE.get(name, ""), names)
    for block in blocks_of(ROOT / name):
        if block.language == "python":
            _run(block, block.text.replace(URI, uri), names)
    exec(AFTER.get(name, ""), names)
    return names


def _run(block: Block, text: str, names: dict[str, Any]) -> None:
    for seconds in ("1", "2", "5", "10"):
        text = text.replace(f"timeout={seconds})", f"timeout={SECONDS})")
    # So that lines of tracebacks are the page's.
    text = "\n" * block.line + text
    code = compile(text, str(ROOT / block.page), "exec", dont_inherit=True)
    exec(code, names)


def check_settings(names: dict[str, Any]) -> list[str]:
    """Return what Django's checks find wrong with the settings that a page shows."""
    from django.conf import settings
    from django.core.checks import ERROR, run_checks
    from django.test import override_settings

    shown = {
        name: value
        for name, value in names.items()
        if name.startswith("ESDB_") and name != "ESDB_URI"
    }
    with override_settings(**shown):
        return [
            f"{each.id}: {each.msg}"
            for each in run_checks(databases=list(settings.DATABASES))
            if each.level >= ERROR
        ]


def main(pages: list[str], say: Callable[[str], Any] = sys.stdout.write) -> int:
    import django

    django.setup()
    failed = 0
    for name in pages:
        try:
            with as_before():
                names = run_page(name)
            wrong = check_settings(names)
            assert not wrong, wrong
        except Exception:
            failed += 1
            say(f"{name}\n{traceback.format_exc()}\n")
        else:
            say(f"{name}: run\n")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
