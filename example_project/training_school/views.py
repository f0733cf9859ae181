"""The pages. What they write is in ``writes``, what they read in ``models``."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from eventsourcing_eventstoredb.text import isolated
from example_project.training_school import writes
from example_project.training_school.forms import RegisterForm, TrickForm
from example_project.training_school.models import Dog, SchoolCounts

DOGS_PER_PAGE = 48

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]

_page_with_form = require_http_methods(["GET", "HEAD", "POST"])


def _needs_event_store(view: View[P]) -> View[P]:
    """Answer with status 503 when the event store cannot be used."""

    @wraps(view)
    def wrapper(
        request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs
    ) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except writes.EventStoreUnavailableError:
            return render(
                request,
                "training_school/event_store_unavailable.html",
                {"back": request.path},
                status=503,
            )

    return wrapper


@require_safe
def dog_list(request: HttpRequest) -> HttpResponse:
    paginator = Paginator(Dog.objects.all(), DOGS_PER_PAGE)
    context = {
        "page": paginator.get_page(request.GET.get("page")),
        "counts": SchoolCounts.objects.first() or SchoolCounts(),
    }
    return render(request, "training_school/dog_list.html", context)


@_page_with_form
@_needs_event_store
def register(request: HttpRequest) -> HttpResponse:
    form = RegisterForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        name = form.cleaned_data["name"]
        try:
            write = writes.register_dog(name)
        except writes.DogExistsError:
            form.add_error(
                "name",
                _("A dog called %(name)s is already registered.") % {"name": name},
            )
        else:
            if write.visible:
                messages.success(request, _("%(name)s is registered.") % {"name": name})
                return redirect("training_school:dog", write.dog_id)
            text = _("%(name)s's registration is recorded.") % {"name": name}
            _say_recorded(request, text)
            return redirect("training_school:dogs")
    return render(request, "training_school/register.html", {"form": form})


@_page_with_form
@_needs_event_store
def dog(request: HttpRequest, dog_id: UUID) -> HttpResponse:
    dog = get_object_or_404(Dog, id=dog_id)
    form = TrickForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        trick = form.cleaned_data["trick"]
        try:
            write = writes.add_trick(dog.name, trick)
        except writes.NoSuchDogError:
            raise Http404(_("The dog is not in the event store")) from None
        except writes.ConcurrentChangeError:
            text = _("Others are teaching this dog right now. Nothing was recorded.")
            form.add_error(None, text)
        else:
            if write.visible:
                name = isolated(dog.name)
                text = _("%(name)s has learned “%(trick)s”.")
                messages.success(request, text % {"name": name, "trick": trick})
            else:
                text = _("The trick “%(trick)s” is recorded.") % {"trick": trick}
                _say_recorded(request, text)
            return redirect("training_school:dog", write.dog_id)
    return render(request, "training_school/dog.html", {"dog": dog, "form": form})


def _say_recorded(request: HttpRequest, recorded: str) -> None:
    soon = _("It will show here soon: the pages are being brought up to date.")
    messages.info(request, f"{recorded} {soon}")
