"""
Models for walks of random events that use more of Django than rows and fields.

A tree, rows in several tables, proxies, a key of several fields, relations to many with
and without a model between, constraints of each kind, and a base class that saves in a
way of its own.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.db import connection, models
from django.db.models import F, Q
from django.db.models.functions import Lower


def _constraints(*names: str) -> tuple[models.UniqueConstraint, ...]:
    """Return those of these constraints that the database has."""
    kept: dict[str, models.UniqueConstraint] = {}
    if connection.vendor == "postgresql":
        kept["label"] = models.UniqueConstraint(
            fields=("group", "place"), name="park_label", nulls_distinct=False
        )
    if connection.vendor != "mysql":
        kept["title"] = models.UniqueConstraint(Lower("title"), name="park_stall_title")
        kept["spot"] = models.UniqueConstraint(
            fields=("spot",), condition=Q(kind="shop"), name="park_stall_spot"
        )
    return tuple(kept[name] for name in names if name in kept)


class Kind(models.TextChoices):
    SHOP = "shop"
    BAR = "bar"


class Size(models.IntegerChoices):
    SMALL = 1
    LARGE = 2


class WordsField(models.TextField):
    """Words are stored in a text, and read as a list."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else value.split()

    def to_python(self, value: Any) -> Any:
        return value.split() if isinstance(value, str) else value

    def get_prep_value(self, value: Any) -> Any:
        return " ".join(value) if isinstance(value, list | tuple) else value


class Trail(models.Model):
    """A tree, with pairs."""

    id = models.IntegerField(primary_key=True)
    name = models.SlugField(max_length=10, default="trail")
    length = models.IntegerField(default=0)
    parent = models.ForeignKey(
        "self", models.CASCADE, null=True, related_name="branches"
    )
    twin = models.OneToOneField(
        "self", models.SET_NULL, null=True, related_name="twin_of"
    )
    changed = models.DateTimeField(auto_now=True)

    class Meta:
        app_label = "rows_app"


class Label(models.Model):
    """A constraint that takes nulls for the same, where the database knows it."""

    text = models.CharField(max_length=10, primary_key=True)
    group = models.IntegerField(null=True)
    place = models.IntegerField(null=True)

    class Meta:
        app_label = "rows_app"
        constraints = _constraints("label")


class Stall(models.Model):
    code = models.CharField(max_length=8, primary_key=True)
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.SHOP)
    size = models.IntegerField(choices=Size.choices, default=Size.SMALL)
    title = models.CharField(max_length=8, null=True)  # noqa: DJ001
    spot = models.IntegerField(null=True)
    low = models.IntegerField(default=0)
    high = models.IntegerField(default=9)
    token = models.UUIDField(null=True, unique=True)
    plan = models.FileField(max_length=12, default="")
    fee = models.DecimalField(max_digits=5, decimal_places=1, db_default=2)
    words = WordsField(default=list)
    seen = models.DurationField(null=True)
    trail = models.ForeignKey(Trail, models.SET_NULL, null=True, related_name="stalls")
    labels = models.ManyToManyField(Label)
    trails = models.ManyToManyField(Trail, through="Crossing", related_name="crossed")
    opened = models.DateTimeField(auto_now_add=True)
    changed = models.DateTimeField(auto_now=True)

    class Meta:
        app_label = "rows_app"
        constraints = (
            *_constraints("title", "spot"),
            models.CheckConstraint(condition=Q(low__lte=F("high")), name="park_stall"),
        )


class Crossing(models.Model):
    """Between stalls and trails."""

    stall = models.ForeignKey(Stall, models.CASCADE)
    trail = models.ForeignKey(Trail, models.CASCADE)
    rank = models.IntegerField(default=0)

    class Meta:
        app_label = "rows_app"
        unique_together = (("stall", "trail"),)


class Numbered(models.Model):
    """Counts how often it was saved."""

    version = models.IntegerField(default=0)

    class Meta:
        abstract = True

    def save(self, **options: Any) -> None:
        self.version += 1
        super().save(**options)


class Ticket(Numbered):
    id = models.IntegerField(primary_key=True)
    price = models.IntegerField(default=1)
    stall = models.ForeignKey(Stall, models.CASCADE, null=True, related_name="tickets")

    class Meta:
        app_label = "rows_app"


class Rope(models.Model):
    """What the database works out is unique."""

    id = models.IntegerField(primary_key=True)
    low = models.IntegerField(default=0)
    high = models.IntegerField(default=1)
    width = models.GeneratedField(
        expression=F("high") - F("low"),
        output_field=models.IntegerField(),
        db_persist=True,
    )

    class Meta:
        app_label = "rows_app"
        constraints = (
            models.UniqueConstraint(fields=("width",), name="park_rope_width"),
        )


class Place(models.Model):
    id = models.IntegerField(primary_key=True)
    name = models.CharField(max_length=8, unique=True)
    seats = models.IntegerField(default=0)

    class Meta:
        app_label = "rows_app"


class Kiosk(Place):
    """Lies in two tables."""

    goods = models.CharField(max_length=8, default="")

    class Meta:
        app_label = "rows_app"


class Meadow(Place):
    """Lies in two tables, by a link of its own."""

    place = models.OneToOneField(
        Place, models.CASCADE, parent_link=True, primary_key=True
    )
    bees = models.IntegerField(default=0)

    class Meta:
        app_label = "rows_app"


class OldPlace(Place):
    """The same table under another name."""

    class Meta:
        app_label = "rows_app"
        proxy = True


class Seen(models.Model):
    """What a handler has seen."""

    text = models.TextField()

    class Meta:
        app_label = "rows_app"

    def __str__(self) -> str:
        return self.text


if hasattr(models, "CompositePrimaryKey"):

    class Seat(models.Model):
        """Has a key of two fields."""

        pk = models.CompositePrimaryKey("place_id", "number")
        place = models.ForeignKey(Place, models.CASCADE)
        number = models.IntegerField()
        is_taken = models.BooleanField(default=False)

        class Meta:
            app_label = "rows_app"


TOKENS = tuple(uuid.uuid5(uuid.NAMESPACE_URL, str(number)) for number in range(2))

if connection.vendor == "postgresql":
    from django.contrib.postgres import fields

    class Herb(models.Model):
        """Has what only PostgreSQL has."""

        id = models.IntegerField(primary_key=True)
        names = fields.ArrayField(models.CharField(max_length=5), default=list)
        grid = fields.ArrayField(fields.ArrayField(models.IntegerField()), null=True)
        heights = fields.IntegerRangeField(null=True)
        days = fields.DateRangeField(null=True)
        prices = fields.DecimalRangeField(null=True)
        data = models.JSONField(default=dict)
        changed = models.DateTimeField(auto_now=True)

        class Meta:
            app_label = "rows_app"


# In the order in which they can be emptied.
WALKED: tuple[Any, ...] = (
    *((Seat,) if hasattr(models, "CompositePrimaryKey") else ()),
    *((Herb,) if connection.vendor == "postgresql" else ()),
    *(Seen, Crossing, Stall.labels.through, Ticket, Stall, Label, Trail, Rope),
    *(Kiosk, Meadow, Place),
)
