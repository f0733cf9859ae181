"""Read models with all that a unit of work has to cope with."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import F
from django.db.models.functions import Now

from tests.support.rows_app import garden as garden
from tests.support.rows_app import park as park


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


# For walks of random events, next to the plain ORM: each type of field, each kind of
# key, and what depends on what.


class Keeper(models.Model):
    name = models.CharField(max_length=10, primary_key=True)
    badge = models.CharField(max_length=10, unique=True, null=True)  # noqa: DJ001
    zone = models.IntegerField(null=True)
    desk = models.IntegerField(null=True)
    rank = models.PositiveSmallIntegerField(default=0)
    notes = models.TextField(default="", db_default="none")

    class Meta:
        app_label = "rows_app"
        unique_together = (("zone", "desk"),)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(rank__lte=5), name="zoo_keeper_rank"
            ),
        )


class Specimen(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    text = models.CharField(max_length=8, default="")
    long_text = models.TextField(null=True)  # noqa: DJ001
    flag = models.BooleanField(default=False)
    number = models.IntegerField(default=1)
    small = models.SmallIntegerField(null=True, db_default=7)
    big = models.BigIntegerField(default=0)
    ratio = models.FloatField(default=0.5)
    price = models.DecimalField(max_digits=6, decimal_places=2, default=0)
    day = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    hour = models.TimeField(null=True)
    length = models.DurationField(null=True)
    data = models.JSONField(default=list)
    blob = models.BinaryField(default=b"")
    address = models.GenericIPAddressField(null=True)
    keeper = models.ForeignKey(Keeper, models.SET_NULL, null=True)
    created = models.DateTimeField(auto_now_add=True)
    changed = models.DateTimeField(auto_now=True)

    class Meta:
        app_label = "rows_app"


class Chip(models.Model):
    """Has the key of what it is one to one with."""

    specimen = models.OneToOneField(Specimen, models.CASCADE, primary_key=True)
    code = models.IntegerField(unique=True)

    class Meta:
        app_label = "rows_app"


class Permit(models.Model):
    """The database chooses its key."""

    keeper = models.ForeignKey(Keeper, models.CASCADE)
    number = models.IntegerField()
    specimen = models.OneToOneField(Specimen, models.SET_NULL, null=True)

    class Meta:
        app_label = "rows_app"
        constraints = (
            models.UniqueConstraint(
                fields=("keeper", "number"), name="zoo_permit_number"
            ),
        )


class Gauge(models.Model):
    id = models.IntegerField(primary_key=True)
    level = models.IntegerField(default=0)
    width = models.IntegerField(default=1)
    area = models.GeneratedField(
        expression=F("level") * F("width"),
        output_field=models.IntegerField(),
        db_persist=True,
    )

    class Meta:
        app_label = "rows_app"


class Pack(models.Model):
    """Has names that are its own in a whole schema, and refers to what is elsewhere."""

    title = models.CharField(max_length=20, unique=True)
    rank = models.IntegerField(default=0, db_index=True)
    members = models.ManyToManyField(Specimen)
    rival = models.ForeignKey("self", models.SET_NULL, null=True)
    patron = models.ForeignKey(Owner, models.CASCADE, null=True)

    class Meta:
        app_label = "rows_app"
        indexes = (models.Index(fields=("rank", "title"), name="zoo_pack_rank"),)
        constraints = (
            models.UniqueConstraint(fields=("rank", "title"), name="zoo_pack_title"),
            models.CheckConstraint(
                condition=models.Q(rank__gte=0), name="zoo_pack_rank_positive"
            ),
        )


class Medal(models.Model):
    """Refers to packs from elsewhere."""

    pack = models.ForeignKey(Pack, models.CASCADE)

    class Meta:
        app_label = "rows_app"


class Region(models.Model):
    """Is referred to by something else than its key."""

    number = models.IntegerField(primary_key=True)
    code = models.CharField(max_length=10, unique=True)

    class Meta:
        app_label = "rows_app"


class Site(models.Model):
    """The database chooses its key; refers by a code, to a proxy, and to its like."""

    region = models.ForeignKey(Region, models.CASCADE, to_field="code", null=True)
    owner = models.ForeignKey(BigOwner, models.CASCADE, null=True)
    parent = models.ForeignKey("self", models.CASCADE, null=True)
    name = models.CharField(max_length=20, default="")

    class Meta:
        app_label = "rows_app"
        db_table = "rows-app sites"
