"""The read models: what the pages and the admin show."""

from __future__ import annotations

from django.db import models


class Dog(models.Model):
    """One dog, as its events have left it; written by the projection alone."""

    id = models.UUIDField(primary_key=True, help_text="The aggregate's ID.")
    name = models.CharField(max_length=255)
    tricks = models.JSONField(default=list)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class SchoolCounts(models.Model):
    """The only row: how many dogs and tricks there are."""

    dogs = models.PositiveIntegerField(default=0)
    tricks = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name = "school counts"
        verbose_name_plural = "school counts"

    def __str__(self) -> str:
        return f"{self.dogs} dogs, {self.tricks} tricks"
