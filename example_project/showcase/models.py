"""The read models, which only the admin shows."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Certificate(models.Model):
    """What a dog is given for a trick that it has learned."""

    dog_id = models.UUIDField(_("dog"))
    trick = models.CharField(_("trick"), max_length=255)

    class Meta:
        verbose_name = _("certificate")
        verbose_name_plural = _("certificates")
        ordering = ("id",)

    def __str__(self) -> str:
        return self.trick


class Newcomer(models.Model):
    """A dog that the school's friends are to be told of."""

    id = models.UUIDField(primary_key=True)
    name = models.CharField(_("name"), max_length=255)

    class Meta:
        verbose_name = _("newcomer")
        verbose_name_plural = _("newcomers")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class PopularTrick(models.Model):
    """How many dogs have learned a trick."""

    trick = models.CharField(_("trick"), max_length=255, primary_key=True)
    dogs = models.PositiveIntegerField(_("dogs"), default=0)

    class Meta:
        verbose_name = _("popular trick")
        verbose_name_plural = _("popular tricks")
        ordering = ("-dogs", "trick")

    def __str__(self) -> str:
        return self.trick
