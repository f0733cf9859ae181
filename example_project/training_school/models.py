"""The read models: what the pages and the admin show."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext


class Dog(models.Model):
    """One dog, as its events have left it; written by the projection alone."""

    id = models.UUIDField(primary_key=True, help_text=_("The aggregate's ID."))
    name = models.CharField(_("name"), max_length=255)
    tricks = models.JSONField(_("tricks"), default=list)

    class Meta:
        verbose_name = _("dog")
        verbose_name_plural = _("dogs")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class SchoolCounts(models.Model):
    """The only row: how many dogs and tricks there are."""

    dogs = models.PositiveIntegerField(_("dogs"), default=0)
    tricks = models.PositiveIntegerField(_("tricks"), default=0)

    class Meta:
        verbose_name = _("school counts")
        verbose_name_plural = _("school counts")

    def __str__(self) -> str:
        dogs = ngettext("%(count)s dog", "%(count)s dogs", self.dogs)
        tricks = ngettext("%(count)s trick", "%(count)s tricks", self.tricks)
        counts = dogs % {"count": self.dogs}, tricks % {"count": self.tricks}
        return ", ".join(counts)
