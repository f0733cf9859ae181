from __future__ import annotations

from django.db import models


class Entry(models.Model):
    """
    One for each time that an event was processed, in the order of that.

    Nothing is unique here, so that what is done twice is there twice.
    """

    position = models.PositiveBigIntegerField()
    text = models.CharField(max_length=255)

    class Meta:
        app_label = "journal"


class Tally(models.Model):
    """The only row: how often an event was processed, counted in two ways."""

    added = models.PositiveIntegerField(default=0)
    saved = models.PositiveIntegerField(default=0)

    class Meta:
        app_label = "journal"
