"""All pages of the site: who gets each, and what can be pressed on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from django.db import models
from django.urls import get_resolver, reverse

from django_esdb.admin.operations import OPERATIONS
from django_esdb.models import (
    FailedEvent,
    ProjectionTracking,
    SkippedEvent,
    StoredEvent,
)
from example_project.showcase.models import Certificate, Newcomer, PopularTrick
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog, SchoolCounts
from tests.support.browsers import Browser
from tests.support.dashboards import LONG, NAMES
from tests.support.filled_site import Filled
from tests.support.staff import may

# The admin's own pages, on which nothing of the project is, and what is for probes.
NOT_LOOKED_AT = {
    *("admin:logout", "admin:password_change", "admin:password_change_done"),
    *("admin:autocomplete", "admin:jsi18n", "admin:view_on_site"),
    *("django_esdb:live", "django_esdb:ready"),
}
_READ_MODELS = (Dog, SchoolCounts, Certificate, Newcomer, PopularTrick)
_FORBIDDEN, _NOT_FOUND, _NOT_ALLOWED = 403, 404, 405
# A permission that no user has, superusers included.
NEVER = "never"


@dataclass(frozen=True, kw_only=True)
class Page:
    """
    A page, and what is to be on it.

    Attributes:
        path: Where it is.
        needs: Which permissions it takes, besides an account; None if it takes none.
        status: With which it is sent to those who have them.
        refusal: With which it is sent to others who have an account.
        presses: What can be pressed on it, and which permission that takes; an empty
            text for none besides those of the page.
        reach: What to do on the page before, at ``path``, to get to this one.
        is_part: Whether it is part of another page.
    """

    path: str
    needs: tuple[str, ...] | None = ()
    status: int = 200
    refusal: int = _FORBIDDEN
    presses: Mapping[str, str] = field(default_factory=dict)
    reach: Callable[[Browser], None] | None = None
    name: str = ""
    is_part: bool = False

    def is_for(self, kind: str) -> bool:
        """Return whether users of a kind get it."""
        if self.needs is None:
            return True
        return NEVER not in self.needs and may(kind, *self.needs)

    def pressed(self, kind: str) -> set[str]:
        """Return what users of a kind find on it to press."""
        return {
            label
            for label, needs in self.presses.items()
            if not needs or may(kind, needs)
        }


def view_names() -> set[str]:
    """Return the names of all views of the site, but for those of the admin's own."""
    return {
        name
        for name in _names(get_resolver())
        if not name.startswith("admin:auth_") and name not in NOT_LOOKED_AT
    }


def _names(resolver: Any, space: str = "") -> Iterator[str]:
    for each in resolver.url_patterns:
        if hasattr(each, "url_patterns"):
            inner = f"{space}{each.namespace}:" if each.namespace else space
            yield from _names(each, inner)
        elif each.name:
            yield f"{space}{each.name}"


def all_pages(filled: Filled) -> list[Page]:
    """Return the pages of a site that is filled."""
    return [
        *_example(filled),
        *_djangos(),
        *_dashboard(),
        *_projections(filled),
        *_failed_events(filled),
        *_skipped_events(filled),
        *_stored_events(filled),
        *_read_models(),
    ]


def press(browser: Browser, label: str, of: str = "") -> None:
    """
    Press what has a label, and wait for the page that it leads to.

    Args:
        browser: It shows the page.
        label: What stands on it.
        of: What it is about, where there is one for each of several things.
    """
    [found] = [
        each
        for each in _pressable(browser)
        if _label(each) == label and _whole_label(each).endswith(of)
    ]
    browser.leave_by(found)


def labels(browser: Browser) -> set[str]:
    """Return what a page has to press and to choose, but for links within texts."""
    options = browser.texts("select[name=action] option:not([value=''])")
    return {_label(each) for each in _pressable(browser)} | set(options)


def _pressable(browser: Browser) -> list[Any]:
    return browser.all("#content form[method=post] [type=submit], #content a.button")


def _label(element: Any) -> str:
    """Return what stands on something to press, without what it is about."""
    return _whole_label(element).partition(":")[0].strip()


def _whole_label(element: Any) -> str:
    is_input = element.tag_name == "input"
    text: str = element.get_attribute("value") if is_input else element.text
    return text


def _example(filled: Filled) -> Iterator[Page]:
    dogs = reverse("training_school:dogs")
    register = reverse("training_school:register")
    dog = reverse("training_school:dog", args=[filled.dog.pk])
    absent = reverse("training_school:dog", args=[UUID(int=0)])
    yield Page(path=dogs, needs=None, presses={"Register a dog": ""})
    yield Page(path=f"{dogs}?page=2", needs=None, presses={"Register a dog": ""})
    for path, label, values in (
        (register, "Register", {"name": ""}),
        (dog, "Add", {"trick": "x" * 256}),
    ):
        yield Page(path=path, needs=None, presses={label: ""})
        yield Page(
            name="with a mistake",
            path=path,
            needs=None,
            presses={label: ""},
            reach=_submit(values),
        )
    yield Page(path=absent, needs=None, status=_NOT_FOUND, presses={"All dogs": ""})


def _submit(values: dict[str, str]) -> Callable[[Browser], None]:
    return lambda browser: browser.submit(**values)


def _djangos() -> Iterator[Page]:
    yield Page(path=reverse("admin:login"), needs=None)
    yield Page(path=reverse("admin:index"))


