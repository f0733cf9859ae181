"""
Models for walks of random events whose own code does more than to keep values.

Files, references to rows of any model, a ``save()`` that asks and saves again,
receivers that change other rows, managers that leave rows out, and references by
something else than a key.
"""

from __future__ import annotations

from typing import Any

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.core.files.storage import InMemoryStorage
from django.db import models
from django.db.models import F, Q, Sum, Value
from django.db.models.functions import Lower
from django.db.models.signals import post_delete, post_save, pre_save


class Overwriting(InMemoryStorage):
    """Gives each file the name that it is asked for, so that walks can be compared."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name


storage = Overwriting()


class Note(models.Model):
    """Is about a row of any model."""

    id = models.IntegerField(primary_key=True)
    # Its table is made later than this one.
    kind = models.ForeignKey(
        ContentType, models.CASCADE, null=True, db_constraint=False
    )
    number = models.IntegerField(null=True)
    about = GenericForeignKey("kind", "number")

    class Meta:
        app_label = "rows_app"


class Bed(models.Model):
    """What is about it is deleted with it, without a reference of the database's."""

    id = models.IntegerField(primary_key=True)
    plan = models.FileField(storage=storage, max_length=20, default="")
    soil = models.CharField(max_length=10, db_default=Lower(Value("LOAM")))
    size = models.IntegerField(default=1)
    plants = models.IntegerField(default=0)
    notes = GenericRelation(Note, content_type_field="kind", object_id_field="number")

    class Meta:
        app_label = "rows_app"
        ordering = ("-size",)


class Growing(models.Manager[Any]):
    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().filter(is_cut=False)


class Row(models.Model):
    """Refers to beds by key, to others by a code, and to its like."""

    code = models.CharField(max_length=8, unique=True)
    id = models.IntegerField(primary_key=True)
    bed = models.ForeignKey(Bed, models.CASCADE, null=True)
    after = models.ForeignKey(
        "self", models.CASCADE, to_field="code", null=True, related_name="next"
    )
    is_cut = models.BooleanField(default=False)
    height = models.IntegerField(default=0)
    day = models.DateField(null=True)
    name = models.CharField(max_length=8, default="", unique_for_date="day")

    objects = Growing()

    class Meta:
        app_label = "rows_app"
        ordering = ("-height",)
        constraints = (
            models.CheckConstraint(condition=Q(height__lt=50), name="garden_height"),
        )


class Plant(models.Model):
    """Others are changed when one is saved or deleted."""

    id = models.IntegerField(primary_key=True)
    bed = models.ForeignKey(Bed, models.SET_NULL, null=True)
    height = models.IntegerField(default=0)
    seen = models.IntegerField(default=0)

    class Meta:
        app_label = "rows_app"


class Ledger(models.Model):
    """Asks before and after it is saved, and saves again."""

    id = models.IntegerField(primary_key=True)
    amount = models.IntegerField(default=0)
    before = models.IntegerField(default=0)
    total = models.IntegerField(default=0)

    class Meta:
        app_label = "rows_app"

    def save(self, **options: Any) -> None:
        beds = Bed.objects.aggregate(sum=Sum("size"))
        self.before = beds["sum"] or 0
        super().save(**options)
        ledgers = Ledger.objects.aggregate(sum=Sum("amount"))
        self.total = ledgers["sum"] or 0
        super().save(update_fields=["total"])


def _look(sender: Any, instance: Any, **kwargs: Any) -> None:
    if instance.bed_id is not None:
        bed = Bed.objects.filter(pk=instance.bed_id).first()
        instance.seen = 0 if bed is None else bed.size


def _count(sender: Any, instance: Any, **kwargs: Any) -> None:
    Bed.objects.filter(pk=instance.bed_id).update(plants=F("plants") + 1)


def _uncount(sender: Any, instance: Any, **kwargs: Any) -> None:
    for ledger in Ledger.objects.filter(pk=1):
        ledger.amount -= 1
        ledger.save()


pre_save.connect(_look, sender=Plant)
post_save.connect(_count, sender=Plant)
post_delete.connect(_uncount, sender=Plant)

# In the order in which they can be emptied.
WALKED: tuple[Any, ...] = (Note, Row, Plant, Ledger, Bed)
