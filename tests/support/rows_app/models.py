"""Read models with all that a unit of work has to cope with."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import F
from django.db.models.functions import Now


class Owner(models.Model):
    name = models.CharField(max_length=20, primary_key=True)
    visits = models.IntegerField(default=0)

    class Meta:
        app_label = "rows_app"


class Animal(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=20, unique=True)
    owner = models.ForeignKey(Owner, models.CASCADE, null=True)
    tricks = models.JSONField(default=list)
    weight = models.DecimalField(max_digits=6, decimal_places=2, default=0)
    mood = models.CharField(max_length=20, db_default="calm")
    born = models.DateTimeField(db_default=Now())
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        app_label = "rows_app"


class Visit(models.Model):
    """The database chooses its primary key."""

    animal = models.ForeignKey(Animal, models.CASCADE)
    number = models.IntegerField()

    class Meta:
        app_label = "rows_app"


class Counter(models.Model):
    name = models.CharField(max_length=20, primary_key=True)
    count = models.IntegerField(default=0)
    total = models.IntegerField(default=0)

    class Meta:
        app_label = "rows_app"


class Cage(models.Model):
    """Has what only the database works out, and what cannot be compared."""

    code = models.CharField(max_length=20, primary_key=True)
    width = models.IntegerField(default=1)
    length = models.IntegerField(default=1)
    plan = models.BinaryField(default=b"")
    area = models.GeneratedField(
        expression=F("width") * F("length"),
        output_field=models.IntegerField(),
        db_persist=True,
    )

    class Meta:
        app_label = "rows_app"


class BigOwner(Owner):
    """The same table under another name."""

    class Meta:
        app_label = "rows_app"
        proxy = True


class Lion(Owner):
    """Lies in two tables."""

    mane = models.BooleanField(default=True)

    class Meta:
        app_label = "rows_app"