def _dashboard() -> Iterator[Page]:
    view = "view_projectiontracking"
    index = reverse("admin:app_list", args=["django_esdb"])
    yield Page(
        path=index,
        needs=(view,),
        refusal=_NOT_FOUND,
        presses={str(each.label): each.permission for each in OPERATIONS.values()},
    )
    yield Page(
        path=reverse("admin:django_esdb_projectiontracking_figures"),
        needs=(view,),
        is_part=True,
    )
    chosen = {"retry": "Invoices", "accept": "Invoices", "resume": "Newsletter"}
    for each in OPERATIONS.values():
        yield Page(
            path=operation_page(each.name, chosen.get(each.name, LONG)),
            needs=(view, each.permission),
            presses={str(each.label): "", "No, take me back": ""},
        )
    yield Page(
        name="of no use",
        path=operation_page("resume", LONG),
        needs=(view, "resume_projectiontracking"),
    )


def operation_page(operation: str, projection: str) -> str:
    """Return where a button of the dashboard leads."""
    return reverse(
        "admin:django_esdb_projectiontracking_operation", args=[operation, projection]
    )


def page_of(model: type[models.Model], name: str, *args: Any, **query: Any) -> str:
    """Return where the admin's page of a model is."""
    opts = model._meta
    found = reverse(f"admin:{opts.app_label}_{opts.model_name}_{name}", args=args)
    return f"{found}?{urlencode(query, quote_via=quote)}" if query else found


def _usual(
    model: type[models.Model], row: models.Model | None = None
) -> Iterator[Page]:
    """Yield the pages that each model has in the admin, but for the list."""
    row = row or model._default_manager.order_by("pk").first()
    assert row is not None
    view = f"view_{model._meta.model_name}"
    yield Page(path=page_of(model, "history", row.pk), needs=(view,))
    yield Page(path=page_of(model, "add"), needs=(NEVER,))
    yield Page(path=page_of(model, "delete", row.pk), needs=(NEVER,))


def _projections(filled: Filled) -> Iterator[Page]:
    model = ProjectionTracking
    needs = ("view_projectiontracking",)
    permission = "retry_failedevent"
    action = {"Go": permission, "Retry failed events, and resume if paused": permission}
    yield Page(path=page_of(model, "changelist"), needs=needs, presses=action)
    for query in ({"q": "Invoices"}, {"state__exact": "paused"}):
        page = page_of(model, "changelist", **query)
        yield Page(path=page, needs=needs, presses=action)
    for name in NAMES:
        row = filled.row(name)
        yield Page(path=page_of(model, "change", row.pk), needs=needs)
    yield from _usual(model)


def _failed_events(filled: Filled) -> Iterator[Page]:
    model = FailedEvent
    needs = ("view_failedevent",)
    actions = {
        "Go": "retry_failedevent",
        "Retry selected events": "retry_failedevent",
        "Discard selected events": "discard_failedevent",
    }
    listed = page_of(model, "changelist")
    yield Page(path=listed, needs=needs, presses=actions)
    group = {"projection": "Invoices", "error_kind": "KeyError: 'name'"}
    yield Page(path=page_of(model, "changelist", **group), needs=needs, presses=actions)
    page = f"{listed}?q=nothing"
    yield Page(path=page, needs=needs, presses=actions)
    yield Page(path=page_of(model, "groups"), needs=needs)
    presses = {
        "What would a retry do?": "debug_failedevent",
        "Retry": "retry_failedevent",
        "Discard": "discard_failedevent",
    }
    for event in (filled.failing, filled.waiting, filled.working):
        page = page_of(model, "change", event.pk)
        yield Page(path=page, needs=needs, presses=presses)
    for event in (filled.failing, filled.working):
        yield Page(
            name="trial",
            path=page_of(model, "change", event.pk),
            needs=(*needs, "debug_failedevent"),
            reach=lambda browser: press(browser, "What would a retry do?"),
        )
    yield Page(
        name="confirmation",
        path=page_of(model, "change", filled.failing.pk),
        needs=(*needs, "discard_failedevent"),
        presses={"Yes, discard": "", "No, take me back": ""},
        reach=lambda browser: press(browser, "Discard"),
    )
    for name in ("retry", "trial"):
        page = page_of(model, name, filled.failing.pk)
        yield Page(path=page, status=_NOT_ALLOWED)
    yield from _usual(model, filled.failing)


def _skipped_events(filled: Filled) -> Iterator[Page]:
    model = SkippedEvent
    needs = ("view_skippedevent",)
    yield Page(path=page_of(model, "changelist"), needs=needs)
    yield Page(path=page_of(model, "changelist", projection="Invoices"), needs=needs)
    yield Page(path=page_of(model, "change", filled.skipped.pk), needs=needs)
    yield from _usual(model, filled.skipped)


def _stored_events(filled: Filled) -> Iterator[Page]:
    model = StoredEvent
    needs = ("view_storedevent",)
    application = TrainingSchool.name
    for query in (
        {},
        {"application": application, "stream": filled.dog.pk},
        {"application": application, "topic": filled.waiting.topic, "since": "2h"},
        {"application": application, "topic": "school:No.Such"},
        {"application": application, "stream": "a", "prefix": "b", "since": "yore"},
        {"application": application, "before": filled.caused},
        {"application": "NoSuchApplication"},
    ):
        yield Page(path=page_of(model, "changelist", **query), needs=needs)
    for position in (filled.failing.position, filled.caused, 10**15):
        place = {"application": application, "position": position}
        yield Page(path=page_of(model, "event", **place), needs=needs)
        # It leads to the event's page, where there is one.
        cause = page_of(model, "cause", **place)
        yield Page(path=cause, needs=(*needs, "view_payload"))


def _read_models() -> Iterator[Page]:
    for model in _READ_MODELS:
        needs = (f"view_{model._meta.model_name}",)
        yield Page(path=page_of(model, "changelist"), needs=needs)
        row = model._default_manager.order_by("pk")[0]
        yield Page(path=page_of(model, "change", row.pk), needs=needs)
        yield from _usual(model)
